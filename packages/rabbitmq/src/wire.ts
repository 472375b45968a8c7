/**
 * The wire format: AMQP 0-9-1 properties first, headers only for what is set and has no property.
 *
 * | envelope | property | header, where the property is missing or too small |
 * |---|---|---|
 * | id, type, source | `message-id`, `type`, `app-id` | `posthorn-id`, `posthorn-type`, `posthorn-source` |
 * | contentType | `content-type` | `posthorn-content-type` |
 * | correlationId, replyTo | `correlation-id`, `reply-to` | `posthorn-correlation-id`, `posthorn-reply-to` |
 * | time | `timestamp`, whole seconds | `posthorn-time`, milliseconds, unless a UUIDv7 id holds the same time |
 * | version, attempt | | `posthorn-version`, `posthorn-attempt`, unless 1 |
 * | key, causationId | | `posthorn-key`, `posthorn-causation-id` |
 * | notBefore, expiresAt | | `posthorn-not-before`, `posthorn-expires-at`, milliseconds |
 * | traceparent, tracestate, baggage | | the same names |
 * | headers | | the same names, or behind `posthorn-h-` where the broker or this table gives the name a meaning |
 *
 * Times and counts are integers, everything else is text. `delivery-mode` is 2. Nothing else is set.
 */
import type { Message } from "@posthorn/core/transport";
import { cloudEventAttributes, timeFromUuidv7 } from "@posthorn/core/transport";

/** What travels in a header of its own. */
export const wireHeaders = {
  id: "posthorn-id",
  type: "posthorn-type",
  source: "posthorn-source",
  contentType: "posthorn-content-type",
  correlationId: "posthorn-correlation-id",
  replyTo: "posthorn-reply-to",
  time: "posthorn-time",
  version: "posthorn-version",
  attempt: "posthorn-attempt",
  key: "posthorn-key",
  causationId: "posthorn-causation-id",
  notBefore: "posthorn-not-before",
  expiresAt: "posthorn-expires-at",
  traceparent: "traceparent",
  tracestate: "tracestate",
  baggage: "baggage",
} as const;

/** Stands before a user's header whose own name would mean something else to the broker or to us. */
export const escapedHeaderPrefix = "posthorn-h-";

/** What we write before the attributes of a CloudEvent: the AMQP binding's prefix, and the one allowed beside it when reading. */
export const cloudEventsPrefix = "cloudEvents:";
export const otherCloudEventsPrefix = "cloudEvents_";

/** What is given to amqplib, in this shape always. */
export interface WireProperties {
  readonly contentType: string | undefined;
  readonly headers: Readonly<Record<string, string | number>> | undefined;
  readonly deliveryMode: 2;
  readonly correlationId: string | undefined;
  readonly replyTo: string | undefined;
  readonly messageId: string | undefined;
  readonly timestamp: number | undefined;
  readonly type: string | undefined;
  readonly appId: string | undefined;
  readonly mandatory: boolean;
}

export function encodeMessage(message: Message, mandatory: boolean, cloudEvents: boolean): WireProperties {
  return {
    contentType: property(message.contentType),
    headers: encodeHeaders(message, cloudEvents),
    deliveryMode: 2,
    correlationId: property(message.correlationId),
    replyTo: property(message.replyTo),
    messageId: property(message.id),
    timestamp: message.time >= 0 ? Math.floor(message.time / 1000) : undefined,
    type: property(message.type),
    appId: property(message.source),
    mandatory,
  };
}

/** Properties are AMQP short strings: 255 bytes. */
const longestPropertyBytes = 255;
/** So many UTF-16 units are never more bytes than that. */
const surelyFits = 85;

function fits(text: string): boolean {
  return text.length <= surelyFits || Buffer.byteLength(text) <= longestPropertyBytes;
}

function property(text: string | undefined): string | undefined {
  return text === undefined || text === "" || !fits(text) ? undefined : text;
}

