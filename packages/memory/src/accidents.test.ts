import { describe, expect, test } from "vitest";
import { runAccidents } from "./accidents.fixture.ts";

const seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

describe.each([
  { personality: "queue", ordered: false },
  { personality: "queue", ordered: true },
  { personality: "log", ordered: false },
  { personality: "log", ordered: true },
] as const)("a $personality broker under random accidents (ordered $ordered)", ({ personality, ordered }) => {
  test.each(seeds)(
    "delivers all that it accepted, not early and to one owner at a time, and leaves nothing behind (seed %i)",
    async (seed) => {
      const run = await runAccidents(personality, seed, { ordered });
      expect(run.problems).toEqual([]);
      expect(run.deliveries).toBeGreaterThan(0);
    },
  );

  test.each(seeds)("loses nothing that it accepted to its own faults either (seed %i)", async (seed) => {
    expect((await runAccidents(personality, seed, { ordered, faulty: true })).problems).toEqual([]);
  });

  test("runs the same way for the same seed", async () => {
    const again = () => runAccidents(personality, 5, { ordered, faulty: true });
    expect(await again()).toEqual(await again());
  });
});
