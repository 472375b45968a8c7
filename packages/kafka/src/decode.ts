/** From a fetched record to a message. Anything may arrive, from any program: nothing here throws. */
import type { Message } from "@posthorn/core/transport";
import { copyMessage, messageFromCloudEvent, messageOf, noHeaders } from "@posthorn/core/transport";
import { foreignId, foreignMessage } from "./foreign.ts";
import type { FetchedRecord } from "./records.ts";
import type { SortedHeaders } from "./sorted-headers.ts";
import { sortHeaders, textOrBase64 } from "./sorted-headers.ts";
import { isDateTime, wireHeaders } from "./wire.ts";

export interface Decoded {
  /** Its objects belong to it alone. */
  readonly message: Message;
  /** What could not be understood; the body and what was readable are in `message`. */
  readonly defect: string | undefined;
}

/** A record of a channel, of a retry topic or of a delay topic. */
export function decodeRecord(record: FetchedRecord): Decoded {
  return decode(record, record.key);
}

/** A dead letter: its record's key is no key of the message. */
export function decodeDeadLetter(record: FetchedRecord): Decoded {
  return decode(record, null);
}

function decode(record: FetchedRecord, key: Uint8Array | null): Decoded {
  const sorted = sortHeaders(record.headers);
  const { attributes, user } = sorted;
  if (key !== null) attributes["partitionkey"] ??= textOrBase64(key);
  if (sorted.others !== undefined) adoptTrace(attributes, sorted.others);
  if (record.value === null) user["kafka-tombstone"] = "true";
  // A copy: what was fetched together shares one buffer, which a handler may neither see nor keep alive.
  const body = record.value === null ? new Uint8Array() : new Uint8Array(record.value);
  const isEvent = attributes["id"] !== undefined || attributes["specversion"] !== undefined;
  const message = isEvent ? readEvent(record, sorted, body) : foreignMessage(record, sorted, body);
  return { message: withExactTimes(message, sorted), defect: sorted.defect };
}

/** The trace context of the event itself goes before that of its transport. */
function adoptTrace(attributes: Record<string, string>, others: Readonly<Record<string, string>>): void {
  const { traceparent, tracestate, baggage } = wireHeaders;
  if (attributes[traceparent] === undefined) {
    if (others[traceparent] !== undefined) attributes[traceparent] = others[traceparent];
    if (others[tracestate] !== undefined) attributes[tracestate] = others[tracestate];
  }
  if (others[baggage] !== undefined) attributes[baggage] ??= others[baggage];
}

function readEvent(record: FetchedRecord, sorted: SortedHeaders, body: Uint8Array): Message {
  const { attributes, contentType, user } = sorted;
  if (attributes["specversion"] !== undefined && !/^1\.\d+$/.test(attributes["specversion"]))
    sorted.defect ??= "The CloudEvent's specversion is not 1.0.";
  if (contentType !== undefined && (attributes["datacontenttype"] ?? contentType) !== contentType)
    sorted.defect ??= "The CloudEvent's datacontenttype is not its content-type.";
  const read = (): Message => {
    if (isDateTime(record.timestamp) && record.timestamp >= 0)
      attributes["time"] ??= new Date(record.timestamp).toISOString();
    return messageFromCloudEvent(attributes, contentType ?? "", user, body);
  };
  try {
    return read();
  } catch (error) {
    sorted.defect ??= messageOf(error);
    dropUnreadable(record, attributes);
    return read();
  }
}

/** Leaves what can be read, each attribute by itself. */
function dropUnreadable(record: FetchedRecord, attributes: Record<string, string>): void {
  if (!attributes["id"]) attributes["id"] = foreignId(record);
  for (const name of Object.keys(attributes)) {
    try {
      messageFromCloudEvent({ id: "-", [name]: attributes[name] ?? "" }, "", noHeaders, noBytes);
    } catch {
      // The first failure is the defect.
      delete attributes[name];
    }
  }
}

const noBytes = new Uint8Array();

/** The times that the attributes cannot hold travel beside them. */
function withExactTimes(message: Message, sorted: SortedHeaders): Message {
  if (sorted.others === undefined) return message;
  const time = readNumber(sorted, wireHeaders.time);
  const notBefore = readNumber(sorted, wireHeaders.notBefore);
  const expiresAt = readNumber(sorted, wireHeaders.expiresAt);
  return copyMessage(message, {
    time: time ?? message.time,
    notBefore: notBefore ?? message.notBefore,
    expiresAt: expiresAt ?? message.expiresAt,
  });
}

function readNumber(sorted: SortedHeaders, name: string): number | undefined {
  const text = sorted.others?.[name];
  if (text === undefined) return undefined;
  const number = Number(text);
  if (String(number) === text) return number;
  sorted.defect ??= `The header ${name} is no number.`;
  return undefined;
}
