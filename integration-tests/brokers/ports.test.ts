import { expect, test } from "vitest";
import { freePorts } from "./ports.ts";

test("ports are different from each other", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(Math.min(...ports)).toBeGreaterThan(1023);
});
