/** Records as they are given to the broker and as they come back. */

/** A record to be appended. Its timestamp is the time of appending. */
export interface OutgoingRecord {
  /** What the partition is chosen by; `null` without. */
  readonly key: Uint8Array | null;
  /** `null` is a tombstone: it removes what a compacted topic has under the key. */
  readonly value: Uint8Array | null;
  /** Text is written as UTF-8. Bytes are those of a record that is moved as it came; then names may repeat, too. */
  readonly headers: readonly (readonly [name: string, value: string | Uint8Array | null])[];
}

/** A record as it was fetched. Anything may be in it: every program can write to a topic. */
export interface FetchedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Milliseconds since the Unix epoch; -1 where the record has none. */
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** In their order. Names may repeat, and a value may be missing. */
  readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[];
}

/** What a batch adds to its records: the header of a record batch, format version 2. */
export const batchOverheadBytes = 61;

/** A record's attributes (1), and at most its length (5), its timestamp (10) and its offset (5) relative to the batch. */
const fixedRecordBytes = 21;

/**
 * A record's bytes on the wire, uncompressed: never less than it takes, and at most 20 more.
 *
 * Source: Kafka's documentation, "Message Format", "Record".
 */
export function recordBytes(record: OutgoingRecord): number {
  let bytes = fixedRecordBytes + withLength(record.key?.byteLength ?? 0) + withLength(record.value?.byteLength ?? 0);
  bytes += varintBytes(record.headers.length);
  for (const [name, value] of record.headers)
    bytes += withLength(Buffer.byteLength(name)) + withLength(value === null ? 0 : Buffer.byteLength(value));
  return bytes;
}

function withLength(bytes: number): number {
  return varintBytes(bytes) + bytes;
}

/** Bytes of a count from 0: zigzag makes it twice as large, and each byte holds seven bits. */
export function varintBytes(count: number): number {
  if (count < 0x40) return 1;
  if (count < 0x2000) return 2;
  if (count < 0x10_0000) return 3;
  return count < 0x800_0000 ? 4 : 5;
}
