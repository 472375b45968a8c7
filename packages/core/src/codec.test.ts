import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytes, json } from "./codec.ts";

describe("json", () => {
  test("whatever it writes it reads back, and what it cannot it refuses", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // JSON has no negative zero; 0 equals it.
        expect(json.decode(json.encode(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test.each([null, "", {}, [], 0, false, "\ud83d\ude00", JSON.parse('{"__proto__":{"admin":true}}') as unknown])(
    "keeps %j",
    (value) => {
      expect(json.decode(json.encode(value))).toStrictEqual(value);
    },
  );

  test("leaves out properties that are undefined", () => {
    expect(json.decode(json.encode({ a: 1, b: undefined }))).toEqual({ a: 1 });
  });

  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  test.each([
    ["NaN", { total: Number.NaN }, "total"],
    ["infinity", [1, Number.POSITIVE_INFINITY], "[1]"],
    ["a bigint", { n: 1n }, "BigInt"],
    ["a Date", { at: new Date(0) }, "at"],
    ["a Map", { deep: [{ m: new Map() }] }, "deep[0].m"],
    ["undefined in an array", [undefined], "[0]"],
    ["undefined", undefined, "undefined"],
    ["a function", () => 1, "function"],
    ["an object of a class", { e: new Error("x") }, "Error"],
    ["a cycle", cycle, "circular"],
  ])("refuses %s and says where", (_what, value, where) => {
    expect(() => json.encode(value)).toThrow(
      expect.objectContaining({ code: "ENCODE_FAILED", message: expect.stringContaining(where) as string }),
    );
  });

  test.each([
    ["application/json", true],
    ["application/json; charset=utf-8", true],
    ['Application/JSON;charset="UTF-8"', true],
    ["application/vnd.github+json", true],
    ["application/json; charset=latin1", false],
    ["text/plain", false],
    ["application/jsonp", false],
  ])("reads %s: %s", (contentType, reads) => {
    expect(json.accepts(contentType)).toBe(reads);
  });

  test.each([new Uint8Array(), new Uint8Array([0xff, 0xfe]), new TextEncoder().encode('{"a":')])(
    "a body that is not JSON is a decode failure",
    (body) => {
      expect(() => json.decode(body)).toThrow(expect.objectContaining({ code: "DECODE_FAILED" }));
    },
  );
});

describe("bytes", () => {
  test("passes them unchanged, as a copy", () => {
    const value = new Uint8Array([0, 255, 128]);
    const encoded = bytes.encode(value);
    expect(encoded).toEqual(value);
    expect(encoded).not.toBe(value);
  });

  test("copies a Buffer too, whose slice is a view", () => {
    const buffer = Buffer.from("hello");
    const encoded = bytes.encode(buffer);
    const decoded = bytes.decode(buffer) as Uint8Array;
    buffer.fill(0);
    expect(new TextDecoder().decode(encoded)).toBe("hello");
    expect(new TextDecoder().decode(decoded)).toBe("hello");
  });

  test("takes nothing else", () => {
    expect(() => bytes.encode("text")).toThrow(expect.objectContaining({ code: "ENCODE_FAILED" }));
  });
});
