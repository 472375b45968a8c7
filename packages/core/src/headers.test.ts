import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { userHeaders, visibleHeaders } from "./headers.ts";
import { emptyHeaders } from "./message.ts";
import { utf8Length } from "./utf8.ts";

const refused = expect.objectContaining({ code: "INVALID_HEADER" }) as unknown;

describe("the user's headers", () => {
  test("numbers, booleans and bigints become strings, undefined is left out", () => {
    const headers = userHeaders({ text: "", count: 1.5, yes: true, big: 12n, none: undefined });
    expect({ ...headers }).toEqual({ text: "", count: "1.5", yes: "true", big: "12" });
  });

  test.each(["Content-Type", "ключ", "a b", "x".repeat(255), "constructor", "toString"])(
    "the name %j travels",
    (name) => {
      expect(userHeaders({ [name]: "v" })[name]).toBe("v");
    },
  );

  test.each([
    ["an empty name", { "": "v" }],
    ["a control character", { "a\nb": "v" }],
    ["a name of 256 bytes", { ["é".repeat(128)]: "v" }],
    ["half a surrogate pair in a name", { "\ud800": "v" }],
    ["half a surrogate pair in a value", { a: "\udc00" }],
    ["Posthorn's prefix", { "Posthorn-attempt": "9" }],
    ["the envelope's trace", { TraceParent: "00" }],
    ["a prototype", JSON.parse('{"__proto__":"v"}') as Record<string, string>],
  ])("%s is refused", (_what, headers) => {
    expect(() => userHeaders(headers)).toThrow(refused);
  });

  test.each([[null], [{}], [Symbol("s")], [() => 1]])("a value %o is refused", (value) => {
    expect(() => userHeaders({ a: value as never })).toThrow(refused);
  });

  test("a handler sees them without Posthorn's own", () => {
    const headers = Object.assign(emptyHeaders(), { a: "1", "posthorn-dead-letter": "{}" });
    expect(visibleHeaders(headers)).toEqual({ a: "1" });
  });
});

test("utf8Length is what the encoder would write", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(utf8Length(text)).toBe(new TextEncoder().encode(text).byteLength);
    }),
  );
});
