import type { Message } from "@posthorn/core/transport";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { OutgoingMessage } from "./aws.ts";
import { decodeMessage } from "./decode.ts";
import { received } from "./received.fixture.ts";
import { bytesOf, encodeMessage, fifoIds } from "./wire.ts";

const plain: Message = {
  id: "0197f2d1-7a80-7abc-8def-0123456789ab",
  type: "place-order",
  version: 1,
  source: "shop",
  time: 1_752_125_504_128,
  contentType: "application/json",
  key: undefined,
  correlationId: "flow-1",
  causationId: undefined,
  replyTo: undefined,
  notBefore: undefined,
  expiresAt: undefined,
  attempt: 1,
  traceparent: undefined,
  tracestate: undefined,
  baggage: undefined,
  headers: {},
  body: new TextEncoder().encode(`{"orderId":1}`),
};

const full: Message = {
  ...plain,
  version: 3,
  key: "Jörg 7",
  causationId: "cause-1",
  replyTo: "inbox",
  notBefore: plain.time + 1_000,
  expiresAt: plain.time + 60_000,
  attempt: 4,
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "vendor=1",
  baggage: "user=7",
  headers: table({ tenant: "blue", "posthorn-dead-letter": `{"reason":"x"}`, line: "a\nb\u007f😀" }),
};

function table(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, headers);
}

function roundTrip(message: Message): Message {
  const { message: decoded, defect } = decodeMessage(received(encodeMessage(message)));
  expect(defect).toBe(undefined);
  return decoded;
}

/** What the attribute `posthorn` holds. */
function envelope(message: Message): unknown {
  return JSON.parse(String(encodeMessage(message).attributes["posthorn"]));
}

/** What SQS and SNS would not take, or not carry as it is. */
function problemsOf({ body, attributes }: OutgoingMessage): string[] {
  const legal = /^[\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]+$/u;
  const problems = Object.keys(attributes).filter((name) => !legal.test(String(attributes[name])));
  if (!legal.test(body)) problems.push("body");
  if (Object.keys(attributes).length > 3) problems.push("more than three attributes");
  if (!/^[ -~]+$/.test(String(attributes["posthorn"]))) problems.push("not ASCII");
  return problems;
}

