import { afterEach, expect, test, vi } from "vitest";
import type { BusEvent } from "./observe.ts";
import { guardObserver, observeOnConsole } from "./observe.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const blocked: BusEvent = { name: "transport.blocked", level: "warn", detail: "memory alarm" };

afterEach(() => {
  vi.restoreAllMocks();
});

test("the console gets a line for each warning, and a count when there are too many", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const clock = createVirtualClock();
  const observe = observeOnConsole(clock);
  for (let count = 0; count < 1_000; count++) observe(blocked);
  expect(warn).toHaveBeenCalledTimes(10);
  await clock.advance(10_000);
  observe(blocked);
  expect(warn).toHaveBeenLastCalledWith("posthorn transport.blocked: memory alarm (and 990 more like it before)");
});

test("the console gets nothing of what is only information", () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  observeOnConsole(createVirtualClock())({ ...blocked, name: "transport.connected", level: "info" });
  expect(warn).not.toHaveBeenCalled();
});

test("an observer that throws harms nobody", () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const observe = guardObserver(() => {
    throw new Error("full disk");
  });
  expect(() => observe(blocked)).not.toThrow();
  expect(error).toHaveBeenCalledWith(expect.stringContaining("full disk"));
});

test("what others wrote cannot forge a line, or flood it", () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  observeOnConsole(createVirtualClock())({
    ...blocked,
    detail: `first\nposthorn forged \u001b[31m${"x".repeat(100_000)}`,
  });
  const line = String(warn.mock.calls[0]?.[0]);
  expect(line).not.toContain("\n");
  expect(line).not.toContain("\u001b");
  expect(line.length).toBeLessThan(600);
});

test("an observer that rejects harms nobody", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
  guardObserver(() => Promise.reject(new Error("full disk")) as never)(blocked);
  await Promise.resolve();
  expect(error).toHaveBeenCalledWith(expect.stringContaining("full disk"));
});
