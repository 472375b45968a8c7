import { expect, test } from "vitest";
import { freePorts, onFreePorts } from "./ports.ts";

test("ports are different from each other", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(Math.min(...ports)).toBeGreaterThan(1023);
});

test("no port is one that Linux gives to outgoing connections", async () => {
  expect(Math.max(...(await freePorts(50)))).toBeLessThan(32_768);
});

test("a start that finds a port taken is made again, with other ports", async () => {
  const tries: (readonly number[])[] = [];
  const started = await onFreePorts(2, async (ports) => {
    tries.push(ports);
    if (tries.length < 3) throw new Error("bind: Address already in use");
    return "started";
  });
  expect([started, tries.length, new Set(tries.flat()).size]).toEqual(["started", 3, 6]);
});

test("it is not made a fourth time, nor again after another failure", async () => {
  let tries = 0;
  const failing = (message: string): Promise<never> =>
    onFreePorts(1, async () => Promise.reject(new Error(message + ++tries)));
  await expect(failing("EADDRINUSE ")).rejects.toThrow("EADDRINUSE 3");
  await expect(failing("no such image ")).rejects.toThrow("no such image 4");
});
