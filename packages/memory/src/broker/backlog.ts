/** What waits in a queue, and who may take what. */
import type { Entry } from "./entry.ts";
import { createLanes } from "./lanes.ts";
import { LinkedList } from "./linked-list.ts";
import type { Member } from "./source.ts";

export interface Backlog extends Iterable<Entry> {
  readonly size: number;
  add(entry: Entry): void;
  /** @param anywhere not the next, but one of the next hundred; of a key on an ordered queue always the next */
  take(taker: Member, anywhere: boolean): Entry | undefined;
  /** What is in the taker's hands and cannot stay there when this comes back: what was taken of its key after it. */
  followers(entry: Entry): Iterable<Entry>;
  /** Back to its place. What was taken together comes back together, the last one first. */
  putBack(entry: Entry): void;
  /** What was taken is done. True where others may now take what they could not before. */
  settled(entry: Entry): boolean;
  /** Removes what waits. */
  remove(entry: Entry): void;
  /** Puts what waits out of sight, or back into it. What is behind it of its key waits for it. */
  setVisited(entry: Entry, visited: boolean): void;
}

/** How far from the front a shuffled message may be. */
const shuffleWindow = 100;

/** @param pick a whole number from 0 to `end` - 1 */
export function createBacklog(ordered: boolean, pick: (end: number) => number): Backlog {
  /** What has no order. */
  const loose = new LinkedList<Entry>();
  const lanes = ordered ? createLanes() : undefined;
  let size = 0;

  const first = (): number => 0;
  const somewhere = (length: number): number => (length > 1 ? pick(Math.min(length, shuffleWindow)) : 0);

  function looseEntry(steps: (length: number) => number): Entry | undefined {
    let entry = loose.at(steps(loose.size));
    if (entry?.visited !== true) return entry;
    entry = loose.first;
    while (entry?.visited === true) entry = entry.next;
    return entry;
  }

  function choose(taker: Member, anywhere: boolean): Entry | undefined {
    const steps = anywhere ? somewhere : first;
    const entry = looseEntry(steps);
    const lane = lanes?.next(taker, steps);
    const head = lane?.waiting.first;
    if (lane !== undefined && head !== undefined) {
      const headFirst = entry === undefined || (anywhere ? pick(2) === 0 : head.place < entry.place);
      if (headFirst) return lanes?.take(lane, taker);
    }
    if (entry !== undefined) loose.remove(entry);
    return entry;
  }

  return {
    get size() {
      return size;
    },
    add(entry) {
      size++;
      entry.waiting = true;
      const { key } = entry.record;
      if (lanes === undefined || key === undefined) loose.pushBack(entry);
      else lanes.add(entry, key);
    },
    take(taker, anywhere) {
      const entry = choose(taker, anywhere);
      if (entry === undefined) return undefined;
      size--;
      entry.waiting = false;
      return entry;
    },
    *followers(entry) {
      for (const other of entry.lane?.taken ?? []) if (other.place > entry.place) yield other;
    },
    putBack(entry) {
      size++;
      entry.waiting = true;
      if (entry.lane === undefined) loose.pushFront(entry);
      else lanes?.putBack(entry, entry.lane);
    },
    settled: (entry) => entry.lane !== undefined && lanes?.settled(entry, entry.lane) === true,
    remove(entry) {
      size--;
      entry.waiting = false;
      if (entry.lane === undefined) loose.remove(entry);
      else lanes?.remove(entry, entry.lane);
    },
    setVisited(entry, visited) {
      entry.visited = visited;
      if (entry.lane !== undefined) lanes?.refresh(entry.lane);
    },
    *[Symbol.iterator]() {
      yield* loose;
      if (lanes !== undefined) for (const lane of lanes) yield* lane.waiting;
    },
  };
}
