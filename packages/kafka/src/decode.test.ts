import { describe, expect, test } from "vitest";
import { decodeRecord } from "./decode.ts";
import { appendedAt, foreign } from "./records.fixture.ts";

const notUtf8 = Uint8Array.of(0x61, 0xff, 0xfe);
const event = { ce_specversion: "1.0", ce_id: "e-1", ce_type: "made", ce_source: "/other" };
const body = new TextEncoder().encode("body");

describe("a CloudEvent of another program", () => {
  test("is a message, and attributes that the envelope does not know are headers", () => {
    const time = "2025-07-10T07:31:44.128+02:00";
    const headers = { ...event, ce_time: time, ce_shade: "dark", "Content-Type": "text/plain", mine: "1" };
    const { message, defect } = decodeRecord(foreign(headers));
    expect(defect).toBe(undefined);
    expect(message).toMatchObject({ id: "e-1", type: "made", source: "/other", version: 1, attempt: 1, body });
    expect(message).toMatchObject({ time: 1_752_125_504_128, contentType: "text/plain", key: undefined });
    expect({ ...message.headers }).toEqual({ shade: "dark", mine: "1" });
  });

  test("is one with an id alone", () => {
    expect(decodeRecord(foreign({ ce_id: "e-1" }))).toMatchObject({ defect: undefined, message: { id: "e-1" } });
  });

  test("has the record's time where it bears none", () => {
    expect(decodeRecord(foreign(event)).message.time).toBe(appendedAt);
    expect(decodeRecord(foreign(event, { timestamp: -1 })).message.time).toBe(0);
    expect(decodeRecord(foreign(event, { timestamp: 9e18 })).message.time).toBe(0);
  });

  test("has the record's key where it bears none", () => {
    const key = Buffer.from("customer 7");
    expect(decodeRecord(foreign(event, { key })).message.key).toBe("customer 7");
    expect(decodeRecord(foreign({ ...event, ce_partitionkey: "own" }, { key })).message.key).toBe("own");
    expect(decodeRecord(foreign({ ...event, ce_partitionkey: "" }, { key })).message.key).toBe("");
  });

  test("may bring its trace context as a plain header", () => {
    const headers = { ...event, traceparent: "plain", tracestate: "plain state", baggage: "plain baggage" };
    expect(decodeRecord(foreign(headers)).message).toMatchObject({
      traceparent: "plain",
      tracestate: "plain state",
      baggage: "plain baggage",
      headers: {},
    });
    expect(decodeRecord(foreign({ ...headers, ce_traceparent: "own", ce_baggage: "own" })).message).toMatchObject({
      traceparent: "own",
      tracestate: undefined,
      baggage: "own",
    });
  });

  test.each([
    ["a wrong specversion", { ce_specversion: "0.3" }, "specversion"],
    ["an empty specversion", { ce_specversion: "" }, "specversion"],
    ["a time that is none", { ce_time: "yesterday" }, "time"],
    ["an expiry time that is none", { ce_expirytime: "" }, "expirytime"],
    ["a version that is no number", { ce_messageversion: "new" }, "messageversion"],
    ["an attempt below 1", { ce_attempt: "0" }, "attempt"],
    ["an attempt beyond belief", { ce_attempt: "1e12" }, "attempt"],
    ["an attribute that is not UTF-8", { ce_subject: notUtf8 }, "ce_subject"],
    ["a content type that is not UTF-8", { "content-type": notUtf8 }, "content-type"],
    ["two content types", { "content-type": "a/b", "Content-Type": "c/d" }, "Content-Type"],
    ["a content type that contradicts itself", { "content-type": "a/b", ce_datacontenttype: "c/d" }, "content-type"],
    ["a number that is none", { "posthorn-not-before": "soon" }, "posthorn-not-before"],
    ["a number in another way of writing", { "posthorn-time": "0x10" }, "posthorn-time"],
  ])("%s is a defect, and the rest is read", (_, headers, named) => {
    const given = { ...event, ce_partitionkey: "k", ce_notbefore: "2025-07-10T05:31:44.128Z", mine: "1", ...headers };
    const { message, defect } = decodeRecord(foreign(given));
    expect(defect).toContain(named);
    expect(message).toMatchObject({
      id: "e-1",
      type: "made",
      source: "/other",
      key: "k",
      version: 1,
      attempt: 1,
      time: appendedAt,
      notBefore: 1_752_125_504_128,
      expiresAt: undefined,
      headers: { mine: "1" },
      body,
    });
  });

  test.each([
    ["no id", {}],
    ["an empty id", { ce_id: "" }],
    ["an id that is not UTF-8", { ce_id: notUtf8 }],
    ["an id without a value", { ce_id: null }],
  ])("%s is a defect, and it has one all the same, the same at every delivery", (_, id) => {
    const record = foreign({ ce_specversion: "1.0", ce_type: "made", ...id });
    expect(decodeRecord(record).defect).toMatch(/id/);
    expect(decodeRecord(record).message).toMatchObject({ id: "kafka:orders:3:42", type: "made" });
    expect(decodeRecord(record)).toEqual(decodeRecord(record));
  });

  test("an attribute that says two things is a defect, one that says the same twice is not", () => {
    const twice = (value: string): ReturnType<typeof decodeRecord> =>
      decodeRecord(
        foreign(event, {
          headers: [
            ["ce_id", Buffer.from("e-1")],
            ["ce_id", Buffer.from(value)],
          ],
        }),
      );
    expect(twice("e-2")).toMatchObject({ message: { id: "e-1" }, defect: expect.stringContaining("ce_id") as string });
    expect(twice("e-1")).toMatchObject({ message: { id: "e-1" }, defect: undefined });
  });
});

