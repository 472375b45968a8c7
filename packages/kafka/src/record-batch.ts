/**
 * Writes record batches, format version 2, in one pass. (kafkajs's own encoder makes a buffer for each header of each record.)
 *
 * Source: Kafka's documentation, "Message Format", "Record Batch".
 */
import type { BatchCodecs, Compression } from "./compression.ts";
import { codecNumbers } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import type { OutgoingRecord } from "./records.ts";
import { batchOverheadBytes, varintBytes } from "./records.ts";

/** What is appended to one partition, at once or not at all. */
export interface RecordBatch {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  /** The number of its first record, in the partition and the epoch. */
  readonly firstSequence: number;
  readonly records: readonly OutgoingRecord[];
  /** At least what the records take uncompressed: the sum of their `recordBytes`. */
  readonly recordsBytes: number;
}

export const formatVersion = 2;
/** Where the fields of a batch's header begin. */
export const batchField = {
  length: 8,
  version: 16,
  checksum: 17,
  attributes: 21,
  lastOffset: 23,
  firstTimestamp: 27,
  lastTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  firstSequence: 53,
  count: 57,
} as const;
/** A batch's offset and length: what the length does not count. */
export const batchPrefixBytes = 12;

/** @param timestamp of all its records, in milliseconds since the Unix epoch */
export async function encodeRecordBatch(
  batch: RecordBatch,
  compression: Compression,
  timestamp: number,
  codecs: BatchCodecs,
): Promise<Buffer> {
  const writer = new RecordWriter(batchOverheadBytes + batch.recordsBytes);
  writer.at = batchOverheadBytes;
  batch.records.forEach((record, index) => writer.record(record, index));
  let bytes = writer.bytes.subarray(0, writer.at);
  if (compression !== "none") {
    const records = await codecs.compress(compression, bytes.subarray(batchOverheadBytes));
    bytes = Buffer.concat([bytes.subarray(0, batchOverheadBytes), records]);
  }
  const count = batch.records.length;
  // The broker sets the first offset and the leader's epoch.
  bytes.fill(0, 0, batchOverheadBytes);
  bytes.writeInt32BE(bytes.length - batchPrefixBytes, batchField.length);
  bytes.writeInt8(formatVersion, batchField.version);
  bytes.writeInt16BE(codecNumbers[compression], batchField.attributes);
  bytes.writeInt32BE(count - 1, batchField.lastOffset);
  bytes.writeBigInt64BE(BigInt(timestamp), batchField.firstTimestamp);
  bytes.writeBigInt64BE(BigInt(timestamp), batchField.lastTimestamp);
  bytes.writeBigInt64BE(batch.producerId, batchField.producerId);
  bytes.writeInt16BE(batch.producerEpoch, batchField.producerEpoch);
  bytes.writeInt32BE(batch.firstSequence, batchField.firstSequence);
  bytes.writeInt32BE(count, batchField.count);
  bytes.writeUInt32BE(crc32c(bytes.subarray(batchField.attributes)), batchField.checksum);
  return bytes;
}

/** Texts up to here have one byte of length when they are ASCII, and are written faster by hand. */
const shortText = 0x3f;

class RecordWriter {
  readonly bytes: Buffer;
  at = 0;
  /** Bytes that the length of the last record took. */
  #lengthBytes = 2;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  /** @param index within the batch */
  record({ key, value, headers }: OutgoingRecord, index: number): void {
    // Its length is known only when it is written; mostly the length takes as many bytes as the last one's.
    const start = this.at;
    const body = start + this.#lengthBytes;
    this.at = body;
    this.bytes[this.at++] = 0; // attributes
    this.bytes[this.at++] = 0; // timestamp, relative to the batch's
    this.#varint(index);
    this.#blob(key);
    this.#blob(value);
    this.#varint(headers.length);
    for (const [name, header] of headers) {
      this.#text(name);
      if (typeof header === "string") this.#text(header);
      else this.#blob(header);
    }
    const length = this.at - body;
    this.#lengthBytes = varintBytes(length);
    if (start + this.#lengthBytes !== body) this.bytes.copyWithin(start + this.#lengthBytes, body, this.at);
    this.at = start;
    this.#varint(length);
    this.at += length;
  }

  #blob(blob: Uint8Array | null): void {
    if (blob === null) {
      this.#varint(-1);
      return;
    }
    this.#varint(blob.length);
    this.bytes.set(blob, this.at);
    this.at += blob.length;
  }

  #text(text: string): void {
    const { length } = text;
    if (length <= shortText) {
      const { bytes, at } = this;
      let index = 0;
      for (; index < length; index++) {
        const code = text.charCodeAt(index);
        if (code > 0x7f) break;
        bytes[at + 1 + index] = code;
      }
      if (index === length) {
        bytes[at] = length * 2;
        this.at += length + 1;
        return;
      }
    }
    const byteLength = Buffer.byteLength(text);
    this.#varint(byteLength);
    this.bytes.write(text, this.at, byteLength);
    this.at += byteLength;
  }

  /** Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3. Seven bits a byte, the lowest first. */
  #varint(value: number): void {
    let rest = ((value << 1) ^ (value >> 31)) >>> 0;
    while (rest > 0x7f) {
      this.bytes[this.at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.at++] = rest;
  }
}
