/** Record batches as a broker would hand them out, for tests. */
import type { BatchCodecs, Compression } from "./compression.ts";
import { createCodecs } from "./compression.ts";
import { batchField, encodeRecordBatch } from "./record-batch.ts";
import type { OutgoingRecord } from "./records.ts";
import { recordBytes } from "./records.ts";

export const writtenAt = 1_752_125_504_128;

export interface BatchFixture {
  readonly records: readonly OutgoingRecord[];
  readonly firstOffset?: bigint;
  readonly producerId?: bigint;
  /** Bits of the attributes beside the codec's. */
  readonly attributes?: number;
  readonly compression?: Compression;
  readonly codecs?: BatchCodecs;
}

export async function batchOf({ records, ...rest }: BatchFixture): Promise<Buffer> {
  const { firstOffset = 0n, producerId = -1n, attributes = 0, compression = "none", codecs = createCodecs({}) } = rest;
  const recordsBytes = records.reduce((sum, record) => sum + recordBytes(record), 0);
  const batch = { producerId, producerEpoch: 0, firstSequence: 0, records, recordsBytes };
  const bytes = await encodeRecordBatch(batch, compression, writtenAt, codecs);
  bytes.writeBigInt64BE(firstOffset, 0);
  bytes.writeInt16BE(bytes.readInt16BE(batchField.attributes) | attributes, batchField.attributes);
  return bytes;
}

/** What compaction leaves of a batch whose records are all gone: its header. */
export async function emptiedBatch(firstOffset: bigint, lastOffset: bigint): Promise<Buffer> {
  const bytes = await batchOf({ firstOffset, records: [] });
  bytes.writeInt32BE(Number(lastOffset - firstOffset), batchField.lastOffset);
  return bytes;
}

export function recordOf(value: string): OutgoingRecord {
  return { key: null, value: Buffer.from(value), headers: [] };
}
