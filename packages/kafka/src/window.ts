/**
 * What a member has of one partition between what is committed and what is fetched.
 *
 * Records leave in any order; only the run of settled ones at the front can be committed. One that stays open holds up the
 * commit, not its neighbours. The window's length is bounded by whoever fetches.
 */
import type { FetchedRecord } from "./records.ts";

/** Most records between the oldest that is open and the newest that is here: what a crash can bring back of one partition. */
export const longestWindow = 10_000;

/**
 * `waiting`: may be delivered. `held`: until its time, or while it is moved elsewhere. `pending`: in somebody's hands. `settled`: done
 * with, behind one that is not.
 */
export type EntryState = "waiting" | "held" | "pending" | "settled";

export interface Entry {
  readonly offset: number;
  readonly bytes: number;
  state: EntryState;
  /** Gone once it is settled: the place is all that counts then. */
  record: FetchedRecord | undefined;
}

export class PartitionWindow {
  readonly topic: string;
  readonly partition: number;
  /** Where the next fetch begins. */
  position: number;
  /** What the group has on record. */
  committed: number;
  /** Bytes of records that are here. */
  bytes = 0;
  /** Entries in somebody's hands, held ones included. */
  open = 0;
  readonly #entries: Entry[] = [];
  /** Entries before it have left. */
  #first = 0;
  readonly #waiting: Entry[] = [];
  #nextWaiting = 0;

  constructor(topic: string, partition: number, position: number) {
    this.topic = topic;
    this.partition = partition;
    this.position = position;
    this.committed = position;
  }

  /** From the oldest entry that is not settled to the newest. */
  get length(): number {
    return this.#entries.length - this.#first;
  }

  get waiting(): number {
    return this.#waiting.length - this.#nextWaiting;
  }

  /** What can be committed: everything before it is settled. */
  get front(): number {
    return this.#entries[this.#first]?.offset ?? this.position;
  }

  /** Takes what a fetch brought. @param next where the next one begins */
  append(records: readonly FetchedRecord[], next: number): void {
    for (const record of records) {
      const offset = Number(record.offset);
      if (offset < this.position) continue;
      const bytes = recordSize(record);
      const entry: Entry = { offset, bytes, state: "waiting", record };
      this.bytes += bytes;
      this.#entries.push(entry);
      this.#waiting.push(entry);
    }
    this.position = Math.max(this.position, next);
  }

  /** The oldest that waits; it stays. */
  peek(): Entry | undefined {
    return this.#waiting[this.#nextWaiting];
  }

  /** The oldest that waits, which is `pending` from now on. */
  take(): Entry | undefined {
    const entry = this.#waiting[this.#nextWaiting];
    if (entry === undefined) return undefined;
    this.#nextWaiting++;
    if (this.#nextWaiting > 512 && this.#nextWaiting * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#nextWaiting);
      this.#nextWaiting = 0;
    }
    entry.state = "pending";
    this.open++;
    // What was fetched together lies in one buffer: one record must not keep all of it.
    if (entry.record !== undefined) entry.record = ownRecord(entry.record);
    return entry;
  }

  /** Back to those that wait, in its place. */
  giveBack(entry: Entry): void {
    if (entry.state !== "pending" && entry.state !== "held") return;
    entry.state = "waiting";
    this.open--;
    let index = this.#nextWaiting;
    while (index < this.#waiting.length && (this.#waiting[index]?.offset ?? Infinity) < entry.offset) index++;
    this.#waiting.splice(index, 0, entry);
  }

  settle(entry: Entry): void {
    if (entry.state !== "pending" && entry.state !== "held") return;
    entry.state = "settled";
    entry.record = undefined;
    this.bytes -= entry.bytes;
    this.open--;
    while (this.#entries[this.#first]?.state === "settled") this.#first++;
    if (this.#first > 512 && this.#first * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#first);
      this.#first = 0;
    }
  }

  /** Those that are pending and lie behind, the newest first. */
  pendingBehind(offset: number): readonly Entry[] {
    const found: Entry[] = [];
    for (let index = this.#entries.length - 1; index >= this.#first; index--) {
      const entry = this.#entries[index];
      if (entry === undefined || entry.offset <= offset) break;
      if (entry.state === "pending") found.push(entry);
    }
    return found;
  }
}

/** What lies beside the bytes themselves. */
const overheadBytes = 200;

function recordSize({ key, value, headers }: FetchedRecord): number {
  let bytes = overheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, text] of headers) bytes += name.length + (text?.length ?? 0);
  return bytes;
}

/** All of it in one buffer: one for each header would cost more than the copying. */
function ownRecord(record: FetchedRecord): FetchedRecord {
  const { topic, partition, offset, timestamp, key, value, headers } = record;
  let size = (key?.length ?? 0) + (value?.length ?? 0);
  for (const [, text] of headers) size += text?.length ?? 0;
  const whole = Buffer.allocUnsafeSlow(size);
  let end = 0;
  const own = (bytes: Uint8Array | null): Uint8Array | null => {
    if (bytes === null) return null;
    const start = end;
    end += bytes.length;
    whole.set(bytes, start);
    return whole.subarray(start, end);
  };
  return {
    topic,
    partition,
    offset,
    timestamp,
    key: own(key),
    value: own(value),
    headers: headers.map(([name, text]) => [name, own(text)] as const),
  };
}
