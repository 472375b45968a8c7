import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ReceivedMessage } from "./aws.ts";
import { decodeMessage } from "./decode.ts";
import { foreign, sentAt } from "./received.fixture.ts";

const bytes = Uint8Array.of(0x61, 0xff, 0xfe);
const base64 = "Yf/+";
const event = { ce_specversion: "1.0", ce_id: "e-1", ce_type: "made", ce_source: "/other" };
const body = new TextEncoder().encode("body");
const ownId = "sqs:5fea7756-0ea4-451a-a703-a558b933e274";

/** A message of ours, with an envelope that says so much. */
function own(envelope: unknown, more: Partial<ReceivedMessage> = {}): ReceivedMessage {
  const posthorn = typeof envelope === "string" ? envelope : JSON.stringify(envelope);
  return foreign({ type: "made", "content-type": "a/b", posthorn }, more);
}

describe("a message of ours", () => {
  test("may have attributes that somebody added: they are headers, and trace context", () => {
    const added = {
      traceparent: "plain",
      tracestate: "plain state",
      baggage: "plain baggage",
      mine: "2",
      other: bytes,
    };
    const read = (envelope: object) =>
      decodeMessage(foreign({ ...added, posthorn: JSON.stringify({ id: "1", ...envelope }) }));
    expect(read({ headers: { mine: "1" } })).toMatchObject({
      message: {
        traceparent: "plain",
        tracestate: "plain state",
        baggage: "plain baggage",
        headers: { mine: "1", other: base64 },
      },
      defect: undefined,
    });
    expect(read({ traceparent: "own", baggage: "own" }).message).toMatchObject({
      traceparent: "own",
      tracestate: undefined,
      baggage: "own",
    });
  });

  test("has no key where it bears none, whatever its FIFO group is", () => {
    expect(decodeMessage(own({ id: "1" }, { groupId: "g" })).message.key).toBe(undefined);
    expect(decodeMessage(own({ id: "1", key: "k" }, { groupId: "g" })).message.key).toBe("k");
  });

  test.each<[string, unknown, string]>([
    ["no JSON", `{"id":"1"`, "posthorn"],
    ["empty", "", "posthorn"],
    ["no object", "7", "posthorn"],
    ["null", "null", "posthorn"],
    ["a list", "[]", "posthorn"],
    ["without an id", {}, "id"],
    ["with an empty id", { id: "" }, "id"],
    ["with an id that is no text", { id: 7 }, "id"],
  ])(
    "an envelope that is %s is a defect, and it has an id all the same, the same at every delivery",
    (_, envelope, named) => {
      const message = own(envelope);
      expect(decodeMessage(message).defect).toContain(named);
      expect(decodeMessage(message).message).toMatchObject({
        id: ownId,
        type: "made",
        contentType: "a/b",
        time: sentAt,
        body,
      });
      expect(decodeMessage(message)).toEqual(decodeMessage(message));
    },
  );

  test("an envelope that is no text is a defect", () => {
    const { message, defect } = decodeMessage(foreign({ posthorn: bytes, type: "made", mine: "1" }));
    expect(defect).toContain("posthorn");
    expect(message).toMatchObject({ id: ownId, type: "made", headers: { mine: "1" }, body });
  });

  test.each<[string, object]>([
    ["version", { version: "new" }],
    ["version", { version: 0 }],
    ["version", { version: 1e12 }],
    ["attempt", { attempt: 1.5 }],
    ["attempt", { attempt: null }],
    ["time", { time: "yesterday" }],
    ["time", { time: "0x10" }],
    ["expiresAt", { expiresAt: {} }],
    ["key", { key: 7 }],
    ["correlationId", { correlationId: [] }],
    ["headers", { headers: "text" }],
    ["headers", { headers: [] }],
    ["headers", { headers: { mine: "1", theirs: 2 } }],
  ])("%s that cannot be read is a defect, and the rest is read", (named, member) => {
    const { message, defect } = decodeMessage(own({ id: "1", source: "shop", notBefore: 5, ...member }));
    expect(defect).toContain(named);
    expect(message).toMatchObject({
      id: "1",
      source: "shop",
      type: "made",
      version: 1,
      attempt: 1,
      notBefore: 5,
      body,
    });
    expect(message).toMatchObject({ time: sentAt, expiresAt: undefined, key: undefined, correlationId: undefined });
  });

  test.each([["Yg"], ["Yg="], ["Yg===="], ["Y g="], ["****"], ["YgYg=Yg="]])(
    "a body that is said to be base64, and is %j, is a defect, and is there as it came",
    (text) => {
      const { message, defect } = decodeMessage(own({ id: "1", body: "base64" }, { body: text }));
      expect(defect).toBe("The body is no base64.");
      expect(Buffer.from(message.body).toString()).toBe(text);
    },
  );

  test("a body in an encoding that is not known is a defect", () => {
    expect(decodeMessage(own({ id: "1", body: "zstd" }))).toMatchObject({
      defect: expect.stringContaining("body") as string,
      message: { body },
    });
  });

  test("what a later version adds is passed over", () => {
    expect(decodeMessage(own({ id: "1", shade: "dark" }))).toMatchObject({
      defect: undefined,
      message: { headers: {} },
    });
  });
});

