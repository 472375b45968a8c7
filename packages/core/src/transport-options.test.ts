import { expect, test } from "vitest";
import { z } from "zod";
import { checkOptions, decodeUrlPart, queryOptions } from "./transport-options.ts";

const schema = z.strictObject({
  size: z.int().optional(),
  tls: z.strictObject({ ca: z.string().optional() }).optional(),
});
const check = (options: unknown): unknown => checkOptions("the pigeon transport", schema, options);
const query = (text: string): unknown =>
  queryOptions("the pigeon transport", { size: "number", fast: "boolean", name: "text" }, new URLSearchParams(text));

test("options that are right are passed on", () => {
  expect(check({ size: 1, tls: { ca: "pem" } })).toEqual({ size: 1, tls: { ca: "pem" } });
  expect(query("size=-1&fast=true&name=1")).toEqual({ size: -1, fast: true, name: "1" });
});

test.each([
  [{ sizes: 1 }, "sizes", "the pigeon transport has no option of this name; it knows size, tls"],
  [{ tls: { cert: "pem" } }, "tls.cert", "there is no option of this name"],
  [{ size: "secret" }, "size", "expected number"],
  [{ tls: { ca: 1 } }, "tls.ca", "expected string"],
  ["secret", "", "expected object"],
])("%o is refused by the name of the option", (options, option, reason) => {
  const details = { option };
  expect(() => check(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", details }));
  expect(() => check(options)).toThrow(reason);
  expect(() => check(options)).not.toThrow(/secret/);
});

test("a URL has only the options that it may have", () => {
  expect(() => query("size=1&colour=red")).toThrow("a URL of the pigeon transport takes only size, fast, name");
});

test("what is no number or truth value is left to the schema", () => {
  expect(query("size=big&fast=perhaps")).toEqual({ size: "big", fast: "perhaps" });
});

test("a part of a URL that is encoded wrongly is not repeated", () => {
  expect(decodeUrlPart("password", "%40")).toBe("@");
  expect(() => decodeUrlPart("password", "secret%")).toThrow(
    'The option "password" is wrong: it is not percent-encoded correctly in the URL.',
  );
});
