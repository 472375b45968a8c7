import { AssertionError } from "node:assert";
import { expect, test } from "vitest";
import { createPulse, eventually, within } from "./waiting.ts";

test("a condition is looked at again as soon as something happens", async () => {
  const pulse = createPulse();
  let happened = false;
  const waiting = eventually(pulse, "it to happen", () => happened && "yes", { withinMs: 10_000 });
  happened = true;
  pulse.beat();
  expect(await waiting).toBe("yes");
});

test("a condition that throws is not met yet", async () => {
  let looks = 0;
  const condition = (): number => {
    if (++looks < 3) throw new Error("not there");
    return 0;
  };
  expect(await eventually(createPulse(), "it", condition, { withinMs: 10_000 })).toBe(0);
});

test("a wait in vain says what was waited for, what was seen, and what went wrong", async () => {
  const fail = (): never => {
    throw new Error("no such queue");
  };
  const failure = await eventually(createPulse(), "5 messages", fail, { withinMs: 20, seen: () => [1, 2] }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(AssertionError);
  expect(String(failure)).toMatch("Waited 20 ms in vain for 5 messages; seen: [ 1, 2 ]; last trouble: no such queue");
});

test("a promise that hangs is given up by its deadline", async () => {
  const hangs = new Promise<never>(() => undefined);
  await expect(within(20, "the end", hangs)).rejects.toThrow("Waited 20 ms in vain for the end");
});

test("a promise that settles in time is left as it is", async () => {
  expect(await within(10_000, "it", Promise.resolve(7))).toBe(7);
  await expect(within(10_000, "it", Promise.reject(new Error("its own")))).rejects.toThrow("its own");
});
