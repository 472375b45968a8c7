/**
 * Reads the answer to a fetch, version 11: the newest that kafkajs asks for. kafkajs's own reading will not do: one partition that
 * cannot be read must not hide the others, and what holds no record for us must not be asked for again.
 *
 * Source: Kafka's documentation, "Kafka protocol guide", "Fetch API", and "Message Format", "Control Batches".
 */
import type { FetchedPartition, FetchRequest, PartitionAnswer, TopicPartition } from "./client.ts";
import type { BatchCodecs } from "./compression.ts";
import { damaged, PrimitiveReader } from "./primitive-reader.ts";
import type { ReadBatch } from "./read-batch.ts";
import { readRecordBatch } from "./read-batch.ts";
import { batchField, batchPrefixBytes } from "./record-batch.ts";
import type { FetchedRecord } from "./records.ts";

/**
 * @param asked what the request asked for
 * @returns in the answer's order; of a partition whose batches cannot be read, what comes before them
 * @throws where the answer itself is damaged
 */
export async function decodeFetchAnswer(
  payload: Buffer,
  asked: FetchRequest["partitions"],
  codecs: BatchCodecs,
): Promise<FetchedPartition[]> {
  const reader = new PrimitiveReader(payload);
  reader.int32(); // throttle time: the connection is muted by the broker meanwhile
  const error = reader.int16();
  reader.int32(); // fetch session
  const topics = reader.array(() => {
    const topic = reader.string();
    return reader.array(() => readPartition(reader, topic));
  });
  // An error of the whole answer comes without partitions.
  if (error !== 0) return asked.map((each) => refused(each, each.offset, error));
  const offsets = new Map(asked.map(({ topic, partition, offset }) => [`${topic} ${partition}`, offset]));
  return Promise.all(
    topics.flat().map(async ({ aborted, batches, ...answer }) => {
      const from = offsets.get(`${answer.topic} ${answer.partition}`) ?? 0n;
      return { ...answer, ...(await readBatches(answer, batches, aborted, from, codecs)) };
    }),
  );
}

function refused({ topic, partition }: TopicPartition, next: bigint, error: number): FetchedPartition {
  return { topic, partition, error, highWatermark: -1n, logStart: -1n, records: [], next, undecodable: undefined };
}

interface PartitionHeader extends PartitionAnswer {
  readonly highWatermark: bigint;
  readonly logStart: bigint;
  readonly aborted: readonly AbortedTransaction[];
  readonly batches: Buffer;
}

interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

/** Its fields in their order on the wire. */
function readPartition(reader: PrimitiveReader, topic: string): PartitionHeader {
  const partition = reader.int32();
  const error = reader.int16();
  const highWatermark = reader.int64();
  reader.int64(); // last stable offset
  const logStart = reader.int64();
  const aborted = reader.array(() => ({ producerId: reader.int64(), firstOffset: reader.int64() }));
  reader.int32(); // preferred read replica
  const batches = reader.bytes();
  return { topic, partition, error, highWatermark, logStart, aborted, batches };
}

async function readBatches(
  { topic, partition }: TopicPartition,
  bytes: Buffer,
  aborted: readonly AbortedTransaction[],
  from: bigint,
  codecs: BatchCodecs,
): Promise<Pick<FetchedPartition, "records" | "next" | "undecodable">> {
  const records: FetchedRecord[] = [];
  const isAborted = followTransactions(aborted);
  let next = from;
  try {
    for (const batchBytes of split(bytes)) {
      const batch = await readRecordBatch(batchBytes, codecs);
      if (!isAborted(batch) && !batch.isControl) {
        for (const { offset, timestamp, key, value, headers } of batch.records) {
          // A batch begins where it was written, not where one asked. (To spread the record would take longer than to read it.)
          if (offset >= from) records.push({ topic, partition, offset, timestamp, key, value, headers });
        }
      }
      if (batch.lastOffset >= next) next = batch.lastOffset + 1n;
    }
  } catch (error) {
    return { records, next, undecodable: error instanceof Error ? error : new Error(String(error)) };
  }
  return { records, next, undecodable: undefined };
}

/** The whole batches. The broker cuts the last one where its limit is, but never the first. */
function* split(bytes: Buffer): Generator<Buffer> {
  let at = 0;
  while (bytes.length - at >= batchPrefixBytes) {
    const length = batchPrefixBytes + bytes.readInt32BE(at + batchField.length);
    const isWhole = length <= bytes.length - at;
    if (length <= 0 || (at === 0 && !isWhole)) throw damaged();
    if (!isWhole) return;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

/** @returns whether a batch belongs to one of the transactions; it wants to see all batches, in their order */
function followTransactions(aborted: readonly AbortedTransaction[]): (batch: ReadBatch) => boolean {
  const inOrder = aborted.toSorted((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  /** Producers whose transaction has begun and will be aborted. */
  const open = new Set<bigint>();
  let begun = 0;
  return ({ lastOffset, producerId, inTransaction, isControl }) => {
    for (let next = inOrder[begun]; next !== undefined && next.firstOffset <= lastOffset; next = inOrder[++begun])
      open.add(next.producerId);
    if (isControl) open.delete(producerId);
    return inTransaction && open.has(producerId);
  };
}