describe("a CloudEvent of another program", () => {
  test("is a message, and attributes that the envelope does not know are headers", () => {
    const time = "2025-07-10T07:31:44.128+02:00";
    const attributes = { ...event, ce_time: time, ce_shade: "dark", "Content-Type": "text/plain", mine: "1" };
    const { message, defect } = decodeMessage(foreign(attributes));
    expect(defect).toBe(undefined);
    expect(message).toMatchObject({ id: "e-1", type: "made", source: "/other", version: 1, attempt: 1, body });
    expect(message).toMatchObject({ time: 1_752_125_504_128, contentType: "text/plain", key: undefined });
    expect({ ...message.headers }).toEqual({ shade: "dark", mine: "1" });
  });

  test("is one with an id alone; what it lacks the message around it has", () => {
    expect(decodeMessage(foreign({ ce_id: "e-1", type: "made" }, { groupId: "g" }))).toMatchObject({
      defect: undefined,
      message: { id: "e-1", type: "made", key: "g", time: sentAt },
    });
    const { message } = decodeMessage(foreign({ ...event, ce_partitionkey: "k", type: "other" }, { groupId: "g" }));
    expect(message).toMatchObject({ key: "k", type: "made" });
    expect(decodeMessage(foreign(event, { sentAt: Number.NaN })).message.time).toBe(0);
  });

  test("may bring its trace context as plain attributes", () => {
    const attributes = { ...event, traceparent: "plain", tracestate: "plain state", baggage: "plain baggage" };
    expect(decodeMessage(foreign(attributes)).message).toMatchObject({
      traceparent: "plain",
      tracestate: "plain state",
      baggage: "plain baggage",
      headers: {},
    });
    expect(decodeMessage(foreign({ ...attributes, ce_traceparent: "own", ce_baggage: "own" })).message).toMatchObject({
      traceparent: "own",
      tracestate: undefined,
      baggage: "own",
    });
  });

  test.each([
    ["a wrong specversion", { ce_specversion: "0.3" }, "specversion"],
    ["a time that is none", { ce_time: "yesterday" }, "time"],
    ["an expiry time that is none", { ce_expirytime: "" }, "expirytime"],
    ["a version that is no number", { ce_messageversion: "new" }, "messageversion"],
    ["an attempt below 1", { ce_attempt: "0" }, "attempt"],
    ["two content types", { "content-type": "a/b", "Content-Type": "c/d" }, "content-type"],
    ["a content type that contradicts itself", { "content-type": "a/b", ce_datacontenttype: "c/d" }, "content-type"],
  ])("%s is a defect, and the rest is read", (_, attributes, named) => {
    const given = { ...event, ce_partitionkey: "k", ce_notbefore: "2025-07-10T05:31:44.128Z", mine: "1" };
    const { message, defect } = decodeMessage(foreign({ ...given, ...attributes }));
    expect(defect).toContain(named);
    expect(message).toMatchObject({
      id: "e-1",
      type: "made",
      source: "/other",
      key: "k",
      version: 1,
      attempt: 1,
      time: sentAt,
      notBefore: 1_752_125_504_128,
      expiresAt: undefined,
      headers: { mine: "1" },
      body,
    });
  });

  test.each([
    ["no id", {}],
    ["an empty id", { ce_id: "" }],
  ])("%s is a defect, and it has one all the same, the same at every delivery", (_, id) => {
    const message = foreign({ ce_specversion: "1.0", ce_type: "made", ...id });
    expect(decodeMessage(message).defect).toMatch(/id/);
    expect(decodeMessage(message).message).toMatchObject({ id: ownId, type: "made" });
    expect(decodeMessage(message)).toEqual(decodeMessage(message));
  });
});

describe("a message that is no CloudEvent", () => {
  test("is a message with what it has", () => {
    const attributes = { id: "f-1", type: "made", mine: "1", "content-type": "a/b", binary: bytes };
    const { message, defect } = decodeMessage(foreign(attributes, { groupId: "g" }));
    expect(defect).toBe(undefined);
    expect({ ...message, headers: { ...message.headers } }).toEqual({
      id: "f-1",
      type: "made",
      version: 1,
      source: "",
      time: sentAt,
      contentType: "a/b",
      key: "g",
      correlationId: undefined,
      causationId: undefined,
      replyTo: undefined,
      notBefore: undefined,
      expiresAt: undefined,
      attempt: 1,
      traceparent: undefined,
      tracestate: undefined,
      baggage: undefined,
      headers: { id: "f-1", mine: "1", binary: base64 },
      body,
    });
  });

  test("without an id gets the one that SQS gave it", () => {
    expect(decodeMessage(foreign({})).message).toMatchObject({ id: ownId, type: "", contentType: "", key: undefined });
    expect(decodeMessage(foreign({ id: "" })).message.id).toBe(ownId);
  });

  test("keeps attributes that make no event", () => {
    expect({ ...decodeMessage(foreign({ ce_type: "made", ce_shade: "dark" })).message.headers }).toEqual({
      ce_type: "made",
      ce_shade: "dark",
    });
  });

  test("a structured CloudEvent is left to who reads it", () => {
    const contentType = "application/cloudevents+json; charset=utf-8";
    expect(decodeMessage(foreign({ "content-type": contentType }))).toMatchObject({
      message: { contentType, body },
      defect: undefined,
    });
  });

  test("a time that is none is the beginning of time", () => {
    for (const time of [-1, Number.NaN, 9e18, 0.5])
      expect(decodeMessage(foreign({}, { sentAt: time })).message.time).toBe(0);
  });
});

