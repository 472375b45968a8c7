import { describe, expect, test } from "vitest";
import { z } from "zod";
import { queue, topic } from "./channel.ts";
import { checkName } from "./names.ts";

const invalid = expect.objectContaining({ code: "INVALID_NAME" }) as unknown;

describe("names", () => {
  test.each(["orders", "Order_Events-2", "9", "x".repeat(100)])("%s is a channel", (name) => {
    expect(queue(name).name).toBe(name);
    expect(topic(name).name).toBe(name);
  });

  test.each(["", "a.b", "a b", "-a", "é", "x".repeat(101), "a/b", "a\n"])("%j is none", (name) => {
    expect(() => queue(name)).toThrow(invalid);
    expect(() => topic(name)).toThrow(invalid);
  });

  test.each(["dlq", "retry"])("%s is no group: its queue would be another's dead letters or retries", (name) => {
    expect(() => checkName("group", name)).toThrow(invalid);
  });

  test.each(["a*", "#", "a b", "", ".a"])("%j is no type", (type) => {
    expect(() => topic("t").event(type, { schema: z.string() })).toThrow(invalid);
  });
});

describe("contracts", () => {
  test.each([
    ["a version that is none", { schema: z.string(), version: 0 }],
    ["no schema", {} as never],
    ["something that is no schema", { schema: { parse: () => 1 } as never }],
  ])("%s is refused", (_what, options) => {
    expect(() => queue("q").command("c", options)).toThrow(expect.objectContaining({ code: "INVALID_DECLARATION" }));
  });
});