describe("what goes out", () => {
  test("a plain message is its body, its type, its media type, and the rest as JSON", () => {
    expect(encodeMessage(plain)).toEqual({
      body: `{"orderId":1}`,
      attributes: {
        type: "place-order",
        "content-type": "application/json",
        posthorn: `{"id":"0197f2d1-7a80-7abc-8def-0123456789ab","source":"shop","time":1752125504128,"correlationId":"flow-1"}`,
      },
    });
  });

  test("everything that a message can hold is in the attribute posthorn, in ASCII", () => {
    expect(encodeMessage(full)).toEqual({
      body: `{"orderId":1}`,
      attributes: {
        type: "place-order",
        "content-type": "application/json",
        posthorn: [
          `{"id":"0197f2d1-7a80-7abc-8def-0123456789ab","version":3,"source":"shop","time":1752125504128,`,
          String.raw`"key":"J\u00f6rg 7","correlationId":"flow-1","causationId":"cause-1","replyTo":"inbox",`,
          `"notBefore":1752125505128,"expiresAt":1752125564128,"attempt":4,`,
          `"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"vendor=1","baggage":"user=7",`,
          String.raw`"headers":{"tenant":"blue","posthorn-dead-letter":"{\"reason\":\"x\"}","line":"a\nb\u007f\ud83d\ude00"}}`,
        ].join(""),
      },
    });
  });

  test.each<[string, Uint8Array, string, string | undefined]>([
    ["a text", Buffer.from("grüße 😀\t\r\n"), "grüße 😀\t\r\n", undefined],
    ["a byte order mark", Buffer.from("\uFEFF{}"), "\uFEFF{}", undefined],
    ["bytes that are no UTF-8", Uint8Array.of(0xff, 0, 0x41), "/wBB", "base64"],
    ["a text with a character that SQS refuses", Buffer.from("a\u0000b"), "YQBi", "base64"],
    ["a text with a non-character", Buffer.from("\uFFFF"), "77+/", "base64"],
    ["nothing", new Uint8Array(), "(empty)", "empty"],
    ["the text that stands for nothing", Buffer.from("(empty)"), "(empty)", undefined],
  ])("of a body that is %s", (_, body, text, encoding) => {
    expect(encodeMessage({ ...plain, body }).body).toBe(text);
    expect((envelope({ ...plain, body }) as { body?: string }).body).toBe(encoding);
    expect(roundTrip({ ...plain, body }).body).toEqual(new Uint8Array(body));
  });

  test("a type or media type that no attribute can carry travels with the rest", () => {
    const odd = { ...plain, type: "a\u0001", contentType: "b\uFFFE" };
    expect(Object.keys(encodeMessage(odd).attributes)).toEqual(["posthorn"]);
    expect(envelope(odd)).toMatchObject({ type: "a\u0001", contentType: "b\uFFFE" });
    const empty = { ...plain, type: "", contentType: "" };
    expect(Object.keys(encodeMessage(empty).attributes)).toEqual(["posthorn"]);
    expect(Object.keys(envelope(empty) as object)).toEqual(["id", "source", "time", "correlationId"]);
  });

  test("numbers that JSON does not know are texts", () => {
    expect(envelope({ ...plain, time: Number.NaN, notBefore: Infinity, expiresAt: -Infinity })).toMatchObject({
      time: "NaN",
      notBefore: "Infinity",
      expiresAt: "-Infinity",
    });
  });

  test("its size is that of the body and of the names, types and values of the attributes, in bytes", () => {
    expect(bytesOf({ body: "ü", attributes: {} })).toBe(2);
    expect(bytesOf({ body: "ü", attributes: { type: "€" } })).toBe(2 + 4 + 6 + 3);
    expect(bytesOf({ body: "ü", attributes: { type: "€", b: new Uint8Array(5) } })).toBe(15 + 1 + 6 + 5);
  });
});

