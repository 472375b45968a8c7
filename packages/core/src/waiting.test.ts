import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aMessage } from "./fake-transport.fixture.ts";
import type { Waiting, WaitingEntry } from "./waiting.ts";
import { createWaiting, createWaitingByKey } from "./waiting.ts";

interface Entry extends WaitingEntry {
  readonly number: number;
  settled: boolean;
}

const entry = (number: number, key?: string, bytes = 1): Entry => ({
  number,
  settled: false,
  message: aMessage({ id: String(number), key, body: new Uint8Array(bytes) }),
});
const numbers = (entries: readonly Entry[]): number[] => entries.map(({ number }) => number);
const drain = (waiting: Waiting<Entry>): number[][] => {
  const batches: number[][] = [];
  for (let batch = waiting.take(10, 100); batch.length > 0; batch = waiting.take(10, 100)) batches.push(numbers(batch));
  return batches;
};

test("batches end at their number and at their bytes, and one that is larger goes alone", () => {
  const waiting = createWaiting<Entry>();
  for (const each of [entry(1, undefined, 60), entry(2, undefined, 60), entry(3, undefined, 500), entry(4)])
    waiting.push(each);
  expect(drain(waiting)).toEqual([[1], [2], [3], [4]]);
});

test("what was given up is not taken", () => {
  const waiting = createWaiting<Entry>();
  const given = [entry(1), entry(2), entry(3)];
  for (const each of given) waiting.push(each);
  if (given[1] !== undefined) given[1].settled = true;
  expect(waiting.size).toBe(3);
  expect(drain(waiting)).toEqual([[1, 3]]);
  expect(waiting.size).toBe(0);
});

describe("by key", () => {
  test("a batch has one of each key; those without a key go as they come", () => {
    const waiting = createWaitingByKey<Entry>();
    for (const [index, key] of ["a", "a", "b", undefined, "a", undefined].entries()) waiting.push(entry(index, key));
    expect(drain(waiting)).toEqual([[0, 2, 3, 5], [1], [4]]);
  });

  test("what comes back goes before everything of its key", () => {
    const waiting = createWaitingByKey<Entry>();
    for (const [index, key] of ["a", undefined, undefined, "a"].entries()) waiting.push(entry(index, key));
    waiting.putBack(waiting.take(10, 100));
    expect(drain(waiting)).toEqual([[0, 1, 2], [3]]);
  });

  test("whatever fails and comes back, the messages of a key are taken in their order, and none twice or never", () => {
    const keys = fc.array(fc.constantFrom("a", "b", "c", undefined), { maxLength: 40 });
    const sizes = fc.record({ messages: fc.integer({ min: 1, max: 5 }), bytes: fc.integer({ min: 1, max: 200 }) });
    fc.assert(
      fc.property(keys, fc.infiniteStream(sizes), fc.infiniteStream(fc.boolean()), (given, limits, accepts) => {
        const waiting = createWaitingByKey<Entry>();
        for (const [index, key] of given.entries()) waiting.push(entry(index, key, 50));
        const accepted: Entry[] = [];
        for (let round = 0; waiting.size > 0 && round < 1_000; round++) {
          const { messages, bytes } = limits.next().value;
          const batch = waiting.take(messages, bytes);
          const inBatch = batch.flatMap(({ message }) => message.key ?? []);
          expect(new Set(inBatch).size).toBe(inBatch.length);
          expect(batch.length).toBeLessThanOrEqual(messages);
          const back = batch.filter((each) => !(accepts.next().value || round > 500) || !accepted.push(each));
          waiting.putBack(back);
          expect([...waiting]).toHaveLength(waiting.size);
        }
        expect(numbers(accepted).toSorted((one, other) => one - other)).toEqual(given.map((_, index) => index));
        for (const key of ["a", "b", "c"]) {
          const order = numbers(accepted.filter(({ message }) => message.key === key));
          expect(order).toEqual(order.toSorted((one, other) => one - other));
        }
      }),
    );
  });
});
