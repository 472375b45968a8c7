/** From a fetched record to a message. Anything may arrive, from any program: nothing here throws. */
import type { Message } from "@posthorn/core/transport";
import { adoptTrace, copyMessage, readForeign } from "@posthorn/core/transport";
import type { FetchedRecord } from "./records.ts";
import type { SortedHeaders } from "./sorted-headers.ts";
import { sortHeaders, textOrBase64 } from "./sorted-headers.ts";
import { attributePrefix, wireHeaders } from "./wire.ts";

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
  const { attributes, contentType, user } = sorted;
  if (key !== null) attributes["partitionkey"] ??= textOrBase64(key);
  if (sorted.others !== undefined) adoptTrace(attributes, sorted.others);
  if (record.value === null) user["kafka-tombstone"] = "true";
  const { message, defect } = readForeign({
    attributes,
    attributePrefix,
    contentType,
    type: user["type"] ?? "",
    headers: user,
    // A copy: what was fetched together shares one buffer, which a handler may neither see nor keep alive.
    body: record.value === null ? new Uint8Array() : new Uint8Array(record.value),
    id: `kafka:${record.topic}:${record.partition}:${record.offset}`,
    time: record.timestamp,
  });
  sorted.defect ??= defect;
  return { message: withExactTimes(message, sorted), defect: sorted.defect };
}

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
