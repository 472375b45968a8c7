import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import { createTelling } from "./telling.ts";

function telling() {
  const clock = createVirtualClock();
  const told: string[] = [];
  const tell = createTelling(clock, (what, error) => told.push(`${what}: ${String(error)}`));
  return { clock, told, tell };
}

test("the same trouble is told once a minute", async () => {
  const { clock, told, tell } = telling();
  for (let second = 0; second < 61; second++) {
    tell("no way", new Error("down"));
    await clock.advance(1_000);
  }
  expect(told).toHaveLength(2);
});

test("another trouble is told at once", () => {
  const { told, tell } = telling();
  tell("no way", new Error("down"));
  tell("no way", new Error("refused"));
  tell("no commit", new Error("down"));
  tell("no commit", undefined);
  expect(told).toHaveLength(4);
});

test("what is remembered is bounded: the oldest goes", () => {
  const { told, tell } = telling();
  for (let number = 0; number < 1_001; number++) tell("lost", new Error(`${number}`));
  tell("lost", new Error("1000"));
  expect(told).toHaveLength(1_001);
  tell("lost", new Error("0"));
  expect(told).toHaveLength(1_002);
});
