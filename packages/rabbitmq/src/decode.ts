/** From what amqplib delivers to a message. Anything may arrive, from any program: nothing here throws. */
import { createHash } from "node:crypto";
import type { Headers, Message } from "@posthorn/core/transport";
import { copyMessage, messageFromCloudEvent, messageOf, noHeaders, timeFromUuidv7 } from "@posthorn/core/transport";
import type { Message as AmqpMessage, MessageProperties } from "amqplib";
import { cloudEventsPrefix, escapedHeaderPrefix, otherCloudEventsPrefix, wireHeaders } from "./wire.ts";

export interface Decoded {
  readonly message: Message;
  readonly deliveryCount: number | undefined;
  /** What could not be understood. */
  readonly defect: string | undefined;
}

/** The header table, sorted. */
interface Table {
  id: string | undefined;
  type: string | undefined;
  source: string | undefined;
  contentType: string | undefined;
  correlationId: string | undefined;
  replyTo: string | undefined;
  time: number | undefined;
  version: number | undefined;
  attempt: number | undefined;
  key: string | undefined;
  causationId: string | undefined;
  notBefore: number | undefined;
  expiresAt: number | undefined;
  traceparent: string | undefined;
  tracestate: string | undefined;
  baggage: string | undefined;
  headers: Record<string, string> | undefined;
  cloudEvent: Record<string, string> | undefined;
  defect: string | undefined;
}

export function decodeMessage(delivered: AmqpMessage): Decoded {
  const { properties, content } = delivered;
  const raw: Readonly<Record<string, unknown>> | undefined = properties.headers;
  const table = readTable(raw);
  const contentEncoding = text(properties.contentEncoding);
  if (contentEncoding !== undefined) userHeaders(table)["content-encoding"] = contentEncoding;
  const id = table.id ?? (text(properties.messageId) || stableId(delivered));
  const native: Message = {
    id,
    type: table.type ?? text(properties.type) ?? "",
    version: table.version ?? 1,
    source: table.source ?? text(properties.appId) ?? "",
    time: table.time ?? readTime(id, properties.timestamp),
    contentType: table.contentType ?? text(properties.contentType) ?? "",
    key: table.key,
    correlationId: table.correlationId ?? text(properties.correlationId),
    causationId: table.causationId,
    replyTo: table.replyTo ?? text(properties.replyTo),
    notBefore: table.notBefore,
    expiresAt: table.expiresAt,
    attempt: table.attempt ?? 1,
    traceparent: table.traceparent,
    tracestate: table.tracestate,
    baggage: table.baggage,
    headers: table.headers ?? noHeaders,
    // Not the Buffer: its methods differ from a Uint8Array's.
    body: new Uint8Array(content.buffer, content.byteOffset, content.byteLength),
  };
  const deliveryCount = readDeliveryCount(delivered.fields.redelivered, raw);
  if (table.cloudEvent?.["specversion"] === undefined) return { message: native, deliveryCount, defect: table.defect };
  try {
    return { message: fromCloudEvent(table.cloudEvent, native), deliveryCount, defect: undefined };
  } catch (error) {
    return { message: native, deliveryCount, defect: messageOf(error) };
  }
}

function fromCloudEvent(attributes: Readonly<Record<string, string>>, native: Message): Message {
  const event = messageFromCloudEvent(attributes, native.contentType, native.headers, native.body);
  return copyMessage(event, {
    correlationId: event.correlationId ?? native.correlationId,
    replyTo: event.replyTo ?? native.replyTo,
    traceparent: event.traceparent ?? native.traceparent,
    tracestate: event.tracestate ?? native.tracestate,
    baggage: event.baggage ?? native.baggage,
  });
}

function readTable(raw: Readonly<Record<string, unknown>> | undefined): Table {
  const table: Table = {
    id: undefined,
    type: undefined,
    source: undefined,
    contentType: undefined,
    correlationId: undefined,
    replyTo: undefined,
    time: undefined,
    version: undefined,
    attempt: undefined,
    key: undefined,
    causationId: undefined,
    notBefore: undefined,
    expiresAt: undefined,
    traceparent: undefined,
    tracestate: undefined,
    baggage: undefined,
    headers: undefined,
    cloudEvent: undefined,
    defect: undefined,
  };
  if (raw === undefined) return table;
  // Own names only: a table under the name __proto__ becomes the prototype of amqplib's object.
  for (const name of Object.keys(raw)) readHeader(table, name, raw[name]);
  return table;
}

