/** Records that other programs wrote and that are no CloudEvents in binary mode. */
import type { Message } from "@posthorn/core/transport";
import type { FetchedRecord } from "./records.ts";
import type { SortedHeaders } from "./sorted-headers.ts";
import { attributePrefix, isDateTime } from "./wire.ts";

/** An id for what bears none: where it stands, the same at every delivery. */
export function foreignId({ topic, partition, offset }: FetchedRecord): string {
  return `kafka:${topic}:${partition}:${offset}`;
}

/** Its headers `id` and `type` are what they are called; its time is the record's. */
export function foreignMessage(record: FetchedRecord, sorted: SortedHeaders, body: Uint8Array): Message {
  const { attributes, contentType, user } = sorted;
  const { partitionkey, traceparent, tracestate, baggage, ...others } = attributes;
  for (const name of Object.keys(others)) user[attributePrefix + name] = others[name] ?? "";
  return {
    id: user["id"] || foreignId(record),
    type: user["type"] ?? "",
    version: 1,
    source: "",
    time: isDateTime(record.timestamp) && record.timestamp >= 0 ? record.timestamp : 0,
    contentType: contentType ?? "",
    key: partitionkey,
    correlationId: undefined,
    causationId: undefined,
    replyTo: undefined,
    notBefore: undefined,
    expiresAt: undefined,
    attempt: 1,
    traceparent,
    tracestate,
    baggage,
    headers: user,
    body,
  };
}
