/**
 * Which dead letters of a topic are alive: the keys whose last record has a value.
 *
 * Only who has read the whole log knows. So what was found is remembered, and only what is new is read the next time. That holds as long
 * as the last record that was read is still in its place: compaction may have taken it, an operator may have deleted records,
 * or the topic is another one by the same name; then everything is read again. So it is after a while anyway, because removals, too, are
 * forgotten by the log, a day after they were compacted.
 */
import type { Clock } from "@posthorn/core/transport";
import { abortable } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import { named } from "./asking.ts";
import type { FetchedPartition } from "./client.ts";
import { logStart } from "./client.ts";
import { errorCodes, kafkaError, unreadable } from "./errors.ts";

/** A dead letter's last record. */
export interface DeadLetterPlace {
  readonly offset: bigint;
  /** When it was appended, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
}

export interface LiveDeadLetters {
  /** By key, as {@link keyOf} writes it; in the order of their offsets. Later looks change it. */
  readonly places: ReadonlyMap<string, DeadLetterPlace>;
  /** The log's end at the time of the look. What was appended later has no smaller offset. */
  readonly end: bigint;
}

export interface DeadLetterIndex {
  /** @throws UNROUTABLE, ACCESS_REFUSED, ABORTED, TRANSPORT_FAILED; ConnectionFailure */
  look(topic: string, signal: AbortSignal): Promise<LiveDeadLetters>;
}

interface Entry {
  places: Map<string, DeadLetterPlace>;
  /** Read up to here. */
  position: bigint;
  /** The last record that was read. */
  last: { readonly offset: bigint; readonly key: string } | undefined;
  /** When it was last up to date. */
  lookedAt: number;
}

/** Also what is held of a page at most, in bytes, one batch aside. */
export const pageBytes = 1_048_576;
/** Shorter by far than removals stay in the log. */
const forgetAfterMs = 3_600_000;
/** What is remembered of a topic between two looks; more is read each time. */
const mostRemembered = 100_000;
const partition = 0;

export function createDeadLetterIndex(asking: Asking, clock: Clock): DeadLetterIndex {
  const remembered = new Map<string, Entry>();
  /** One look after the other, by topic. */
  const turns = new Map<string, Promise<void>>();

  const fetch = (topic: string, offset: bigint, signal: AbortSignal): Promise<FetchedPartition> =>
    fetchPage(asking, topic, offset, signal);

  const startOf = async (topic: string, signal: AbortSignal): Promise<bigint> => {
    const [start] = await asking.offsetsAt(logStart, [{ topic, partition }], signal);
    return start?.offset ?? 0n;
  };

  /** The next page; of a log that is not what it was, its first. */
  async function firstPage(topic: string, entry: Entry, signal: AbortSignal): Promise<FetchedPartition> {
    for (;;) {
      const { last } = entry;
      const page = await fetch(topic, last?.offset ?? entry.position, signal);
      const inRange = page.error !== errorCodes.OFFSET_OUT_OF_RANGE;
      if (inRange && (last === undefined || isFirstOf(page, last))) return page;
      reset(entry, inRange ? 0n : await startOf(topic, signal));
    }
  }

  async function read(topic: string, signal: AbortSignal): Promise<LiveDeadLetters> {
    const now = clock.monotonic();
    for (const [name, { lookedAt }] of remembered) if (now - lookedAt > forgetAfterMs) remembered.delete(name);
    const entry = remembered.get(topic) ?? { places: new Map(), position: 0n, last: undefined, lookedAt: now };
    try {
      let page = await firstPage(topic, entry, signal);
      const end = page.highWatermark;
      take(entry, page);
      while (entry.position < end) {
        page = await fetch(topic, entry.position, signal);
        // Its beginning was deleted while it was read.
        if (page.error !== 0) page = await firstPage(topic, entry, signal);
        // Nothing is left below the end: it was compacted away.
        else if (page.next <= entry.position) break;
        take(entry, page);
      }
      entry.lookedAt = now;
      return { places: entry.places, end };
    } finally {
      // Without a last record nothing tells whether it is still the same log.
      if (entry.last !== undefined && entry.places.size <= mostRemembered) remembered.set(topic, entry);
      else remembered.delete(topic);
    }
  }

  return {
    look(topic, signal) {
      const before = turns.get(topic) ?? Promise.resolve();
      const turn = before.then(() => read(topic, signal));
      const over = turn.then(ignore, ignore).finally(() => {
        if (turns.get(topic) === over) turns.delete(topic);
      });
      turns.set(topic, over);
      return abortable(turn, signal);
    },
  };
}

/** @throws TRANSPORT_FAILED when its first records cannot be read */
export async function fetchPage(
  asking: Asking,
  topic: string,
  offset: bigint,
  signal: AbortSignal,
): Promise<FetchedPartition> {
  const [page] = await asking.fetch([{ topic, partition, offset, maxBytes: pageBytes }], pageBytes, signal);
  if (page === undefined) throw kafkaError(errorCodes.UNKNOWN_SERVER_ERROR, named(topic));
  if (page.undecodable !== undefined && page.records.length === 0) throw unreadable(named(topic), page.undecodable);
  return page;
}

/** Who waits for its turn, not for its outcome. */
function ignore(): void {}

/** Every byte is a character, so that no two keys are the same text. */
export function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

export function bytesOfKey(key: string): Uint8Array {
  return Buffer.from(key, "latin1");
}

function take(entry: Entry, page: FetchedPartition): void {
  for (const { offset, timestamp, key, value } of page.records) {
    if (offset < entry.position) continue;
    const text = key === null ? "" : keyOf(key);
    entry.last = { offset, key: text };
    // A compacted topic has none; without a key it could not be removed.
    if (key === null) continue;
    // The latest comes last, also where a key is used again.
    entry.places.delete(text);
    if (value !== null) entry.places.set(text, { offset, timestamp });
  }
  if (page.next > entry.position) entry.position = page.next;
}

function isFirstOf({ records: [first] }: FetchedPartition, last: NonNullable<Entry["last"]>): boolean {
  return first?.offset === last.offset && (first.key === null ? "" : keyOf(first.key)) === last.key;
}

/** Whoever still goes through the old places is left to it. */
function reset(entry: Entry, position: bigint): void {
  entry.places = new Map();
  entry.position = position;
  entry.last = undefined;
}
