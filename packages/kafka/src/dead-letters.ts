/** Dead letters as a log has them: going through those that are alive, page by page, and removing them. */
import type { WaitingMessages } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import { decodeDeadLetter } from "./decode.ts";
import type { LiveDeadLetters } from "./dead-letter-index.ts";
import { fetchPage, keyOf } from "./dead-letter-index.ts";
import type { Producer } from "./producer.ts";
import type { FetchedRecord } from "./records.ts";
import type { Removals } from "./removals.ts";
import { tombstone } from "./removals.ts";

/** Visits that are pending and removals that have not taken effect: what a process that dies has done and not removed, at most. */
const mostOpen = 64;

export function waitingDeadLetters(
  asking: Asking,
  topic: string,
  live: LiveDeadLetters,
  removals: Removals,
  maxPending: number,
  signal: AbortSignal,
): WaitingMessages {
  const places = live.places[Symbol.iterator]();
  /** What is left of the page, the next one last. */
  let page: FetchedRecord[] = [];
  /** Where the page ends. */
  let next = 0n;
  let pending = 0;

  async function recordAt(offset: bigint): Promise<FetchedRecord | undefined> {
    if (offset >= next) {
      const { records, next: end } = await fetchPage(asking, topic, offset, signal);
      page = records.toReversed();
      next = end;
    }
    for (;;) {
      const record = page.at(-1);
      if (record === undefined || record.offset > offset) return undefined;
      page.pop();
      if (record.offset === offset) return record;
    }
  }

  return {
    async next() {
      await removals.untilFewerThan(Math.max(mostOpen, maxPending) - pending);
      for (;;) {
        const { value: entry, done } = places.next();
        if (done === true) return undefined;
        const [key, { offset }] = entry;
        if (offset >= live.end) return undefined;
        const record = await recordAt(offset);
        // Compaction has taken it since it was seen, or the topic is another one by now.
        if (record === undefined || record.key === null || keyOf(record.key) !== key) continue;
        pending++;
        return {
          message: decodeDeadLetter(record).message,
          settle(remove) {
            pending--;
            if (remove) removals.add(key);
          },
        };
      }
    },
    finish: () => removals.untilFewerThan(1),
  };
}

/** Tombstones that go together. */
const purgeBatch = 1_000;

/** @returns how many dead letters that were */
export async function purgeDeadLetters(
  producer: Pick<Producer, "send">,
  topic: string,
  { places, end }: LiveDeadLetters,
  signal: AbortSignal,
): Promise<number> {
  const keys = Array.from(places, ([key, { offset }]) => (offset < end ? key : undefined)).filter(
    (key) => key !== undefined,
  );
  for (let from = 0; from < keys.length; from += purgeBatch) {
    const batch = keys.slice(from, from + purgeBatch);
    const receipts = await producer.send(
      batch.map((key) => tombstone(topic, key)),
      signal,
    );
    for (const receipt of receipts) if (!receipt.accepted) throw receipt.error;
  }
  return keys.length;
}