function encodeHeaders(message: Message, cloudEvents: boolean): Record<string, string | number> | undefined {
  let table: Record<string, string | number> | undefined;
  const set = (name: string, value: string | number): void => {
    table ??= Object.create(null) as Record<string, string | number>;
    table[name] = value;
  };
  if (message.version !== 1) set(wireHeaders.version, message.version);
  if (message.attempt !== 1) set(wireHeaders.attempt, message.attempt);
  if (message.key !== undefined) set(wireHeaders.key, message.key);
  if (message.causationId !== undefined) set(wireHeaders.causationId, message.causationId);
  if (timeFromUuidv7(message.id) !== message.time) set(wireHeaders.time, message.time);
  if (message.notBefore !== undefined) set(wireHeaders.notBefore, message.notBefore);
  if (message.expiresAt !== undefined) set(wireHeaders.expiresAt, message.expiresAt);
  if (message.traceparent !== undefined) set(wireHeaders.traceparent, message.traceparent);
  if (message.tracestate !== undefined) set(wireHeaders.tracestate, message.tracestate);
  if (message.baggage !== undefined) set(wireHeaders.baggage, message.baggage);
  if (!fits(message.id)) set(wireHeaders.id, message.id);
  if (!fits(message.type)) set(wireHeaders.type, message.type);
  if (!fits(message.source)) set(wireHeaders.source, message.source);
  if (!fits(message.contentType)) set(wireHeaders.contentType, message.contentType);
  // Set and empty is not the same as not set.
  if (message.correlationId === "" || !fits(message.correlationId ?? ""))
    set(wireHeaders.correlationId, message.correlationId ?? "");
  if (message.replyTo === "" || !fits(message.replyTo ?? "")) set(wireHeaders.replyTo, message.replyTo ?? "");
  for (const name in message.headers) {
    if (Object.hasOwn(message.headers, name))
      set(isTaken(name) ? escapedHeaderPrefix + name : name, message.headers[name] ?? "");
  }
  if (cloudEvents) {
    const attributes = cloudEventAttributes(message);
    for (const name in attributes) set(cloudEventsPrefix + name, attributes[name] ?? "");
  }
  return table;
}

const ownNames: ReadonlySet<string> = new Set(Object.values(wireHeaders));
/** Routes copies to further queues. `__proto__` does not survive amqplib's decoder; `content-encoding` is written by ours. */
const brokerNames: ReadonlySet<string> = new Set(["CC", "BCC", "__proto__", "content-encoding"]);

function isTaken(name: string): boolean {
  return (
    ownNames.has(name) ||
    brokerNames.has(name) ||
    /^x-/i.test(name) ||
    name.startsWith(escapedHeaderPrefix) ||
    name.startsWith(cloudEventsPrefix) ||
    name.startsWith(otherCloudEventsPrefix)
  );
}

/** amqplib encodes the table into a buffer of this size, and throws where it is too small. */
const headerTableBytes = 65_536;
const longestHeaderNameBytes = 255;
/** Flags and fixed-size properties, frame and all. */
const fixedPropertyBytes = 64;

/** Why the headers cannot be sent; `undefined` when they can. Called before the message is given to amqplib. */
export function headerProblem(
  properties: WireProperties,
  frameMaxBytes: number,
): "MESSAGE_TOO_LARGE" | "INVALID_HEADER" | undefined {
  const { headers } = properties;
  if (headers === undefined) return undefined;
  let bytes = 4;
  for (const name in headers) {
    const nameBytes = Buffer.byteLength(name);
    if (nameBytes > longestHeaderNameBytes) return "INVALID_HEADER";
    const value = headers[name];
    // Name, its length and a type tag; then a length and the text, or at most eight bytes of a number.
    bytes += nameBytes + 2 + (typeof value === "string" ? 4 + Buffer.byteLength(value) : 8);
  }
  if (bytes > headerTableBytes) return "MESSAGE_TOO_LARGE";
  // A frame that is too large closes the whole connection.
  return bytes + shortStringBytes(properties) + fixedPropertyBytes > frameMaxBytes ? "MESSAGE_TOO_LARGE" : undefined;
}

function shortStringBytes(properties: WireProperties): number {
  const { contentType, correlationId, replyTo, messageId, type, appId } = properties;
  let bytes = 0;
  for (const text of [contentType, correlationId, replyTo, messageId, type, appId])
    bytes += 1 + Buffer.byteLength(text ?? "");
  return bytes;
}
