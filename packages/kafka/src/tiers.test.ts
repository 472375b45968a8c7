import { expect, test } from "vitest";
import { holdMs, tierCount, tierFor, tierMs } from "./tiers.ts";

test("tiers last one second times a power of four, the longest three days", () => {
  expect(Array.from({ length: tierCount }, (_, tier) => tierMs(tier) / 1_000)).toEqual([
    1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144,
  ]);
});

test("the tier ends before the message is due, with the time of a move to spare", () => {
  for (const dueInMs of [holdMs + 1, 4_499, 4_500, 16_499, 16_500, 300_000, 86_400_000, 1e12]) {
    const tier = tierFor(dueInMs);
    expect(tierMs(tier), String(dueInMs)).toBeLessThanOrEqual(dueInMs - 500);
    const longer = tier === tierCount - 1 ? Infinity : tierMs(tier + 1);
    expect(longer, String(dueInMs)).toBeGreaterThan(dueInMs - 500);
  }
});

test("any delay ends after few moves", () => {
  for (const dueInMs of [2_001, 30_000, 3_600_000, 86_400_000, 30 * 86_400_000]) {
    let left = dueInMs;
    let moves = 0;
    for (; left > holdMs; moves++) left -= tierMs(tierFor(left));
    expect(left, String(dueInMs)).toBeGreaterThanOrEqual(0);
    expect(moves, String(dueInMs)).toBeLessThanOrEqual(40);
  }
});
