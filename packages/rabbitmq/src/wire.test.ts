import type { Message } from "@posthorn/core/transport";
import { uuidv7 } from "@posthorn/core/transport";
import type { Message as AmqpMessage } from "amqplib";
import { describe, expect, test } from "vitest";
import { decodeMessage } from "./decode.ts";
import type { WireProperties } from "./wire.ts";
import { encodeMessage, headerProblem } from "./wire.ts";

const id = "0197f2d1-7a80-7abc-8def-0123456789ab";
const time = Number.parseInt("0197f2d17a80", 16);

const plain: Message = {
  id,
  type: "place-order",
  version: 1,
  source: "shop",
  time,
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
  time: time + 5,
  key: "order-1",
  causationId: "cause-1",
  replyTo: "inbox",
  notBefore: time + 1_000,
  expiresAt: time + 60_000,
  attempt: 4,
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "vendor=1",
  baggage: "user=7",
  headers: Object.assign(Object.create(null) as Record<string, string>, {
    tenant: "blue",
    "posthorn-dead-letter": "{}",
  }),
};

/** What the broker would deliver of it. */
function delivered(
  properties: Partial<WireProperties>,
  body: Uint8Array = plain.body,
  redelivered = false,
): AmqpMessage {
  const { mandatory: _, headers, ...rest } = properties;
  const fields = { deliveryTag: 1, redelivered, exchange: "", routingKey: "orders", consumerTag: "c" };
  return {
    fields,
    properties: { ...rest, headers: headers === undefined ? undefined : { ...headers } } as AmqpMessage["properties"],
    content: Buffer.from(body),
  };
}

function roundTrip(message: Message, cloudEvents = false): Message {
  const { message: decoded, defect } = decodeMessage(
    delivered(encodeMessage(message, true, cloudEvents), message.body),
  );
  expect(defect).toBe(undefined);
  return decoded;
}

function decodeHeaders(headers: Record<string, unknown>): ReturnType<typeof decodeMessage> {
  return decodeMessage(delivered({ messageId: id, headers: headers as Record<string, string> }));
}

describe("what goes out", () => {
  test("a plain message needs no header", () => {
    expect(encodeMessage(plain, true, false)).toEqual({
      contentType: "application/json",
      headers: undefined,
      deliveryMode: 2,
      correlationId: "flow-1",
      replyTo: undefined,
      messageId: "0197f2d1-7a80-7abc-8def-0123456789ab",
      timestamp: 1752125504,
      type: "place-order",
      appId: "shop",
      mandatory: true,
    });
  });

  test("what has no property is a header of its own, numbers as numbers", () => {
    expect({ ...encodeMessage(full, false, false).headers }).toEqual({
      "posthorn-version": 3,
      "posthorn-attempt": 4,
      "posthorn-key": "order-1",
      "posthorn-causation-id": "cause-1",
      "posthorn-time": 1752125504133,
      "posthorn-not-before": 1752125505128,
      "posthorn-expires-at": 1752125564128,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "vendor=1",
      baggage: "user=7",
      tenant: "blue",
      "posthorn-dead-letter": "{}",
    });
  });

  test("names that mean something to the broker or to the format are escaped", () => {
    const headers = {
      CC: "a",
      BCC: "b",
      "x-death": "c",
      "X-Other": "d",
      traceparent: "e",
      "posthorn-attempt": "f",
      "posthorn-h-x": "g",
      "cloudEvents:id": "h",
      "content-encoding": "i",
    };
    const names = Object.keys(encodeMessage({ ...plain, headers }, true, false).headers ?? {});
    expect(names.toSorted()).toEqual(
      Object.keys(headers)
        .map((name) => `posthorn-h-${name}`)
        .toSorted(),
    );
    expect({ ...roundTrip({ ...plain, headers }).headers }).toEqual(headers);
  });

  test("the option adds the CloudEvents attributes", () => {
    expect({ ...encodeMessage(plain, true, true).headers }).toEqual({
      "cloudEvents:specversion": "1.0",
      "cloudEvents:id": id,
      "cloudEvents:type": "place-order",
      "cloudEvents:source": "shop",
      "cloudEvents:time": "2025-07-10T05:31:44.128Z",
      "cloudEvents:correlationid": "flow-1",
    });
  });
});

