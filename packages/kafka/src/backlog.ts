/** What waits for a group: of the channel's topic and of the retry topic, whatever lies behind the group's offsets. */
import type { InletAddress } from "@posthorn/core/transport";
import type { Asking, PartitionOffset } from "./asking.ts";
import { named } from "./asking.ts";
import type { TopicPartition } from "./client.ts";
import { logEnd, logStart } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorCodes, kafkaError, unreadable } from "./errors.ts";
import { groupId, topicsOf } from "./names.ts";
import type { FetchedRecord } from "./records.ts";

/** What waits in one partition. Not every offset is a message: compaction leaves gaps, and transactions their marks. */
export interface Backlog extends TopicPartition {
  readonly from: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

export function countOf(backlogs: readonly Backlog[]): number {
  return Number(backlogs.reduce((sum, { from, end }) => sum + (end - from), 0n));
}

/**
 * @returns those partitions in which something waits
 * @throws UNROUTABLE when one of the topics does not exist
 */
export async function backlogsOf(
  cluster: Cluster,
  asking: Asking,
  source: InletAddress,
  signal: AbortSignal,
): Promise<readonly Backlog[]> {
  const names = topicsOf(source);
  const topics = await cluster.topics(names, signal, true);
  const partitions = names.flatMap((name) => {
    const topic = topics.get(name);
    if (topic === undefined) throw kafkaError(errorCodes.UNKNOWN_TOPIC_OR_PARTITION, named(name));
    return topic.partitions.map(({ partition }): TopicPartition => ({ topic: name, partition }));
  });
  const group = groupId(source.channel, source.group);
  const [committed, starts, ends] = await Promise.all([
    asking.committed(group, partitions, signal),
    asking.offsetsAt(logStart, partitions, signal),
    asking.offsetsAt(logEnd, partitions, signal),
  ]);
  return partitions
    .map((partition) => {
      const start = offsetOf(starts, partition);
      const place = offsetOf(committed, partition);
      return { ...partition, from: place > start ? place : start, end: offsetOf(ends, partition) };
    })
    .filter(({ from, end }) => from < end);
}

function offsetOf(answers: readonly PartitionOffset[], { topic, partition }: TopicPartition): bigint {
  return answers.find((answer) => answer.topic === topic && answer.partition === partition)?.offset ?? -1n;
}

/** The records of several partitions as one line, oldest first. */
export interface Merged {
  /** The next one, left where it is; `undefined` when there are no more. */
  peek(): Promise<FetchedRecord | undefined>;
  take(): void;
}

interface Cursor {
  readonly topic: string;
  readonly partition: number;
  readonly end: bigint;
  /** Read up to here. */
  position: bigint;
  /** The next one last. */
  records: FetchedRecord[];
}

/** Of all partitions that one broker leads, at a time. */
const pageBytes = 1_048_576;
/** Enough for the first record of most. */
export const firstRecordBytes = 16_384;

/** @param partitionBytes how much of a partition is read at a time; at least one batch is */
export function mergeBacklogs(
  asking: Asking,
  backlogs: readonly Backlog[],
  partitionBytes: number,
  signal: AbortSignal,
): Merged {
  const cursors = backlogs.map(({ topic, partition, from, end }): Cursor => ({
    topic,
    partition,
    end,
    position: from,
    records: [],
  }));

  /** Until the next one of every partition is known. */
  async function fill(): Promise<void> {
    for (;;) {
      const empty = cursors.filter(({ records, position, end }) => records.length === 0 && position < end);
      if (empty.length === 0) return;
      const pages = await asking.fetch(
        empty.map(({ topic, partition, position }) => ({
          topic,
          partition,
          offset: position,
          maxBytes: partitionBytes,
        })),
        pageBytes,
        signal,
      );
      let came = false;
      for (const page of pages) {
        const cursor = empty.find(({ topic, partition }) => topic === page.topic && partition === page.partition);
        if (cursor === undefined) continue;
        if (page.undecodable !== undefined && page.records.length === 0)
          throw unreadable(named(page.topic), page.undecodable);
        // Deleted by age since its place was looked up.
        if (page.error !== 0) cursor.position = cursor.end;
        came ||= page.error !== 0 || page.next > cursor.position;
        cursor.records = page.records.filter(({ offset }) => offset < cursor.end).toReversed();
        if (page.next > cursor.position) cursor.position = page.next;
      }
      // Of each broker at least the first partition that has something comes, however large that is.
      if (!came) for (const cursor of empty) cursor.position = cursor.end;
    }
  }

  const oldest = (): Cursor | undefined =>
    cursors.reduce<Cursor | undefined>((first, cursor) => {
      const time = timeOf(cursor);
      return time !== undefined && (first === undefined || time < (timeOf(first) ?? time)) ? cursor : first;
    }, undefined);

  return {
    async peek() {
      await fill();
      return oldest()?.records.at(-1);
    },
    take() {
      oldest()?.records.pop();
    },
  };
}

function timeOf({ records }: Cursor): number | undefined {
  return records.at(-1)?.timestamp;
}

/** A part of what is read of all partitions together. */
export function shareOf(backlogs: readonly Backlog[]): number {
  return Math.ceil(pageBytes / Math.max(1, backlogs.length));
}
