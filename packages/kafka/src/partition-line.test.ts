import { accepted } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import type { Append } from "./partition-line.ts";
import { PartitionLine } from "./partition-line.ts";

function append(bytes = 1): Append {
  return { record: { key: null, value: null, headers: [] }, bytes, receipt: undefined, sent: false };
}

function lineOf(count: number, bytes = 1, mostBytes = 1_000_000_000): PartitionLine<Append> {
  const line = new PartitionLine<Append>("t", 3, mostBytes);
  for (let index = 0; index < count; index++) line.push(append(bytes));
  return line;
}

function giveUp(line: PartitionLine<Append>): void {
  for (const each of line.pending()) each.receipt = accepted;
  line.prune();
}

test("a batch is what it was until it landed or was taken back", () => {
  const line = lineOf(2);
  const batch = line.next(7n);
  line.push(append());
  expect(line.next(7n)).toBe(batch);
  line.takeBack();
  expect(line.next(7n)).toMatchObject({ firstSequence: 0, recordsBytes: 3 });
  line.landed();
  expect(line.next(7n)).toBeUndefined();
  line.push(append());
  expect(line.next(8n)).toMatchObject({ producerId: 7n, producerEpoch: 0, firstSequence: 3 });
});

test("what nobody waits for is not taken back", () => {
  const line = lineOf(2);
  const [first] = line.next(7n)?.appends ?? [];
  if (first !== undefined) first.receipt = accepted;
  line.takeBack();
  expect(line.pending()).toHaveLength(1);
  expect(line.next(7n)?.appends).toHaveLength(1);
});

test("sequence numbers have 31 bits", () => {
  const line = lineOf(0);
  const step = 1_000_000;
  let sent = 0;
  while (sent + step < 2 ** 31) {
    line.push(append());
    const batch = line.next(7n) as { appends: unknown };
    batch.appends = { length: step };
    line.landed();
    sent += step;
  }
  const left = 2 ** 31 - sent;
  for (let index = 0; index <= left; index++) line.push(append());
  expect(line.next(7n)?.firstSequence).toBe(sent);
  line.landed();
  line.push(append());
  expect(line.next(7n)?.firstSequence).toBe(1);
});

test("a line is empty when nobody waits, though a batch be in doubt; its numbers are then not used again", () => {
  const line = lineOf(2);
  const batch = line.next(7n);
  if (batch !== undefined) batch.inDoubt = true;
  expect([line.isEmpty, line.isDeserted]).toEqual([false, false]);
  giveUp(line);
  expect([line.isEmpty, line.isDeserted]).toEqual([true, true]);
  line.push(append());
  expect([line.isEmpty, line.isDeserted]).toEqual([false, true]);
  expect(line.raiseEpoch()).toBe(true);
  expect(line.next(7n)).toMatchObject({ producerId: 7n, producerEpoch: 1, firstSequence: 0 });
});

test("epochs have 15 bits", () => {
  const line = lineOf(1);
  line.next(7n);
  for (let epoch = 1; epoch < 2 ** 15; epoch++) expect(line.raiseEpoch()).toBe(true);
  line.push(append());
  expect(line.next(7n)?.producerEpoch).toBe(2 ** 15 - 1);
  expect(line.raiseEpoch()).toBe(false);
  line.forgetProducerId();
  line.push(append());
  expect(line.next(8n)).toMatchObject({ producerId: 8n, producerEpoch: 0, firstSequence: 0 });
});

test("after a batch was too large the next ones are smaller, and grow again slowly", () => {
  const line = lineOf(100, 1_000, 20_061);
  const sizes: number[] = [];
  const [first] = [line.next(7n)];
  expect(first?.appends).toHaveLength(20);
  line.takeBack();
  if (first !== undefined) line.narrow(first);
  for (let count = 0; count < 6; count++) {
    sizes.push(line.next(7n)?.appends.length ?? 0);
    line.landed();
  }
  expect(sizes).toEqual([9, 12, 15, 19, 20, 20]);
});
