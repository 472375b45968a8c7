/**
 * Reads record batches, format version 2. (kafkajs's own decoder takes time that grows with the square of a record's headers, and
 * reads the names of some, such as `constructor`, from its objects' prototype.)
 *
 * Source: Kafka's documentation, "Message Format", "Record Batch".
 */
import type { BatchCodecs } from "./compression.ts";
import { codecNumbers } from "./compression.ts";
import { damaged, PrimitiveReader } from "./primitive-reader.ts";
import { batchField, batchPrefixBytes, formatVersion } from "./record-batch.ts";
import type { FetchedRecord } from "./records.ts";
import { batchOverheadBytes } from "./records.ts";

/** What a batch is read as. */
export interface ReadBatch {
  readonly firstOffset: bigint;
  /** Of what was written: compaction may have removed the last records, or all of them. */
  readonly lastOffset: bigint;
  readonly producerId: bigint;
  readonly inTransaction: boolean;
  /** Marks the end of a transaction; its records are none of an application. */
  readonly isControl: boolean;
  readonly records: readonly Omit<FetchedRecord, "topic" | "partition">[];
}

/** Bits of the attributes. */
const attribute = { codec: 0x07, appendTime: 0x08, transaction: 0x10, control: 0x20 } as const;

/**
 * @param bytes one whole batch
 * @throws where the batch is damaged, has an older format, or is compressed with what nobody has a codec for
 */
export async function readRecordBatch(bytes: Buffer, codecs: BatchCodecs): Promise<ReadBatch> {
  if (bytes.length > batchField.version && bytes.readInt8(batchField.version) !== formatVersion)
    throw new Error(`The batch does not have format version ${formatVersion}.`);
  if (bytes.length < batchOverheadBytes || bytes.readInt32BE(batchField.length) !== bytes.length - batchPrefixBytes)
    throw damaged();
  const attributes = bytes.readInt16BE(batchField.attributes);
  const firstOffset = bytes.readBigInt64BE(0);
  const lastOffset = bytes.readInt32BE(batchField.lastOffset);
  if (lastOffset < 0) throw damaged();
  return {
    firstOffset,
    lastOffset: firstOffset + BigInt(lastOffset),
    producerId: bytes.readBigInt64BE(batchField.producerId),
    inTransaction: (attributes & attribute.transaction) !== 0,
    isControl: (attributes & attribute.control) !== 0,
    records: await readRecords(bytes, attributes, firstOffset, codecs),
  };
}

async function readRecords(
  bytes: Buffer,
  attributes: number,
  firstOffset: bigint,
  codecs: BatchCodecs,
): Promise<ReadBatch["records"]> {
  const records: ReadBatch["records"][number][] = [];
  const count = bytes.readInt32BE(batchField.count);
  // What compaction has emptied need not be compressed, whatever the attributes say.
  if (count === 0) return records;
  const firstTimestamp = Number(bytes.readBigInt64BE(batchField.firstTimestamp));
  const appendedAt =
    (attributes & attribute.appendTime) === 0 ? undefined : Number(bytes.readBigInt64BE(batchField.lastTimestamp));
  const codec = attributes & attribute.codec;
  const packed = bytes.subarray(batchOverheadBytes);
  const reader = new PrimitiveReader(codec === codecNumbers.none ? packed : await codecs.decompress(codec, packed));
  for (let left = count; left > 0; left--) {
    const end = reader.varint() + reader.at;
    reader.int8(); // attributes: none are known
    const writtenAt = firstTimestamp + reader.varint();
    const offset = firstOffset + BigInt(reader.varint());
    const key = readBlob(reader);
    const value = readBlob(reader);
    const headers: FetchedRecord["headers"][number][] = [];
    for (let more = reader.varint(); more > 0; more--) headers.push([readText(reader), readBlob(reader)]);
    if (reader.at !== end) throw damaged();
    records.push({ offset, timestamp: appendedAt ?? writtenAt, key, value, headers });
  }
  return records;
}

/** A length of -1 is `null`. */
function readBlob(reader: PrimitiveReader): Buffer | null {
  const length = reader.varint();
  return length === -1 ? null : reader.take(length);
}

function readText(reader: PrimitiveReader): string {
  return reader.take(reader.varint()).toString();
}
