import type { Message } from "@posthorn/core/transport";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeDeadLetter, decodeRecord } from "./decode.ts";
import { fetched } from "./records.fixture.ts";
import { encodeRecord } from "./wire.ts";

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
  headers: table({ tenant: "blue", "posthorn-dead-letter": "{}" }),
};

function table(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, headers);
}

function roundTrip(message: Message): Message {
  const { message: decoded, defect } = decodeRecord(fetched(encodeRecord(message)));
  expect(defect).toBe(undefined);
  return decoded;
}

/** The bytes as text. */
function shown(message: Message): unknown {
  const { key, value, headers } = encodeRecord(message);
  return {
    key: key === null ? null : Buffer.from(key).toString(),
    value: value === null ? null : Buffer.from(value).toString(),
    headers,
  };
}

describe("what goes out", () => {
  test("a plain message is a CloudEvent in binary mode, and nothing else", () => {
    expect(shown(plain)).toEqual({
      key: null,
      value: `{"orderId":1}`,
      headers: [
        ["ce_specversion", "1.0"],
        ["ce_id", "0197f2d1-7a80-7abc-8def-0123456789ab"],
        ["ce_type", "place-order"],
        ["ce_source", "shop"],
        ["ce_time", "2025-07-10T05:31:44.128Z"],
        ["ce_correlationid", "flow-1"],
        ["content-type", "application/json"],
      ],
    });
  });

  test("everything that a message can hold is an attribute, a header, the key or the value", () => {
    expect(shown(full)).toEqual({
      key: "Jörg 7",
      value: `{"orderId":1}`,
      headers: [
        ["ce_specversion", "1.0"],
        ["ce_id", "0197f2d1-7a80-7abc-8def-0123456789ab"],
        ["ce_type", "place-order"],
        ["ce_source", "shop"],
        ["ce_time", "2025-07-10T05:31:44.128Z"],
        ["ce_notbefore", "2025-07-10T05:31:45.128Z"],
        ["ce_expirytime", "2025-07-10T05:32:44.128Z"],
        ["ce_messageversion", "3"],
        ["ce_attempt", "4"],
        ["ce_partitionkey", "Jörg 7"],
        ["ce_correlationid", "flow-1"],
        ["ce_causationid", "cause-1"],
        ["ce_replyto", "inbox"],
        ["ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ["ce_tracestate", "vendor=1"],
        ["ce_baggage", "user=7"],
        ["content-type", "application/json"],
        ["tenant", "blue"],
        ["posthorn-dead-letter", "{}"],
      ],
    });
  });

  test("an empty body is a value, for no value would be a tombstone", () => {
    expect(encodeRecord({ ...plain, body: new Uint8Array() }).value).toEqual(new Uint8Array());
  });

  test("times that no attribute holds travel as numbers", () => {
    const names = ["time", "notBefore", "expiresAt"] as const;
    const { headers } = encodeRecord({ ...plain, time: 0.5, notBefore: 8.64e15 + 1, expiresAt: 1e21 });
    expect(headers.filter(([name]) => name.startsWith("posthorn-"))).toEqual([
      ["posthorn-time", "0.5"],
      ["posthorn-not-before", "8640000000000001"],
      ["posthorn-expires-at", "1e+21"],
    ]);
    for (const name of names)
      expect(encodeRecord({ ...plain, [name]: -8.64e15 }).headers.map(([header]) => header)).not.toContain(
        `posthorn-${name}`,
      );
  });

  test("names that mean something to the format are escaped", () => {
    const headers = table({
      ce_id: "a",
      ce_mine: "b",
      "content-type": "c",
      "Content-Type": "d",
      traceparent: "e",
      tracestate: "f",
      baggage: "g",
      "posthorn-time": "h",
      "posthorn-not-before": "i",
      "posthorn-expires-at": "j",
      "posthorn-h-x": "k",
    });
    const others = table({ CE_ID: "a", "content-types": "b", id: "c", type: "d", "posthorn-redrive-count": "2" });
    const before = encodeRecord(plain).headers.length;
    const names = (of: Record<string, string>): string[] =>
      encodeRecord({ ...plain, headers: of })
        .headers.slice(before)
        .map(([name]) => name);
    expect(names(headers)).toEqual(Object.keys(headers).map((name) => `posthorn-h-${name}`));
    expect(names(others)).toEqual(Object.keys(others));
    expect(roundTrip({ ...plain, headers }).headers).toEqual(headers);
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
    ["a time before it", { ...plain, time: -1 }],
    ["the last of all dates", { ...plain, time: 8.64e15, notBefore: -8.64e15 }],
    ["times beyond every date", { ...plain, time: 8.64e15 + 1, notBefore: Number.MAX_VALUE, expiresAt: Infinity }],
    ["times that are none", { ...plain, time: Number.NaN, notBefore: Number.NaN, expiresAt: -Infinity }],
    ["a structured CloudEvent as the body", { ...plain, contentType: "application/cloudevents+json" }],
    ["a dead letter's record of 200 KB", { ...plain, headers: table({ "posthorn-dead-letter": "ü".repeat(100_000) }) }],
    ["a byte order mark", { ...plain, id: "\uFEFFid", key: "\uFEFF", headers: table({ "\uFEFFa": "\uFEFFb" }) }],
  ])("%s is the same afterwards", (_, message) => {
    expect(roundTrip(message)).toEqual(message);
  });

  test("a key that is set and empty is not the same as none", () => {
    expect(roundTrip({ ...plain, key: "" }).key).toBe("");
    expect(roundTrip(plain).key).toBe(undefined);
  });

  test("a header called __proto__ is a header", () => {
    const headers = table({});
    headers["__proto__"] = "text";
    const decoded = roundTrip({ ...plain, headers });
    expect(Object.keys(decoded.headers)).toEqual(["__proto__"]);
    expect(decoded.headers["__proto__"]).toBe("text");
    expect(Object.getPrototypeOf(decoded.headers)).toBe(null);
  });

  test("a dead letter has its message's key, not its record's", () => {
    const record = (message: Message) => fetched({ ...encodeRecord(message), key: Buffer.from("a fresh UUID") });
    expect(decodeDeadLetter(record(plain))).toEqual({ message: plain, defect: undefined });
    expect(decodeDeadLetter(record(full))).toEqual({ message: full, defect: undefined });
  });

  test("whatever it holds, a message is the same afterwards", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(roundTrip(message)).toStrictEqual(message);
      }),
      { numRuns: 1_000 },
    );
  });
});

const text = fc.string({ unit: "binary", maxLength: 40 });
const optional = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });
const count = fc.integer({ min: 1, max: 1_000_000_000 });
const time = fc.oneof(
  fc.integer({ min: 0, max: 4_102_444_800_000 }),
  fc.integer({ min: -8.64e15, max: 8.64e15 }),
  fc.double().map((value) => value + 0),
);
const headerName = fc.oneof(
  text,
  fc
    .tuple(fc.constantFrom("ce_", "posthorn-h-", "posthorn-", "CE_"), fc.oneof(text, fc.constantFrom("id", "time")))
    .map((parts) => parts.join("")),
  fc.constantFrom("__proto__", "constructor", "content-type", "Content-Type", "traceparent", "id", "type", "0"),
);

/** All that the shape of a message allows, but for an empty id. Well-formed Unicode. */
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
    body: fc.uint8Array({ maxLength: 400 }),
  },
  { noNullPrototype: true },
);