describe("there and back", () => {
  test.each<[string, Message]>([
    ["a plain message", plain],
    ["a message with everything set", full],
    [
      "empty texts",
      {
        ...full,
        type: "",
        source: "",
        contentType: "",
        key: "",
        correlationId: "",
        causationId: "",
        replyTo: "",
        traceparent: "",
        tracestate: "",
        baggage: "",
        headers: table({ "": "", empty: "" }),
        body: new Uint8Array(),
      },
    ],
    ["the beginning of time", { ...plain, time: 0, notBefore: 0, expiresAt: 0 }],
    ["times beyond every date", { ...plain, time: 8.64e15 + 1, notBefore: Number.MAX_VALUE, expiresAt: Infinity }],
    ["times that are none", { ...plain, time: Number.NaN, notBefore: Number.NaN, expiresAt: -Infinity }],
    ["a structured CloudEvent as the body", { ...plain, contentType: "application/cloudevents+json" }],
    ["a dead letter's record of 200 KB", { ...plain, headers: table({ "posthorn-dead-letter": "ü".repeat(100_000) }) }],
    ["headers named like attributes", { ...plain, headers: table({ type: "a", posthorn: "b", ce_id: "c", id: "d" }) }],
    [
      "texts that are no well-formed Unicode",
      { ...plain, type: "\ud800", key: "\udc00", headers: table({ a: "\ud83d" }) },
    ],
  ])("%s is the same afterwards", (_, message) => {
    expect(problemsOf(encodeMessage(message))).toEqual([]);
    expect(roundTrip(message)).toEqual(message);
  });

  test("a header called __proto__ is a header", () => {
    const headers = table({});
    headers["__proto__"] = "text";
    const decoded = roundTrip({ ...plain, headers });
    expect(Object.keys(decoded.headers)).toEqual(["__proto__"]);
    expect(decoded.headers["__proto__"]).toBe("text");
    expect(Object.getPrototypeOf(decoded.headers)).toBe(null);
  });

  test("whatever it holds, a message is the same afterwards, and SQS takes it", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(problemsOf(encodeMessage(message))).toEqual([]);
        expect(roundTrip(message)).toStrictEqual(message);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("what FIFO queues ask for", () => {
  test("the group is the key; one that SQS does not take is hashed", () => {
    const groupOf = (key: string | undefined): string => fifoIds({ ...plain, key }, false).groupId;
    expect(groupOf("customer-7/!~")).toBe("customer-7/!~");
    expect(groupOf("k".repeat(128))).toBe("k".repeat(128));
    for (const key of ["", "two words", "Jörg", "k".repeat(129), "a\n"])
      expect(groupOf(key), JSON.stringify(key)).toMatch(/^[\da-f]{64}$/);
    expect(groupOf("a b")).not.toBe(groupOf("a  b"));
    expect(groupOf(undefined)).toBe(plain.id);
  });

  test("two dispatches of a message that differ in anything are two, the same one is one", () => {
    const all = [
      plain,
      { ...plain, id: "other" },
      { ...plain, time: plain.time + 1 },
      { ...plain, attempt: 2 },
      { ...plain, notBefore: 0 },
      { ...plain, headers: table({ "posthorn-redrive-count": "1" }) },
      { ...plain, headers: table({ "posthorn-redrive-count": "2" }) },
    ];
    const ids = all.map((message) => fifoIds(message, false).deduplicationId);
    expect(new Set(ids).size).toBe(all.length);
    for (const id of ids) expect(id).toMatch(/^[\da-f]{64}$/);
    expect(fifoIds({ ...plain }, false)).toEqual(fifoIds(plain, false));
  });

  test("two dispatches of one and the same message are two where they are told apart", () => {
    const [first, again, second] = ["1", "1", "2"].map((id) => fifoIds(plain, false, id).deduplicationId);
    expect(again).toBe(first);
    expect(second).not.toBe(first);
    expect(fifoIds(plain, false).deduplicationId).not.toBe(first);
  });

  test("each dead letter is a group of its own", () => {
    const one = fifoIds({ ...plain, key: "k" }, true);
    const other = fifoIds({ ...plain, key: "k" }, true);
    expect(one.groupId).not.toBe(other.groupId);
    expect(one.deduplicationId).not.toBe(other.deduplicationId);
    expect(fifoIds(plain, true, "x")).toEqual({ groupId: "x", deduplicationId: "x" });
  });
});

const text = fc.string({ unit: "binary", maxLength: 40 });
const optional = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });
const count = fc.integer({ min: 1, max: 1_000_000_000 });
const time = fc.oneof(
  fc.integer({ min: 0, max: 4_102_444_800_000 }),
  fc.double().map((value) => value + 0),
);
const headerName = fc.oneof(
  text,
  fc.constantFrom("__proto__", "constructor", "toJSON", "type", "content-type", "posthorn", "traceparent", "id", "0"),
);

/** All that the shape of a message allows, but for an empty id. */
const anyMessage: fc.Arbitrary<Message> = fc.record(
  {
    id: text.filter((id) => id !== ""),
    type: text,
    version: count,
    source: text,
    time,
    contentType: text,
    key: optional(text),
    correlationId: optional(text),
    causationId: optional(text),
    replyTo: optional(text),
    notBefore: optional(time),
    expiresAt: optional(time),
    attempt: count,
    traceparent: optional(text),
    tracestate: optional(text),
    baggage: optional(text),
    headers: fc.array(fc.tuple(headerName, text), { maxLength: 8 }).map((entries) => {
      const headers = table({});
      for (const [name, value] of entries) headers[name] = value;
      return headers;
    }),
    body: fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      text.map((body) => new TextEncoder().encode(body)),
    ),
  },
  { noNullPrototype: true },
);
