import { describe, expect, test } from "vitest";
import type { FetchedRecord } from "./records.ts";
import type { Entry } from "./window.ts";
import { PartitionWindow } from "./window.ts";

const record = (offset: number, key: string | null = null): FetchedRecord => ({
  topic: "orders",
  partition: 0,
  offset: BigInt(offset),
  timestamp: 0,
  key: key === null ? null : Buffer.from(key),
  value: Buffer.from(`body ${offset}`),
  headers: [["name", Buffer.from("value")]],
});

const windowOf = (...offsets: number[]): PartitionWindow => {
  const window = new PartitionWindow("orders", 0, offsets[0] ?? 0);
  window.append(
    offsets.map((offset) => record(offset)),
    (offsets.at(-1) ?? -1) + 1,
  );
  return window;
};

const take = (window: PartitionWindow): Entry => window.take() ?? expect.fail("nothing waits");

describe("the front", () => {
  test("is where the window begins while nothing is settled", () => {
    const window = windowOf(5, 6);
    expect(window.front).toBe(5);
    take(window);
    expect(window.front).toBe(5);
  });

  test("moves over what is settled, and stops at what is open", () => {
    const window = windowOf(0, 1, 2);
    const [first, second, third] = [take(window), take(window), take(window)];
    window.settle(third);
    expect(window.front).toBe(0);
    window.settle(first);
    expect(window.front).toBe(1);
    window.settle(second);
    expect(window.front).toBe(3);
  });

  test("of an empty window is where the next fetch begins: behind control records and what compaction removed", () => {
    const window = windowOf(0);
    window.append([], 7);
    expect(window.front).toBe(0);
    window.settle(take(window));
    expect(window.front).toBe(7);
    expect(window.position).toBe(7);
  });
});

test("what is given back waits in its place, and is delivered again before what came after it", () => {
  const window = windowOf(0, 1, 2, 3);
  const [first, second] = [take(window), take(window)];
  window.giveBack(second);
  window.giveBack(first);
  expect([take(window), take(window), take(window), take(window)].map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
});

test("a second settlement changes nothing", () => {
  const window = windowOf(0, 1);
  const first = take(window);
  window.settle(first);
  window.settle(first);
  window.giveBack(first);
  expect([window.open, window.waiting, window.front]).toEqual([0, 1, 1]);
});

test("records that it has already are not taken twice", () => {
  const window = windowOf(3, 4);
  window.append([record(3), record(4), record(5)], 6);
  expect(window.waiting).toBe(3);
});

test("what was taken is a copy: one record keeps no whole fetch alive, and the bytes count until it is settled", () => {
  const window = new PartitionWindow("orders", 0, 0);
  const fetched = record(0, "k");
  window.append([fetched], 1);
  const before = window.bytes;
  const entry = take(window);
  expect(entry.record).toEqual({
    ...fetched,
    key: Buffer.from(fetched.key ?? []),
    value: Buffer.from(fetched.value ?? []),
    headers: [["name", Buffer.from("value")]],
  });
  const { length } = Buffer.concat([fetched.key ?? Buffer.of(), fetched.value ?? Buffer.of(), Buffer.from("value")]);
  expect(entry.record?.value?.buffer.byteLength).toBe(length);
  expect(window.bytes).toBe(before);
  window.settle(entry);
  expect([window.bytes, entry.record]).toEqual([0, undefined]);
});

test("those that are pending behind an offset, the newest first", () => {
  const window = windowOf(0, 1, 2, 3);
  const entries = [take(window), take(window), take(window)];
  window.settle(entries[1] as Entry);
  expect(window.pendingBehind(0).map(({ offset }) => offset)).toEqual([2]);
});

test("any order of taking, giving back and settling commits only what is settled, and settles all in the end", () => {
  let seed = 3;
  const random = (below: number): number => ((seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 16) % below;
  for (let round = 0; round < 50; round++) {
    const count = 1 + random(150);
    const window = new PartitionWindow("orders", 0, 0);
    const settled = new Set<number>();
    const pending: Entry[] = [];
    let appended = 0;
    while (settled.size < count) {
      const what = random(4);
      if (what === 0 && appended < count) window.append([record(appended++)], appended);
      else if (what === 1 && window.waiting > 0) pending.push(take(window));
      else if (pending.length > 0) {
        const [entry] = pending.splice(random(pending.length), 1);
        if (entry === undefined) continue;
        if (what === 2) window.giveBack(entry);
        else {
          window.settle(entry);
          settled.add(entry.offset);
        }
      }
      const open = Array.from({ length: Math.min(appended, window.front + 1) }, (_, offset) => offset).find(
        (offset) => !settled.has(offset),
      );
      expect(window.front).toBe(open ?? appended);
    }
    expect([window.front, window.length, window.open, window.bytes]).toEqual([count, 0, 0, 0]);
  }
});
