/**
 * What waits to be appended to one partition, in order, and the numbers under which it is sent. No input or output here: the
 * producer tells it what became of a batch. See `producer.ts` for the reasons.
 */
import type { Receipt } from "@posthorn/core/transport";
import type { ProduceBatch } from "./client.ts";
import type { OutgoingRecord } from "./records.ts";
import { batchOverheadBytes } from "./records.ts";

/** A record on its way. */
export interface Append {
  readonly record: OutgoingRecord;
  /** As `recordBytes` says. */
  readonly bytes: number;
  /** Once it has one nobody waits for it any more. */
  receipt: Receipt | undefined;
  /** It is in a batch that is on the wire, or in doubt. Else it is certainly not on the broker. */
  sent: boolean;
}

/** What was sent at once, and is sent again only as it was. */
export interface Batch<A extends Append> extends ProduceBatch {
  readonly line: PartitionLine<A>;
  readonly appends: readonly A[];
  /** It may be there without our knowing. */
  inDoubt: boolean;
}

/**
 * - `idle`: nothing is under way.
 * - `queued`: it waits for its turn with its leader, or for the leader to be looked up.
 * - `flying`: its batch is in a request that is not answered.
 * - `resting`: it failed, and goes on when it was seen who leads.
 */
export type LineState = "idle" | "queued" | "flying" | "resting";

/** Sequence numbers have 31 bits and go on at 0. */
const sequenceMask = 0x7fff_ffff;
const lastEpoch = 0x7fff;
/** By how much a batch may grow again after one of that size was taken. */
const widening = 1.25;

export class PartitionLine<A extends Append> {
  readonly topic: string;
  readonly partition: number;
  state: LineState = "idle";
  /** Since something was taken. */
  failures = 0;
  lastError: unknown;
  /** When it was first heard that the partition does not exist; on the monotonic clock. */
  missingSince: number | undefined;
  /** Names its numbers. `undefined` before the first batch, and when the id is no good any more. */
  producerId: bigint | undefined;
  #epoch = 0;
  #nextSequence = 0;
  /** Without the one in doubt. */
  #waiting: A[] = [];
  #batch: Batch<A> | undefined;
  readonly #mostBytes: number;
  /** At present: less than that after the broker refused a batch. */
  #batchBytes: number;

  /** @param mostBytes of a batch, one record aside */
  constructor(topic: string, partition: number, mostBytes: number) {
    this.topic = topic;
    this.partition = partition;
    this.#mostBytes = mostBytes;
    this.#batchBytes = mostBytes;
  }

  /** Whether nobody waits for anything. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0 && (this.#batch === undefined || this.isDeserted);
  }

  /** Whether there is a batch in doubt for which nobody waits any more. Its numbers must not be used again. */
  get isDeserted(): boolean {
    return this.#batch?.appends.every(({ receipt }) => receipt !== undefined) === true;
  }

  /** Whether the partition, which does not exist, has not existed for so long. */
  isMissingFor(durationMs: number, now: number): boolean {
    this.missingSince ??= now;
    return now - this.missingSince >= durationMs;
  }

  push(append: A): void {
    this.#waiting.push(append);
  }

  /** What has no receipt yet. */
  pending(): A[] {
    return [...(this.#batch?.appends ?? []), ...this.#waiting].filter(({ receipt }) => receipt === undefined);
  }

  /** Forgets what has its receipt and was not sent. */
  prune(): void {
    this.#waiting = this.#waiting.filter(({ receipt }) => receipt === undefined);
  }

  /** What is to be sent: what is in doubt as it was, else as much of what waits as goes into one batch. */
  next(producerId: bigint): Batch<A> | undefined {
    if (this.#batch !== undefined) return this.#batch;
    this.producerId ??= producerId;
    let recordsBytes = 0;
    let count = 0;
    for (const { bytes } of this.#waiting) {
      if (count > 0 && batchOverheadBytes + recordsBytes + bytes > this.#batchBytes) break;
      recordsBytes += bytes;
      count++;
    }
    if (count === 0) return undefined;
    const appends = this.#waiting.splice(0, count);
    for (const append of appends) append.sent = true;
    this.#batch = {
      line: this,
      topic: this.topic,
      partition: this.partition,
      producerId: this.producerId,
      producerEpoch: this.#epoch,
      firstSequence: this.#nextSequence,
      records: appends.map(({ record }) => record),
      recordsBytes,
      appends,
      inDoubt: false,
    };
    return this.#batch;
  }

  /** The batch is there. */
  landed(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#nextSequence = (batch.firstSequence + batch.appends.length) & sequenceMask;
    this.#batch = undefined;
    this.failures = 0;
    this.lastError = undefined;
    this.missingSince = undefined;
    this.#batchBytes = Math.min(this.#mostBytes, this.#batchBytes * widening);
  }

  /** The batch is not there, and none of it ever was: what it had goes back to the front. */
  takeBack(): void {
    const appends = this.#batch?.appends.filter(({ receipt }) => receipt === undefined) ?? [];
    this.#batch = undefined;
    for (const append of appends) append.sent = false;
    this.#waiting.unshift(...appends);
  }

  /** The next batches are at most half as large as the given one. */
  narrow(batch: Batch<A>): void {
    this.#batchBytes = Math.floor((batchOverheadBytes + batch.recordsBytes) / 2);
  }

  /**
   * Gives up a batch in doubt, and its numbers with it.
   *
   * @returns false when the epochs of the producer id are used up: then it needs another id
   */
  raiseEpoch(): boolean {
    this.#batch = undefined;
    this.#nextSequence = 0;
    if (this.#epoch === lastEpoch) return false;
    this.#epoch++;
    return true;
  }

  /** Begins again under the next producer id that it is given. */
  forgetProducerId(): void {
    this.#batch = undefined;
    this.producerId = undefined;
    this.#epoch = 0;
    this.#nextSequence = 0;
  }
}
