import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTens } from "./tens.ts";

function sending() {
  const sent: (readonly number[])[] = [];
  const answers: (() => void)[] = [];
  const tens = createTens<number>((entries) => {
    sent.push(entries);
    return new Promise((resolve) => answers.push(resolve));
  });
  return {
    sent,
    add: (from: number, to: number) => {
      for (let entry = from; entry <= to; entry++) tens.add(entry);
    },
    answer: async () => {
      answers.shift()?.();
      await turn();
    },
  };
}

test("what is added in one turn goes together, and the next with what gathers while it is under way", async () => {
  const { sent, add, answer } = sending();
  add(1, 3);
  expect(sent).toEqual([]);
  await turn();
  expect(sent).toEqual([[1, 2, 3]]);
  add(4, 4);
  await turn();
  add(5, 6);
  await turn();
  expect(sent).toHaveLength(1);
  await answer();
  expect(sent).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
});

test("full batches go beside others, eight at a time, and the rest waits", async () => {
  const { sent, add, answer } = sending();
  add(1, 105);
  await turn();
  expect(sent.map((batch) => batch.length)).toEqual(Array.from({ length: 8 }, () => 10));
  for (let answered = 0; answered < 8; answered++) await answer();
  expect(sent.map((batch) => batch.length).slice(8)).toEqual([10, 10]);
  await answer();
  await answer();
  expect(sent.at(-1)).toEqual([101, 102, 103, 104, 105]);
  expect(sent.flat()).toEqual(Array.from({ length: 105 }, (_, index) => index + 1));
});