describe("there and back", () => {
  test.each([
    ["a plain message", plain],
    ["a message with everything set", full],
    [
      "empty texts",
      {
        ...plain,
        correlationId: "",
        replyTo: "",
        key: "",
        headers: Object.assign(Object.create(null) as object, { "": "", empty: "" }),
      },
    ],
    [
      "texts longer than a property",
      {
        ...plain,
        id: "i".repeat(300),
        type: "t".repeat(300),
        source: "ü".repeat(130),
        contentType: "c".repeat(256),
        correlationId: "k".repeat(999),
        replyTo: "r".repeat(256),
        time: 7_000,
      },
    ],
    ["another kind of id", { ...plain, id: "order-17" }],
    ["the beginning of time", { ...plain, time: 0 }],
  ])("%s is the same afterwards", (_, message) => {
    expect(roundTrip(message)).toEqual(message);
    expect(roundTrip(message, true)).toEqual(message);
  });

  test("a header called __proto__ is a header", () => {
    const headers = Object.create(null) as Record<string, string>;
    headers["__proto__"] = "text";
    const decoded = roundTrip({ ...plain, headers });
    expect(Object.keys(decoded.headers)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(decoded.headers)).toBe(null);
  });

  test("the body is a plain Uint8Array", () => {
    expect(Buffer.isBuffer(roundTrip(plain).body)).toBe(false);
  });
});

