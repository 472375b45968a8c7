import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffDelay } from "./backoff.ts";
import { cloudEventAttributes, messageFromCloudEvent, messageFromStructured } from "./cloudevents.ts";
import { fromDeadLetter, toDeadLetter } from "./dead-letter.ts";
import { aMessage } from "./fake-transport.fixture.ts";
import { timeFromUuidv7, uuidv7 } from "./id.ts";
import type { Message } from "./message.ts";
import { copyMessage } from "./message.ts";

const text = fc.string({ minLength: 1, maxLength: 40 });
const time = fc.integer({ min: 0, max: 4_102_444_800_000 });
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

const anyMessage: fc.Arbitrary<Message> = fc.record({
  id: text,
  type: text,
  version: fc.integer({ min: 1, max: 1_000 }),
  source: text,
  time,
  contentType: fc.constant("application/json"),
  key: optional(text),
  correlationId: optional(text),
  causationId: optional(text),
  replyTo: optional(text),
  notBefore: optional(time),
  expiresAt: optional(time),
  attempt: fc.integer({ min: 1, max: 1_000 }),
  traceparent: optional(text),
  tracestate: optional(text),
  baggage: optional(text),
  headers: fc.dictionary(fc.constantFrom("a", "b"), text),
  body: fc.uint8Array(),
});

describe("CloudEvents", () => {
  test("every envelope survives the round trip", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(
          messageFromCloudEvent(cloudEventAttributes(message), message.contentType, message.headers, message.body),
        ).toEqual(message);
      }),
    );
  });

  test("attribute names hold only lower-case letters and digits, at most 20", () => {
    const message = aMessage({
      key: "k",
      causationId: "c",
      replyTo: "r",
      notBefore: 1,
      expiresAt: 1,
      attempt: 2,
      version: 2,
    });
    for (const name of Object.keys(cloudEventAttributes(message))) expect(name).toMatch(/^[a-z0-9]{1,20}$/);
  });

  const structured = (event: unknown): Message =>
    messageFromStructured(
      aMessage({
        contentType: "application/cloudevents+json",
        headers: { carrier: "kept" },
        body: new TextEncoder().encode(JSON.stringify(event)),
      }),
    );

  test("a structured event becomes a message, its extensions headers", () => {
    const message = structured({
      specversion: "1.0",
      id: "7",
      type: "order-placed",
      source: "/shop",
      time: "2026-01-01T00:00:00.123Z",
      subject: "s",
      data: { sku: "a" },
    });
    expect(message).toMatchObject({
      id: "7",
      type: "order-placed",
      source: "/shop",
      time: Date.UTC(2026, 0, 1, 0, 0, 0, 123),
      contentType: "application/json",
    });
    expect({ ...message.headers }).toEqual({ carrier: "kept", subject: "s" });
    expect(new TextDecoder().decode(message.body)).toBe('{"sku":"a"}');
  });

  test("a structured event without a key has its carrier's", () => {
    const keyOf = (event: object): string | undefined =>
      messageFromStructured(aMessage({ key: "carrier", body: new TextEncoder().encode(JSON.stringify(event)) })).key;
    expect(keyOf({ id: "1" })).toBe("carrier");
    expect(keyOf({ id: "1", partitionkey: "event" })).toBe("event");
  });

  test("a structured event can carry bytes or text", () => {
    expect(
      structured({ id: "1", type: "t", source: "s", datacontenttype: "image/png", data_base64: "AP+A" }).body,
    ).toEqual(new Uint8Array([0, 255, 128]));
    expect(
      new TextDecoder().decode(
        structured({ id: "1", type: "t", source: "s", datacontenttype: "text/plain", data: "hello" }).body,
      ),
    ).toBe("hello");
  });

  test.each([
    [[]],
    ["text"],
    [{}],
    [{ id: "" }],
    [{ id: "1", time: "yesterday" }],
    [{ id: "1", attempt: "-1" }],
    [{ id: "1", data_base64: "*" }],
  ])("%j is a decode failure", (event) => {
    expect(() => structured(event)).toThrow(expect.objectContaining({ code: "DECODE_FAILED" }));
  });
});

describe("dead letters", () => {
  const death = {
    reason: "ATTEMPTS_EXHAUSTED",
    error: new RangeError("x".repeat(2_000)),
    attempts: 5,
    firstFailedAt: 1_000,
    lastFailedAt: 2_000,
    channel: "orders",
    group: "billing",
    service: "billing",
    serviceVersion: "1.2.3",
  } as const;

  test("keep the message as it was and say why", () => {
    const message = aMessage({ headers: { a: "1" } });
    const dead = fromDeadLetter(toDeadLetter(message, death), { channel: "?", group: "?" });
    expect({ ...dead.message, headers: { ...dead.message.headers } }).toEqual(message);
    expect(dead).toMatchObject({
      reason: "ATTEMPTS_EXHAUSTED",
      errorName: "RangeError",
      attempts: 5,
      channel: "orders",
      group: "billing",
      serviceVersion: "1.2.3",
      redriveCount: 0,
    });
    expect(dead.firstFailedAt).toEqual(new Date(1_000));
    expect(dead.errorMessage).toHaveLength(1_000);
  });

  test("one that the broker put there is a delivery limit's", () => {
    expect(fromDeadLetter(aMessage(), { channel: "orders", group: "orders" })).toMatchObject({
      reason: "DELIVERY_LIMIT",
      channel: "orders",
      attempts: 0,
    });
  });

  test.each(["", "null", "[]", '{"reason":7,"attempts":"many"}', "{"])(
    "a broken record %j does not hide the message",
    (record) => {
      const message = copyMessage(aMessage(), { headers: { "posthorn-dead-letter": record } });
      expect(fromDeadLetter(message, { channel: "orders", group: "orders" }).message.id).toBe("message-1");
    },
  );
});

describe("ids", () => {
  test("are UUIDs of version 7 that tell their time, sort by it and do not repeat", () => {
    const now = Date.UTC(2026, 10, 22);
    const ids = Array.from({ length: 10_000 }, (_, index) => uuidv7(now + index));
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(ids.map((id) => timeFromUuidv7(id))).toEqual(ids.map((_, index) => now + index));
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("other ids tell no time", () => {
    expect(timeFromUuidv7("6f1c1b9e-8a5b-4c3d-9e2f-1a2b3c4d5e6f")).toBeUndefined();
  });
});

test("a backoff grows by its factor up to its maximum, and chance only shortens it", () => {
  const backoff = { initialMs: 100, maxMs: 1_000, factor: 3, jitter: 0.5 };
  expect([1, 2, 3, 4, 50].map((failure) => backoffDelay(backoff, failure, 0))).toEqual([100, 300, 900, 1_000, 1_000]);
  expect(backoffDelay(backoff, 1, 0.999_999)).toBe(50);
});