describe("a record that is no CloudEvent", () => {
  test("is a message with what it has", () => {
    const { message, defect } = decodeRecord(foreign({ id: "f-1", type: "made", mine: "1", "content-type": "a/b" }));
    expect(defect).toBe(undefined);
    expect({ ...message, headers: { ...message.headers } }).toEqual({
      id: "f-1",
      type: "made",
      version: 1,
      source: "",
      time: appendedAt,
      contentType: "a/b",
      key: undefined,
      correlationId: undefined,
      causationId: undefined,
      replyTo: undefined,
      notBefore: undefined,
      expiresAt: undefined,
      attempt: 1,
      traceparent: undefined,
      tracestate: undefined,
      baggage: undefined,
      headers: { id: "f-1", type: "made", mine: "1" },
      body,
    });
  });

  test("without an id gets one of where it stands", () => {
    expect(decodeRecord(foreign({})).message).toMatchObject({ id: "kafka:orders:3:42", type: "" });
    expect(decodeRecord(foreign({ id: "" })).message.id).toBe("kafka:orders:3:42");
    expect(decodeRecord(foreign({}, { offset: 2n ** 63n - 1n })).message.id).toBe("kafka:orders:3:9223372036854775807");
  });

  test("has the record's key, in base64 where that is no text", () => {
    expect(decodeRecord(foreign({}, { key: Buffer.from("ü") })).message.key).toBe("ü");
    expect(decodeRecord(foreign({}, { key: Buffer.alloc(0) })).message.key).toBe("");
    expect(decodeRecord(foreign({}, { key: notUtf8 })).message.key).toBe(Buffer.from(notUtf8).toString("base64"));
    expect(decodeRecord(foreign({ ce_partitionkey: "own" }, { key: Buffer.from("ü") })).message.key).toBe("own");
  });

  test("keeps attributes that make no event", () => {
    expect({ ...decodeRecord(foreign({ ce_type: "made", ce_shade: "dark" })).message.headers }).toEqual({
      ce_type: "made",
      ce_shade: "dark",
    });
  });

  test("a structured CloudEvent is left to who reads it", () => {
    const contentType = "application/cloudevents+json; charset=utf-8";
    expect(decodeRecord(foreign({ "content-type": contentType }))).toMatchObject({
      message: { contentType, body },
      defect: undefined,
    });
  });

  test("a tombstone is an empty body, and says so", () => {
    for (const headers of [{}, event]) {
      const { message, defect } = decodeRecord(foreign(headers, { value: null }));
      expect(defect).toBe(undefined);
      expect(message.body).toEqual(new Uint8Array());
      expect(message.headers["kafka-tombstone"]).toBe("true");
    }
    expect(decodeRecord(foreign({}, { value: new Uint8Array() })).message.headers).not.toHaveProperty(
      "kafka-tombstone",
    );
  });

  test("of a header that repeats the last one counts", () => {
    const headers = ["a", "b"].map((value) => ["h", Buffer.from(value)] as const);
    expect(decodeRecord(foreign({}, { headers }))).toMatchObject({
      message: { headers: { h: "b" } },
      defect: undefined,
    });
  });

  test("a header that is no text is base64, one without a value is empty", () => {
    expect({ ...decodeRecord(foreign({ binary: notUtf8, none: null })).message.headers }).toEqual({
      binary: Buffer.from(notUtf8).toString("base64"),
      none: "",
    });
  });

  test("a timestamp that is none is the beginning of time", () => {
    for (const timestamp of [-1, Number.NaN, 9e18, 0.5])
      expect(decodeRecord(foreign({}, { timestamp })).message.time).toBe(0);
  });
});