describe("hostile messages", () => {
  test("names that mean something to JavaScript are names", () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    for (const prefix of ["", "ce_"]) {
      const attributes = Object.fromEntries([["ce_id", "1"], ...names.map((name) => [prefix + name, "x"])]);
      const { message, defect } = decodeMessage(foreign(attributes));
      expect(defect).toBe(undefined);
      expect(Object.getPrototypeOf(message.headers)).toBe(null);
      expect(Object.keys(message.headers).toSorted()).toEqual(names.toSorted());
    }
    const envelope = `{"id":"1","__proto__":{"key":"k"},"headers":{"__proto__":"x"}}`;
    const { message, defect } = decodeMessage(own(envelope));
    expect({ defect, key: message.key, headers: Object.keys(message.headers) }).toEqual({
      defect: undefined,
      key: undefined,
      headers: ["__proto__"],
    });
    expect(({} as Record<string, unknown>)["x"]).toBe(undefined);
  });

  test("an envelope that is nested without end is a defect at most", () => {
    for (const open of ["[", `{"id":`, `{"headers":{"a":`])
      expect(decodeMessage(own(open.repeat(100_000))).message.id).toBe(ownId);
  });

  test("whatever is received, nothing throws, and it is a message", () => {
    fc.assert(
      fc.property(anyReceived, (message) => {
        const { message: decoded, defect } = decodeMessage(message);
        expect(decoded.id).not.toBe("");
        expect(decoded.body.constructor).toBe(Uint8Array);
        expect(Number.isInteger(decoded.version) && Number.isInteger(decoded.attempt)).toBe(true);
        for (const name of Object.keys(decoded.headers)) expect(typeof decoded.headers[name]).toBe("string");
        for (const name of ["type", "source", "contentType"] as const) expect(typeof decoded[name]).toBe("string");
        for (const name of ["time", "notBefore", "expiresAt"] as const)
          expect(["number", "undefined"]).toContain(typeof decoded[name]);
        expect(["string", "undefined"]).toContain(typeof defect);
        expect(decodeMessage(message)).toEqual({ message: decoded, defect });
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what belongs to a delivery alone", () => {
  test("its body and its headers", () => {
    const messages = [
      foreign({}),
      foreign(event),
      own({ id: "1" }),
      own({ id: "1", body: "base64" }),
      own({ id: "1", body: "empty" }),
    ];
    for (const message of messages) {
      const one = decodeMessage(message).message;
      const other = decodeMessage(message).message;
      const before = Uint8Array.from(one.body);
      one.body.fill(0);
      expect(other.body).toEqual(before);
      expect(other.body.buffer.byteLength).toBe(other.body.byteLength);
      expect(one.headers).not.toBe(other.headers);
      expect(Object.isFrozen(one.headers)).toBe(false);
    }
  });
});

const text = fc.string({ unit: "binary", maxLength: 30 });
const name = fc.oneof(
  text,
  fc.constantFrom("type", "content-type", "Content-Type", "traceparent", "tracestate", "baggage", "id", "__proto__"),
  fc.constantFrom("ce_id", "ce_specversion", "ce_time", "ce_attempt", "ce_partitionkey", "ce_", "ce___proto__"),
);
const value = fc.oneof(text, fc.uint8Array({ maxLength: 20 }), fc.constantFrom("1.0", "1", "2025-07-10T05:31:44.128Z"));
const member = fc.constantFrom(
  "id",
  "type",
  "version",
  "source",
  "time",
  "contentType",
  "key",
  "notBefore",
  "attempt",
  "tracestate",
  "headers",
  "body",
);
const envelope = fc.oneof(
  value,
  fc.json(),
  fc
    .dictionary(member, fc.oneof(text, fc.integer(), fc.double(), fc.jsonValue(), fc.constantFrom("base64", "empty")))
    .map((members) => JSON.stringify(members)),
);

const anyReceived = fc
  .record({
    attributes: fc.dictionary(name, value, { maxKeys: 10 }),
    envelope: fc.option(envelope, { nil: undefined }),
    body: fc.oneof(text, fc.base64String({ maxLength: 40 })),
    sentAt: fc.oneof(fc.double(), fc.integer({ min: 0 })),
    groupId: fc.option(text, { nil: undefined }),
  })
  .map(({ attributes, envelope, ...rest }) =>
    foreign(envelope === undefined ? attributes : { ...attributes, posthorn: envelope }, rest),
  );