function readHeader(table: Table, name: string, value: unknown): void {
  switch (name) {
    case wireHeaders.id:
      table.id = headerText(value) || undefined;
      return;
    case wireHeaders.type:
      table.type = headerText(value);
      return;
    case wireHeaders.source:
      table.source = headerText(value);
      return;
    case wireHeaders.contentType:
      table.contentType = headerText(value);
      return;
    case wireHeaders.correlationId:
      table.correlationId = headerText(value);
      return;
    case wireHeaders.replyTo:
      table.replyTo = headerText(value);
      return;
    case wireHeaders.key:
      table.key = headerText(value);
      return;
    case wireHeaders.causationId:
      table.causationId = headerText(value);
      return;
    case wireHeaders.traceparent:
      table.traceparent = headerText(value);
      return;
    case wireHeaders.tracestate:
      table.tracestate = headerText(value);
      return;
    case wireHeaders.baggage:
      table.baggage = headerText(value);
      return;
    case wireHeaders.version:
      table.version = readWhole(table, name, value, 1, highestCount);
      return;
    case wireHeaders.attempt:
      table.attempt = readWhole(table, name, value, 1, highestCount);
      return;
    case wireHeaders.time:
      table.time = readWhole(table, name, value, -latestTime, latestTime);
      return;
    case wireHeaders.notBefore:
      table.notBefore = readWhole(table, name, value, -latestTime, latestTime);
      return;
    case wireHeaders.expiresAt:
      table.expiresAt = readWhole(table, name, value, -latestTime, latestTime);
      return;
  }
  if (addedByBroker.test(name)) return;
  if (name.startsWith(cloudEventsPrefix) || name.startsWith(otherCloudEventsPrefix)) {
    table.cloudEvent ??= Object.create(null) as Record<string, string>;
    table.cloudEvent[name.slice(cloudEventsPrefix.length)] = headerText(value);
    return;
  }
  userHeaders(table)[name.startsWith(escapedHeaderPrefix) ? name.slice(escapedHeaderPrefix.length) : name] =
    headerText(value);
}

const addedByBroker = /^x-(?:death|(?:first|last)-death-.*|delivery-count|acquired-count|received-from|stream-offset)$/;
const highestCount = 1_000_000_000;
/** The range of a Date. */
const latestTime = 8_640_000_000_000_000;

function userHeaders(table: Table): Record<string, string> {
  table.headers ??= Object.create(null) as Record<string, string>;
  return table.headers;
}

function readWhole(table: Table, name: string, value: unknown, lowest: number, highest: number): number | undefined {
  const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= lowest && number <= highest) return number;
  table.defect ??= `The header ${name} is no whole number from ${lowest} to ${highest}.`;
  return undefined;
}

/** Text as it is; bytes as UTF-8; nothing as the empty text; numbers and booleans as JavaScript writes them; tables, arrays, timestamps and decimals as JSON. */
export function headerText(value: unknown): string {
  if (typeof value === "string") return value;
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === null || value === undefined) return "";
  try {
    return JSON.stringify(value);
  } catch {
    // Nested deeper than the stack.
    return "";
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function readTime(id: string, timestamp: unknown): number {
  const seconds = typeof timestamp === "number" ? timestamp : undefined;
  const exact = timeFromUuidv7(id);
  if (exact !== undefined && (seconds === undefined || Math.floor(exact / 1000) === seconds)) return exact;
  return seconds !== undefined && seconds * 1000 <= latestTime ? seconds * 1000 : 0;
}

/** Quorum queues count deliveries; of a classic queue only the first is known. `x-acquired-count` also counts what was given back, since RabbitMQ 4.3. */
function readDeliveryCount(
  redelivered: boolean,
  headers: Readonly<Record<string, unknown>> | undefined,
): number | undefined {
  const failed = count(headers?.["x-delivery-count"]);
  const acquired = count(headers?.["x-acquired-count"]);
  if (failed === undefined && acquired === undefined) return redelivered ? undefined : 1;
  return Math.max(failed ?? 0, acquired ?? 0) + 1;
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < highestCount ? value : undefined;
}

/**
 * An id for a message that bears none: from where it was published and what it says, so that each redelivery gets the
 * same one, and the broker's dead letter of it as well. Two messages that are equal in all of this are taken for one.
 */
function stableId(delivered: AmqpMessage): string {
  const { fields, properties, content } = delivered;
  const origin = firstDeath(properties.headers) ?? { exchange: fields.exchange, routingKey: fields.routingKey };
  const { contentType, contentEncoding, correlationId, replyTo, timestamp, type, userId, appId } = properties;
  const hash = createHash("sha256");
  hash.update(
    JSON.stringify([
      origin.exchange,
      origin.routingKey,
      contentType,
      contentEncoding,
      correlationId,
      replyTo,
      timestamp,
      type,
      userId,
      appId,
    ]),
  );
  hash.update(JSON.stringify(sendersHeaders(properties.headers)));
  hash.update(content);
  return `foreign-${hash.digest("hex").slice(0, 32)}`;
}

function sendersHeaders(headers: Headers | MessageProperties["headers"]): readonly (readonly [string, string])[] {
  if (headers === undefined) return [];
  const names = Object.keys(headers).filter((name) => !addedByBroker.test(name));
  return names.sort().map((name) => [name, headerText(headers[name])]);
}

/** The oldest entry of `x-death` is the last. */
function firstDeath(
  headers: MessageProperties["headers"],
): { readonly exchange: string; readonly routingKey: string } | undefined {
  const deaths: unknown = headers?.["x-death"];
  const first: unknown = Array.isArray(deaths) ? deaths.at(-1) : undefined;
  if (typeof first !== "object" || first === null || !("exchange" in first) || !("routing-keys" in first))
    return undefined;
  const keys: unknown = first["routing-keys"];
  return { exchange: headerText(first.exchange), routingKey: headerText(Array.isArray(keys) ? keys[0] : undefined) };
}
