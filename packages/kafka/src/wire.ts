/**
 * The wire format: a record is a CloudEvent in binary mode.
 *
 * Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2.
 *
 * | envelope | record |
 * |---|---|
 * | | header `ce_specversion`, always `1.0` |
 * | id, type, source | headers `ce_id`, `ce_type`, `ce_source` |
 * | version, attempt | `ce_messageversion`, `ce_attempt`, unless 1 |
 * | time, notBefore, expiresAt | `ce_time`, `ce_notbefore`, `ce_expirytime`: RFC 3339, UTC, milliseconds |
 * | a time that is no whole millisecond of a Date | `posthorn-time`, `posthorn-not-before`, `posthorn-expires-at`: the number as JavaScript writes it |
 * | key | `ce_partitionkey`, and the record's key |
 * | correlationId, causationId, replyTo | `ce_correlationid`, `ce_causationid`, `ce_replyto` |
 * | traceparent, tracestate, baggage | `ce_traceparent`, `ce_tracestate`, `ce_baggage` |
 * | contentType | `content-type`, unless empty |
 * | headers | the same names, or behind `posthorn-h-` where this table gives the name a meaning |
 * | body | the record's value; never null |
 *
 * Keys and header values are UTF-8. Set and empty is not the same as not set: an empty key is an empty record key, and an
 * empty text an empty header. Only an empty id cannot travel: it is no CloudEvent.
 */
import type { Message } from "@posthorn/core/transport";
import { cloudEventAttributes } from "@posthorn/core/transport";
import type { OutgoingRecord } from "./records.ts";

/** Stands before the name of a CloudEvents attribute. */
export const attributePrefix = "ce_";

/** Stands before a user's header whose own name would mean something else. */
export const escapedHeaderPrefix = "posthorn-h-";

const contentTypeHeader = "content-type";

/** What else has a meaning, beside the attributes. The trace context we only read so: OpenTelemetry writes it. */
export const wireHeaders = {
  time: "posthorn-time",
  notBefore: "posthorn-not-before",
  expiresAt: "posthorn-expires-at",
  traceparent: "traceparent",
  tracestate: "tracestate",
  baggage: "baggage",
} as const;

export function encodeRecord(message: Message): OutgoingRecord {
  return {
    key: message.key === undefined ? null : Buffer.from(message.key),
    value: message.body,
    headers: encodeHeaders(message),
  };
}

function encodeHeaders(message: Message): [string, string][] {
  const headers: [string, string][] = [];
  const attributes = cloudEventAttributes(message);
  for (const name in attributes) headers.push([attributePrefix + name, attributes[name] ?? ""]);
  if (!isDateTime(message.time)) headers.push([wireHeaders.time, String(message.time)]);
  if (message.notBefore !== undefined && !isDateTime(message.notBefore))
    headers.push([wireHeaders.notBefore, String(message.notBefore)]);
  if (message.expiresAt !== undefined && !isDateTime(message.expiresAt))
    headers.push([wireHeaders.expiresAt, String(message.expiresAt)]);
  if (message.contentType !== "") headers.push([contentTypeHeader, message.contentType]);
  for (const name of Object.keys(message.headers))
    headers.push([isTaken(name) ? escapedHeaderPrefix + name : name, message.headers[name] ?? ""]);
  return headers;
}

/** The range of a Date. */
const latestTime = 8_640_000_000_000_000;

/** Whether a Date, and so the attribute, holds the time exactly. */
export function isDateTime(time: number): boolean {
  return Number.isInteger(time) && time >= -latestTime && time <= latestTime;
}

const ownNames: ReadonlySet<string> = new Set(Object.values(wireHeaders));

/** Whether the format gives the name a meaning. Some programs write `Content-Type`. */
function isTaken(name: string): boolean {
  return (
    ownNames.has(name) ||
    name.startsWith(attributePrefix) ||
    name.startsWith(escapedHeaderPrefix) ||
    isContentType(name)
  );
}

export function isContentType(name: string): boolean {
  return name.length === contentTypeHeader.length && name.toLowerCase() === contentTypeHeader;
}
