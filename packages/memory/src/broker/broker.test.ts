import { expect, test } from "vitest";
import { assign } from "./assignment.ts";
import { createDeque } from "./deque.ts";
import { createFaults, noFaults } from "./faults.ts";
import { seededRandom } from "./random.ts";

test("partitions are shared evenly, and as few as possible move", () => {
  expect(assign([undefined, undefined, undefined, undefined], ["a"])).toEqual(["a", "a", "a", "a"]);
  expect(assign(["a", "a", "a", "a"], ["a", "b"])).toEqual(["a", "a", "b", "b"]);
  expect(assign(["a", "a", "b", "b"], ["a", "b", "c"])).toEqual(["a", "a", "b", "c"]);
  expect(assign(["a", "a", "b", "c"], ["b", "c"])).toEqual(["b", "c", "b", "c"]);
  expect(assign(["gone", "b"], ["b", "c", "d"])).toEqual(["c", "b"]);
  expect(assign(["a"], [])).toEqual([undefined]);
});

test("a deque holds its items in order at both ends, whatever its ring does", () => {
  const deque = createDeque<number>();
  const model: number[] = [];
  const results: [actual: number | undefined, expected: number | undefined][] = [];
  const random = seededRandom(3);
  for (let step = 0; step < 20_000; step++) {
    const choice = random();
    // Phases of growth and of shrinking.
    const growing = Math.floor(step / 2_000) % 2 === 0;
    if (choice < (growing ? 0.4 : 0.2)) {
      deque.pushBack(step);
      model.push(step);
    } else if (choice < (growing ? 0.6 : 0.3)) {
      deque.pushFront(step);
      model.unshift(step);
    } else if (choice < 0.9) {
      results.push([deque.takeFront(), model.shift()]);
    } else if (model.length > 0) {
      const index = Math.floor(random() * model.length);
      const expected = model[index];
      model[index] = model[0] ?? 0;
      model.shift();
      results.push([deque.takeSwapped(index), expected]);
    }
    results.push([deque.size, model.length]);
  }
  expect(results.filter(([actual, expected]) => actual !== expected)).toEqual([]);
  expect([...deque]).toEqual(model);
  expect(model.map((_, index) => deque.at(index))).toEqual(model);
  expect(deque.at(model.length)).toBeUndefined();
  deque.clear();
  expect(deque.takeFront()).toBeUndefined();
});

test("faults are the same for the same seed, and none draws where its probability is 0", () => {
  const run = (seed: number): boolean[] => {
    const faults = createFaults({ ...noFaults, seed, cut: 0.5 });
    return Array.from({ length: 50 }, () => {
      faults.happens("duplicate");
      return faults.happens("cut");
    });
  };
  expect(run(1)).toEqual(run(1));
  expect(run(1)).not.toEqual(run(2));
  expect(new Set(run(1)).size).toBe(2);
});
