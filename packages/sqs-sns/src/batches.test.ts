import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutBatches, forEachAtMost } from "./batches.ts";

const sized = (...sizes: number[]) => sizes.map((bytes) => ({ bytes }));
const cut = (sizes: number[], maxBytes: number): number[][] =>
  cutBatches(sized(...sizes), maxBytes).map((batch) => batch.map(({ bytes }) => bytes));

describe("cutting", () => {
  test("ten go into a batch, and as many bytes as are allowed", () => {
    expect(cut([], 100)).toEqual([]);
    expect(cut(Array<number>(21).fill(1), 100).map((batch) => batch.length)).toEqual([10, 10, 1]);
    expect(cut([50, 50, 1, 99, 2], 100)).toEqual([[50, 50], [1, 99], [2]]);
  });

  test("what is too large by itself is a batch of its own", () => {
    expect(cut([1, 101, 1, 1], 100)).toEqual([[1], [101], [1, 1]]);
    expect(cut([101, 102], 100)).toEqual([[101], [102]]);
  });

  test("whatever comes is there afterwards, in its order, and no batch is too large", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60 })), (sizes) => {
        const batches = cut(sizes, 50);
        expect(batches.flat()).toEqual(sizes);
        for (const batch of batches) {
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.length).toBeLessThanOrEqual(10);
          const bytes = batch.reduce((sum, size) => sum + size, 0);
          expect(bytes <= 50 || batch.length === 1).toBe(true);
        }
      }),
    );
  });
});

describe("doing", () => {
  test("as many as are allowed are under way at a time, begun in their order", async () => {
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const all = forEachAtMost([0, 1, 2, 3, 4], 2, (item) => {
      begun.push(item);
      return new Promise((resolve) => ends.push(resolve));
    });
    for (let ended = 0; ended < 5; ended++) {
      expect(begun).toEqual([0, 1, 2, 3, 4].slice(0, ended + 2));
      ends[ended]?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
  });

  test("nothing is done at once", async () => {
    await forEachAtMost([], 4, () => Promise.reject(new Error("never")));
    expect.assertions(0);
  });
});
