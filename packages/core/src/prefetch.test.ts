import { expect, test } from "vitest";
import { createPrefetch } from "./prefetch.ts";
import { createVirtualClock } from "./virtual-clock.ts";

test("begins with what can be handled at a time, so that a busy instance keeps nothing from an idle one", () => {
  expect(createPrefetch(1, createVirtualClock(), () => undefined).size).toBe(1);
});

test("fast handlers let it hold more, slow ones bring it back", async () => {
  const clock = createVirtualClock();
  const sizes: number[] = [];
  const prefetch = createPrefetch(10, clock, (size) => sizes.push(size));
  for (let count = 0; count < 50; count++) prefetch.handled(1);
  await clock.advance(100);
  for (let count = 0; count < 50; count++) prefetch.handled(5_000);
  await clock.advance(100);
  expect(sizes).toEqual([50, 10]);
});

test("what waits for its next attempt leaves room for others, within a bound", async () => {
  const clock = createVirtualClock();
  const prefetch = createPrefetch(1, clock, () => undefined);
  prefetch.waits(1);
  await clock.advance(100);
  expect(prefetch.size).toBe(2);
  for (let count = 0; count < 1_000; count++) prefetch.waits(1);
  await clock.advance(100);
  expect(prefetch.size).toBe(11);
  for (let count = 0; count < 1_001; count++) prefetch.waits(-1);
  await clock.advance(100);
  expect(prefetch.size).toBe(1);
});

test("a new concurrency counts at once, and nothing changes after it was stopped", async () => {
  const clock = createVirtualClock();
  const prefetch = createPrefetch(1, clock, () => undefined);
  prefetch.concurrency = 7;
  expect(prefetch.size).toBe(7);
  prefetch.waits(1);
  prefetch.waits(1);
  prefetch.stop();
  await clock.advance(1_000);
  expect(prefetch.size).toBe(7);
  expect(clock.pending).toBe(0);
});
