import { describe, expect, test } from "vitest";
import { runAccidents } from "./accidents.fixture.ts";

describe.each(["queue", "log"] as const)("a %s broker under random accidents", (personality) => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])(
    "delivers all that it accepted, to one owner at a time, and leaves nothing behind (seed %i)",
    async (seed) => {
      const run = await runAccidents(personality, seed, false);
      expect(run.problems).toEqual([]);
      expect(run.deliveries).toBeGreaterThan(0);
    },
  );

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])(
    "loses nothing that it accepted to its own faults either (seed %i)",
    async (seed) => {
      expect((await runAccidents(personality, seed, true)).problems).toEqual([]);
    },
  );

  test("runs the same way for the same seed", async () => {
    expect(await runAccidents(personality, 5, true)).toEqual(await runAccidents(personality, 5, true));
  });
});
