/**
 * The envelope as CloudEvents 1.0 attributes.
 *
 * Source: CloudEvents 1.0.2 specification; extensions "Partitioning" (`partitionkey`), "Expiry Time" (`expirytime`) and
 * "Distributed Tracing" (`traceparent`, `tracestate`). Attribute names hold only lower-case letters and digits.
 */
import { PosthornError } from "./errors.ts";
import type { Headers, Message } from "./message.ts";
import { copyHeaders } from "./message.ts";

const structuredType = /^\s*application\/cloudevents\+json\s*(?:;|$)/i;

/** Whether a body of this media type is a CloudEvent in structured JSON mode. */
export function isStructured(contentType: string): boolean {
  return structuredType.test(contentType);
}

/** Largest version or attempt number that is believed. */
const highestNumber = 1_000_000_000;

/**
 * The envelope's attributes, without a binding's prefix (`ce_`, `cloudEvents:`). `datacontenttype` and user headers are
 * not among them: bindings carry those natively.
 */
export function cloudEventAttributes(message: Message): Record<string, string> {
  const attributes: Record<string, string> = {
    specversion: "1.0",
    id: message.id,
    type: message.type,
    source: message.source,
  };
  setTime(attributes, "time", message.time);
  setTime(attributes, "notbefore", message.notBefore);
  setTime(attributes, "expirytime", message.expiresAt);
  if (message.version !== 1) attributes["messageversion"] = String(message.version);
  if (message.attempt !== 1) attributes["attempt"] = String(message.attempt);
  if (message.key !== undefined) attributes["partitionkey"] = message.key;
  if (message.correlationId !== undefined) attributes["correlationid"] = message.correlationId;
  if (message.causationId !== undefined) attributes["causationid"] = message.causationId;
  if (message.replyTo !== undefined) attributes["replyto"] = message.replyTo;
  if (message.traceparent !== undefined) attributes["traceparent"] = message.traceparent;
  if (message.tracestate !== undefined) attributes["tracestate"] = message.tracestate;
  if (message.baggage !== undefined) attributes["baggage"] = message.baggage;
  return attributes;
}

/** A foreign time may be none that a Date can hold; then the attribute is left out. */
function setTime(attributes: Record<string, string>, name: string, time: number | undefined): void {
  if (time === undefined) return;
  const date = new Date(time);
  if (!Number.isNaN(date.getTime())) attributes[name] = date.toISOString();
}

const envelopeAttributes = new Set([
  "specversion",
  "id",
  "type",
  "source",
  "time",
  "datacontenttype",
  "messageversion",
  "attempt",
  "partitionkey",
  "correlationid",
  "causationid",
  "replyto",
  "notbefore",
  "expirytime",
  "traceparent",
  "tracestate",
  "baggage",
]);

/**
 * The message that a set of attributes describes. Attributes that the envelope does not know become headers.
 *
 * @throws DECODE_FAILED naming the attribute that cannot be read
 */
export function messageFromCloudEvent(
  attributes: Readonly<Record<string, string>>,
  contentType: string,
  headers: Headers,
  body: Uint8Array,
): Message {
  const get = (name: string): string | undefined => (Object.hasOwn(attributes, name) ? attributes[name] : undefined);
  const id = get("id");
  if (id === undefined || id === "") throw new PosthornError("DECODE_FAILED", "The CloudEvent has no id.");
  return {
    id,
    type: get("type") ?? "",
    version: readCount("messageversion", get("messageversion")) ?? 1,
    source: get("source") ?? "",
    time: readTime("time", get("time")) ?? 0,
    contentType: get("datacontenttype") ?? contentType,
    key: get("partitionkey"),
    correlationId: get("correlationid"),
    causationId: get("causationid"),
    replyTo: get("replyto"),
    notBefore: readTime("notbefore", get("notbefore")),
    expiresAt: readTime("expirytime", get("expirytime")),
    attempt: readCount("attempt", get("attempt")) ?? 1,
    traceparent: get("traceparent"),
    tracestate: get("tracestate"),
    baggage: get("baggage"),
    headers: withExtensions(headers, attributes),
    body,
  };
}

/**
 * Reads a CloudEvent in structured JSON mode. The carrier's headers are kept, and its key where the event has none.
 *
 * @throws DECODE_FAILED when the body is no CloudEvent
 */
export function messageFromStructured(carrier: Message): Message {
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(carrier.body));
  } catch (cause) {
    throw new PosthornError("DECODE_FAILED", "The structured CloudEvent is not JSON.", { cause });
  }
  if (typeof event !== "object" || event === null || Array.isArray(event))
    throw new PosthornError("DECODE_FAILED", "The structured CloudEvent is not an object.");
  const attributes: Record<string, string> = {};
  let data: unknown;
  let dataBase64: unknown;
  for (const [name, value] of Object.entries(event)) {
    if (name === "data") data = value;
    else if (name === "data_base64") dataBase64 = value;
    else if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      attributes[name] = String(value);
  }
  // By which the broker keeps its order.
  if (carrier.key !== undefined) attributes["partitionkey"] ??= carrier.key;
  const contentType = attributes["datacontenttype"] ?? "application/json";
  return messageFromCloudEvent(attributes, contentType, carrier.headers, structuredBody(data, dataBase64, contentType));
}

function structuredBody(data: unknown, dataBase64: unknown, contentType: string): Uint8Array {
  if (typeof dataBase64 === "string") {
    try {
      return Uint8Array.from(atob(dataBase64), (character) => character.charCodeAt(0));
    } catch (cause) {
      throw new PosthornError("DECODE_FAILED", "The CloudEvent's data_base64 is not base64.", { cause });
    }
  }
  if (data === undefined) return new Uint8Array();
  // JSON format, section 3.1: a string under a media type that is not JSON is the payload itself.
  const verbatim = typeof data === "string" && !/^[^;]*[/+]json\b/.test(contentType);
  return new TextEncoder().encode(verbatim ? data : JSON.stringify(data));
}

function withExtensions(headers: Headers, attributes: Readonly<Record<string, string>>): Headers {
  const extensions = Object.keys(attributes).filter((name) => !envelopeAttributes.has(name));
  if (extensions.length === 0) return headers;
  const all = copyHeaders(headers);
  for (const name of extensions) all[name] = attributes[name] ?? "";
  return all;
}

function readTime(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new PosthornError("DECODE_FAILED", `The CloudEvent's ${name} is no timestamp.`);
  return time;
}

function readCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > highestNumber)
    throw new PosthornError("DECODE_FAILED", `The CloudEvent's ${name} is no whole number from 1.`);
  return count;
}
