/** Messages that wait for their turn to be dispatched, in the order in which they came, and how batches are taken from them. */
import type { Message } from "./message.ts";

/** What waits. */
export interface WaitingEntry {
  readonly message: Message;
  /** It was given up meanwhile, and is not to be taken. */
  readonly settled: boolean;
}

export interface Waiting<Entry extends WaitingEntry> extends Iterable<Entry> {
  /** Those included that were given up and not yet dropped. */
  readonly size: number;
  push(entry: Entry): void;
  /** Before everything else of its kind. */
  putBack(entries: readonly Entry[]): void;
  take(maxMessages: number, maxBytes: number): Entry[];
  /** Drops those that were given up. */
  prune(): void;
}

/** First come, first served. */
export function createWaiting<Entry extends WaitingEntry>(): Waiting<Entry> {
  let entries: Entry[] = [];
  const prune = (): void => {
    entries = entries.filter((entry) => !entry.settled);
  };
  return {
    get size() {
      return entries.length;
    },
    push: (entry) => entries.push(entry),
    putBack(back) {
      entries = back.concat(entries);
    },
    take(maxMessages, maxBytes) {
      const batch: Entry[] = [];
      let bytes = 0;
      let taken = 0;
      for (const entry of entries) {
        const entryBytes = entry.message.body.byteLength;
        if (batch.length === maxMessages || (batch.length > 0 && bytes + entryBytes > maxBytes)) break;
        taken++;
        if (entry.settled) continue;
        batch.push(entry);
        bytes += entryBytes;
      }
      entries = taken === entries.length ? [] : entries.slice(taken);
      return batch;
    },
    prune,
    [Symbol.iterator]: () => entries[Symbol.iterator](),
  };
}

/**
 * First come, first served for each key, and never two of a key in one batch: were the first refused and the second taken, they would have
 * changed places. Those without a key stand in nobody's way.
 */
export function createWaitingByKey<Entry extends WaitingEntry>(): Waiting<Entry> {
  /** Keys in the order of their turns: one that was served goes to the end. */
  const lanes = new Map<string | undefined, Waiting<Entry>>();
  let size = 0;

  const laneOf = (key: string | undefined): Waiting<Entry> => {
    let lane = lanes.get(key);
    if (lane === undefined) {
      lane = createWaiting();
      lanes.set(key, lane);
    }
    return lane;
  };
  const all = function* (): Generator<Entry> {
    for (const lane of lanes.values()) yield* lane;
  };

  return {
    get size() {
      return size;
    },
    push(entry) {
      laneOf(entry.message.key).push(entry);
      size++;
    },
    putBack(back) {
      // The last first, so that those without a key keep their places, too.
      for (const entry of back.toReversed()) laneOf(entry.message.key).putBack([entry]);
      size += back.length;
    },
    take(maxMessages, maxBytes) {
      const batch: Entry[] = [];
      let bytes = 0;
      const turns = lanes.size;
      for (let turn = 0; turn < turns && batch.length < maxMessages && bytes < maxBytes; turn++) {
        const [[key, lane] = []] = lanes;
        if (lane === undefined) break;
        const most = key === undefined ? maxMessages - batch.length : 1;
        const before = lane.size;
        const taken = lane.take(most, maxBytes - bytes);
        size -= before - lane.size;
        for (const entry of taken) {
          batch.push(entry);
          bytes += entry.message.body.byteLength;
        }
        lanes.delete(key);
        if (lane.size > 0) lanes.set(key, lane);
      }
      return batch;
    },
    prune() {
      size = 0;
      for (const [key, lane] of lanes) {
        lane.prune();
        if (lane.size === 0) lanes.delete(key);
        else size += lane.size;
      }
    },
    [Symbol.iterator]: all,
  };
}