describe("what comes in from anywhere", () => {
  test("header values become text by one rule", () => {
    const { message } = decodeHeaders({
      text: "a",
      bytes: Buffer.from("ü"),
      nothing: null,
      integer: 7,
      float: 1.5,
      yes: true,
      when: { "!": "timestamp", value: 1 },
      table: { a: [1, "b"] },
    });
    expect({ ...message.headers }).toEqual({
      text: "a",
      bytes: "ü",
      nothing: "",
      integer: "7",
      float: "1.5",
      yes: "true",
      when: `{"!":"timestamp","value":1}`,
      table: `{"a":[1,"b"]}`,
    });
  });

  test("what the broker adds is no header of the user", () => {
    const { message } = decodeHeaders({
      "x-death": [],
      "x-delivery-count": 2,
      "x-acquired-count": 3,
      "x-first-death-queue": "q",
      "x-last-death-reason": "r",
      "x-mine": "kept",
    });
    expect({ ...message.headers }).toEqual({ "x-mine": "kept" });
  });

  test.each([
    ["posthorn-version", 0],
    ["posthorn-attempt", "many"],
    ["posthorn-attempt", 1.5],
    ["posthorn-not-before", { "!": "timestamp", value: 1 }],
    ["posthorn-expires-at", Number.MAX_VALUE],
    ["posthorn-time", Buffer.from("7")],
  ])("%s: %j is a defect, and the rest is read", (name, value) => {
    const { message, defect } = decodeHeaders({ [name]: value, "posthorn-key": "k" });
    expect(defect).toContain(name);
    expect(message).toMatchObject({ id, key: "k", version: 1, attempt: 1, body: plain.body });
  });

  test("numbers may come as text, as through AMQP 1.0", () => {
    expect(decodeHeaders({ "posthorn-attempt": "3" }).message.attempt).toBe(3);
  });

  test("a timestamp beyond every date is no time", () => {
    expect(decodeMessage(delivered({ messageId: "x", timestamp: Number.MAX_SAFE_INTEGER })).message.time).toBe(0);
  });

  test("the exact time is read from the id only where the timestamp agrees", () => {
    expect(decodeMessage(delivered({ messageId: id, timestamp: 1752125504 })).message.time).toBe(time);
    expect(decodeMessage(delivered({ messageId: id, timestamp: 1_000 })).message.time).toBe(1_000_000);
  });

  test("without an id it gets one that stays the same on every redelivery and in the broker's dead letter", () => {
    const first = decodeMessage(delivered({ type: "a", headers: { tenant: "blue" } })).message.id;
    const again = decodeMessage(
      delivered({ type: "a", headers: { "x-delivery-count": 3, tenant: "blue" } }, plain.body, true),
    ).message.id;
    const dead = delivered({ type: "a", headers: { tenant: "blue" } });
    dead.fields.routingKey = "orders.dlq";
    dead.properties.headers = {
      tenant: "blue",
      "x-death": [{ exchange: "", "routing-keys": ["orders"] }] as unknown as [],
    };
    expect(first).toMatch(/^foreign-[0-9a-f]{32}$/);
    expect(again).toBe(first);
    expect(decodeMessage(dead).message.id).toBe(first);
    expect(decodeMessage(delivered({ type: "b", headers: { tenant: "blue" } })).message.id).not.toBe(first);
    expect(decodeMessage(delivered({ type: "a", headers: { tenant: "blue" } }, Uint8Array.of(1))).message.id).not.toBe(
      first,
    );
  });

  test.each(["cloudEvents:", "cloudEvents_"])("a CloudEvent in binary mode with %s is a message", (prefix) => {
    const headers = {
      [`${prefix}specversion`]: "1.0",
      [`${prefix}id`]: "e-1",
      [`${prefix}type`]: "made",
      [`${prefix}source`]: "/other",
      [`${prefix}shade`]: "dark",
      mine: "1",
    };
    const { message, defect } = decodeMessage(delivered({ contentType: "text/plain", correlationId: "c", headers }));
    expect(defect).toBe(undefined);
    expect(message).toMatchObject({
      id: "e-1",
      type: "made",
      source: "/other",
      contentType: "text/plain",
      correlationId: "c",
      headers: { shade: "dark", mine: "1" },
    });
  });

  test("a CloudEvent without an id is a defect, and has a stable id all the same", () => {
    const { message, defect } = decodeMessage(delivered({ headers: { "cloudEvents:specversion": "1.0" } }));
    expect(defect).toContain("id");
    expect(message.id).toMatch(/^foreign-/);
  });

  test("deliveries are counted where the broker counts them", () => {
    expect(decodeMessage(delivered({})).deliveryCount).toBe(1);
    expect(decodeMessage(delivered({}, plain.body, true)).deliveryCount).toBe(undefined);
    expect(decodeMessage(delivered({ headers: { "x-delivery-count": 2 } }, plain.body, true)).deliveryCount).toBe(3);
    expect(
      decodeMessage(delivered({ headers: { "x-delivery-count": 1, "x-acquired-count": 4 } }, plain.body, true))
        .deliveryCount,
    ).toBe(5);
  });
});

describe("headers that cannot be sent", () => {
  const problem = (headers: Record<string, string>, frameMaxBytes = 131_072): string | undefined =>
    headerProblem(encodeMessage({ ...plain, headers }, true, false), frameMaxBytes);

  test("a table larger than amqplib's buffer, or than a frame", () => {
    expect(problem({ a: "x".repeat(65_000) })).toBe(undefined);
    expect(problem({ a: "x".repeat(65_600) })).toBe("MESSAGE_TOO_LARGE");
    expect(problem({ a: "x".repeat(8_100) }, 8_192)).toBe("MESSAGE_TOO_LARGE");
  });

  test("a name longer than 255 bytes", () => {
    expect(problem({ ["ü".repeat(127)]: "" })).toBe(undefined);
    expect(problem({ ["ü".repeat(128)]: "" })).toBe("INVALID_HEADER");
  });
});

test("a new id holds its time, so that the common case has no header for it", () => {
  const now = 1_800_000_000_123;
  expect(encodeMessage({ ...plain, id: uuidv7(now), time: now }, true, false).headers).toBe(undefined);
});
