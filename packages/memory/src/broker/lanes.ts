/** The keys of an ordered queue: each is a lane, which one member at a time takes from. */
import type { Entry } from "./entry.ts";
import { LinkedList } from "./linked-list.ts";
import type { Linked } from "./linked-list.ts";
import type { Member } from "./source.ts";

export class Lane implements Linked<Lane> {
  readonly key: string;
  /** In the order of acceptance, all behind what is taken. */
  readonly waiting: LinkedList<Entry> = new LinkedList();
  /** Taken and not settled, in the order of acceptance. */
  readonly taken: Set<Entry> = new Set();
  /** Who has what is taken. */
  owner: Member | undefined;
  /** Where it is found by those who may take from it. */
  list: LinkedList<Lane> | undefined;
  previous: Lane | undefined;
  next: Lane | undefined;

  constructor(key: string) {
    this.key = key;
  }
}

export interface Lanes {
  add(entry: Entry, key: string): void;
  /**
   * A lane that the taker may take from: one that nobody has, else one of its own.
   *
   * @param steps how many lanes to pass over, of so many
   */
  next(taker: Member, steps: (lanes: number) => number): Lane | undefined;
  /** Takes the first of a lane that `next` gave. */
  take(lane: Lane, taker: Member): Entry | undefined;
  /** Before all that waits in its lane: to be called for the last one first. */
  putBack(entry: Entry, lane: Lane): void;
  /** It is done. True where others may now take from its lane. */
  settled(entry: Entry, lane: Lane): boolean;
  /** Removes what waits. */
  remove(entry: Entry, lane: Lane): void;
  /** To be called when somebody begins or ends to look at an entry that waits. */
  refresh(lane: Lane): void;
  [Symbol.iterator](): Iterator<Lane>;
}

export function createLanes(): Lanes {
  const lanes = new Map<string, Lane>();
  /** Lanes that nobody has, and those that a member has, as far as there is something to take. They take turns. */
  const free = new LinkedList<Lane>();
  const owned = new WeakMap<Member, LinkedList<Lane>>();

  function ownedBy(member: Member): LinkedList<Lane> {
    let list = owned.get(member);
    if (list === undefined) owned.set(member, (list = new LinkedList()));
    return list;
  }

  function listOf(lane: Lane): LinkedList<Lane> | undefined {
    const { first } = lane.waiting;
    // Nothing overtakes what is being looked at.
    if (first === undefined || first.visited) return undefined;
    return lane.owner === undefined ? free : ownedBy(lane.owner);
  }

  /** Puts a lane where it belongs, or forgets it when it is empty. */
  function refresh(lane: Lane): void {
    if (lane.taken.size === 0) lane.owner = undefined;
    const list = listOf(lane);
    if (lane.list !== list) {
      lane.list?.remove(lane);
      lane.list = list;
      list?.pushBack(lane);
    }
    if (lane.taken.size === 0 && lane.waiting.size === 0) lanes.delete(lane.key);
  }

  return {
    add(entry, key) {
      let lane = lanes.get(key);
      if (lane === undefined) lanes.set(key, (lane = new Lane(key)));
      entry.lane = lane;
      lane.waiting.pushBack(entry);
      refresh(lane);
    },
    next(taker, steps) {
      const list = free.size > 0 ? free : owned.get(taker);
      return list?.at(steps(list.size));
    },
    take(lane, taker) {
      const entry = lane.waiting.first;
      if (entry === undefined) return undefined;
      lane.waiting.remove(entry);
      lane.taken.add(entry);
      lane.owner = taker;
      // To the end of its list: no lane waits for another.
      lane.list?.remove(lane);
      lane.list = undefined;
      refresh(lane);
      return entry;
    },
    putBack(entry, lane) {
      lane.taken.delete(entry);
      lane.waiting.pushFront(entry);
      refresh(lane);
    },
    settled(entry, lane) {
      lane.taken.delete(entry);
      refresh(lane);
      return lane.list === free;
    },
    remove(entry, lane) {
      lane.waiting.remove(entry);
      refresh(lane);
    },
    refresh,
    [Symbol.iterator]: () => lanes.values(),
  };
}
