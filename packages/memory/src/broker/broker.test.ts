import { expect, test } from "vitest";
import { shareOut } from "@posthorn/core/transport";
import { createFaults, noFaults } from "./faults.ts";
import { createHeap } from "./heap.ts";
import { LinkedList } from "./linked-list.ts";
import type { Linked } from "./linked-list.ts";
import { seededRandom } from "./random.ts";
import { createRing } from "./ring.ts";

test("partitions are shared evenly, and as few as possible move", () => {
  expect(shareOut([undefined, undefined, undefined, undefined], ["a"])).toEqual(["a", "a", "a", "a"]);
  expect(shareOut(["a", "a", "a", "a"], ["a", "b"])).toEqual(["a", "a", "b", "b"]);
  expect(shareOut(["a", "a", "b", "b"], ["a", "b", "c"])).toEqual(["a", "a", "b", "c"]);
  expect(shareOut(["a", "a", "b", "c"], ["b", "c"])).toEqual(["b", "c", "b", "c"]);
  expect(shareOut(["gone", "b"], ["b", "c", "d"])).toEqual(["c", "b"]);
  expect(shareOut(["a"], [])).toEqual([undefined]);
});

test("a ring holds its items in order, whatever its size does", () => {
  const ring = createRing<number>();
  const model: number[] = [];
  const results: [actual: number | undefined, expected: number | undefined][] = [];
  const random = seededRandom(3);
  for (let step = 0; step < 20_000; step++) {
    // Phases of growth and of shrinking.
    const growing = Math.floor(step / 2_000) % 2 === 0;
    if (random() < (growing ? 0.6 : 0.4)) {
      ring.pushBack(step);
      model.push(step);
    } else {
      results.push([ring.takeFront(), model.shift()]);
    }
    results.push([ring.size, model.length]);
  }
  expect(results.filter(([actual, expected]) => actual !== expected)).toEqual([]);
  expect(model.map((_, index) => ring.at(index))).toEqual(model);
  expect(ring.at(model.length)).toBeUndefined();
  while (ring.size > 0) ring.takeFront();
  expect(ring.takeFront()).toBeUndefined();
});

test("a heap gives the first of its items, whenever it is asked", () => {
  const heap = createHeap<number>((one, other) => one < other);
  const model: number[] = [];
  const random = seededRandom(5);
  const results: [actual: number | undefined, expected: number | undefined][] = [];
  for (let step = 0; step < 5_000; step++) {
    if (random() < (step < 2_500 ? 0.7 : 0.3)) {
      const item = Math.floor(random() * 100);
      heap.push(item);
      model.push(item);
    } else {
      model.sort((one, other) => one - other);
      results.push([heap.first, model[0]], [heap.takeFirst(), model.shift()]);
    }
    results.push([heap.size, model.length]);
  }
  expect(results.filter(([actual, expected]) => actual !== expected)).toEqual([]);
});

test("a linked list keeps its order whoever joins or leaves", () => {
  class Item implements Linked<Item> {
    previous: Item | undefined;
    next: Item | undefined;
  }
  const list = new LinkedList<Item>();
  const model: Item[] = [];
  const random = seededRandom(9);
  let wrong = false;
  for (let step = 0; step < 2_000; step++) {
    const chance = random();
    const item = new Item();
    const index = Math.floor(random() * model.length);
    const present = model[index];
    if (chance < 0.3) {
      list.pushBack(item);
      model.push(item);
    } else if (chance < 0.5) {
      list.pushFront(item);
      model.unshift(item);
    } else if (present !== undefined) {
      wrong ||= list.at(index) !== present;
      list.remove(present);
      model.splice(index, 1);
    }
  }
  expect(wrong).toBe(false);
  expect([...list].every((item, index) => item === model[index])).toBe(true);
  expect(list.size).toBe(model.length);
  for (const item of list) list.remove(item);
  expect({ size: list.size, first: list.first }).toEqual({ size: 0, first: undefined });
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