describe("hostile records", () => {
  test("names that mean something to JavaScript are names", () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    for (const prefix of ["", "ce_", "posthorn-h-"]) {
      const headers = [...names.map((name) => [prefix + name, Buffer.from("x")] as const), ["ce_id", Buffer.from("1")]];
      const { message, defect } = decodeRecord(foreign({}, { headers: headers as [string, Buffer][] }));
      expect(defect).toBe(undefined);
      expect(Object.getPrototypeOf(message.headers)).toBe(null);
      expect(Object.keys(message.headers).toSorted()).toEqual(names.toSorted());
    }
    expect(({} as Record<string, unknown>)["x"]).toBe(undefined);
  });

  test("ten thousand headers are read in no time, attributes that cannot be read as well", () => {
    const many = (prefix: string): [string, Buffer][] =>
      Array.from({ length: 10_000 }, (_, index) => [`${prefix}${index}`, Buffer.from("v")]);
    const bad: [string, Buffer][] = [
      ["ce_id", Buffer.from("1")],
      ["ce_time", Buffer.from("never")],
    ];
    const began = performance.now();
    expect(Object.keys(decodeRecord(foreign({}, { headers: many("h") })).message.headers)).toHaveLength(10_000);
    const { message, defect } = decodeRecord(foreign({}, { headers: [...many("ce_x"), ...bad] }));
    expect(defect).toContain("time");
    expect(Object.keys(message.headers)).toHaveLength(10_000);
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  test("a name without end is told in part", () => {
    const { defect } = decodeRecord(foreign({ [`ce_${"x".repeat(100_000)}`]: notUtf8 }));
    expect(defect?.length).toBeLessThan(200);
  });

  test("random bytes are a message", () => {
    let state = 7;
    const random = (limit: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % limit;
    };
    const bytes = (): Buffer => Buffer.from(Array.from({ length: random(12) }, () => random(256)));
    const names = ["ce_id", "ce_specversion", "ce_time", "ce_attempt", "content-type", "posthorn-time", "id", "", "x"];
    for (let round = 0; round < 5_000; round++) {
      const headers = Array.from(
        { length: random(8) },
        () => [names[random(names.length)] ?? "", random(3) === 0 ? bytes() : Buffer.from("1.0")] as const,
      );
      const key = random(2) === 0 ? bytes() : null;
      const value = random(4) === 0 ? null : bytes();
      const { message } = decodeRecord(foreign({}, { headers, key, value }));
      expect(message.id).not.toBe("");
      expect(message.body).toEqual(new Uint8Array(value ?? []));
    }
  });
});

describe("what belongs to a delivery alone", () => {
  test("the body is a copy, and a plain Uint8Array", () => {
    const fetchedTogether = Buffer.from("a body and its neighbour");
    const record = foreign(event, { value: fetchedTogether.subarray(2, 6) });
    const { body: first } = decodeRecord(record).message;
    const { body: second } = decodeRecord(record).message;
    first.fill(0);
    expect(Buffer.isBuffer(second)).toBe(false);
    expect(second).toEqual(new TextEncoder().encode("body"));
    expect(second.buffer.byteLength).toBe(4);
    expect(fetchedTogether.toString()).toBe("a body and its neighbour");
  });

  test("the headers are its own", () => {
    for (const headers of [{}, event]) {
      const record = foreign(headers);
      expect(decodeRecord(record).message.headers).not.toBe(decodeRecord(record).message.headers);
      expect(Object.isFrozen(decodeRecord(record).message.headers)).toBe(false);
    }
  });
});
