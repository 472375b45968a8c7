/** Keeps what was read before its time: for a moment in memory, for longer on the group's delay topic. */
import type { Message, Timer, TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay } from "@posthorn/core/transport";
import { decodeRecord } from "./decode.ts";
import type { HeldSlot } from "./held-slot.ts";
import type { Producer } from "./producer.ts";
import type { FetchedRecord } from "./records.ts";
import { holdMs, tierFor, tierMs } from "./tiers.ts";
import type { HeldWindow } from "./places.ts";
import type { Entry } from "./window.ts";

export interface DelaysOptions {
  readonly producer: Producer;
  readonly environment: TransportEnvironment;
  readonly retryTopic: string;
  readonly delayTopic: string;
  /** The partition of the retry topic for a record. */
  readonly partitionFor: (key: Uint8Array | null) => number;
  /** Something of the slot's was settled. */
  readonly onSettled: (slot: HeldSlot) => void;
  /** Something waits again that was held. */
  readonly onReady: () => void;
  readonly onFailed: (error: unknown) => void;
}

export interface Delays {
  /** Keeps an entry that was taken and is not due. */
  keep(slot: HeldSlot, window: HeldWindow, entry: Entry, notBefore: number): void;
  /** Moves on what has waited its time in a tier. */
  pump(slot: HeldSlot): void;
}

/** Most records that are moved at a time from one tier. */
const mostMoved = 500;
const retryBackoff = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;

export function createDelays(options: DelaysOptions): Delays {
  const { producer, environment, retryTopic, delayTopic } = options;
  const { clock } = environment;
  /** Tiers that are pumped, or wait for their first. */
  const pumping = new WeakMap<HeldSlot, { busy: boolean; timer: Timer | undefined; failures: number }>();

  function hold(slot: HeldSlot, window: HeldWindow, entry: Entry, dueInMs: number): void {
    entry.state = "held";
    const timer = clock.setTimeout(() => {
      slot.holding.delete(entry);
      window.giveBack(entry);
      options.onReady();
    }, dueInMs);
    slot.holding.set(entry, { window, timer });
  }

  async function shelve(slot: HeldSlot, window: HeldWindow, entry: Entry, dueInMs: number): Promise<void> {
    const { record } = entry;
    if (record === undefined) return;
    const partition = tierFor(dueInMs);
    const [receipt] = await producer.send([{ topic: delayTopic, partition, record }], slot.lost);
    if (receipt?.accepted === true) {
      window.settle(entry);
      options.onSettled(slot);
      return;
    }
    if (slot.lost.aborted) return;
    options.onFailed(receipt?.error);
    if (!slot.active) {
      window.giveBack(entry);
      options.onSettled(slot);
      return;
    }
    // It is still here, and is looked at again.
    hold(slot, window, entry, retryBackoff.maxMs);
  }

  /** Where a record goes whose tier is over: a shorter one, or back to its group. */
  function next(record: FetchedRecord): { topic: string; partition: number } {
    const { notBefore } = messageOf(record);
    const dueInMs = (notBefore ?? 0) - clock.now();
    if (dueInMs > holdMs) return { topic: delayTopic, partition: tierFor(dueInMs) };
    return { topic: retryTopic, partition: options.partitionFor(record.key) };
  }

  async function pump(slot: HeldSlot): Promise<void> {
    const [window] = slot.windows;
    let state = pumping.get(slot);
    if (state === undefined) pumping.set(slot, (state = { busy: false, timer: undefined, failures: 0 }));
    if (window === undefined || state.busy || !slot.active) return;
    state.timer?.cancel();
    state.timer = undefined;
    const tier = tierMs(slot.slot.number);
    const over: { readonly entry: Entry; readonly record: FetchedRecord }[] = [];
    let waitMs = Infinity;
    for (let head = window.peek(); head?.record !== undefined && over.length < mostMoved; head = window.peek()) {
      // A producer's clock may go before ours: nothing waits longer than its tier.
      waitMs = Math.min(head.record.timestamp, clock.now()) + tier - clock.now();
      if (waitMs > 0) break;
      const entry = window.take();
      if (entry?.record !== undefined) over.push({ entry, record: entry.record });
    }
    if (over.length === 0) {
      if (waitMs < Infinity) state.timer = clock.setTimeout(() => void pump(slot), waitMs, { unref: true });
      return;
    }
    state.busy = true;
    const receipts = await producer.send(
      over.map(({ record }) => ({ ...next(record), record })),
      slot.lost,
    );
    state.busy = false;
    if (slot.lost.aborted) return;
    let refused: unknown;
    receipts.forEach((receipt, index) => {
      const entry = over[index]?.entry;
      if (entry === undefined) return;
      if (receipt.accepted) window.settle(entry);
      else {
        refused ??= receipt.error;
        window.giveBack(entry);
      }
    });
    options.onSettled(slot);
    if (refused === undefined) {
      state.failures = 0;
      void pump(slot);
    } else {
      options.onFailed(refused);
      const againMs = backoffDelay(retryBackoff, ++state.failures, environment.random());
      state.timer = clock.setTimeout(() => void pump(slot), againMs, { unref: true });
    }
  }

  return {
    keep(slot, window, entry, notBefore) {
      const dueInMs = notBefore - clock.now();
      if (dueInMs <= holdMs) {
        hold(slot, window, entry, Math.max(0, dueInMs));
      } else {
        entry.state = "held";
        void shelve(slot, window, entry, dueInMs);
      }
    },
    pump: (slot) => void pump(slot),
  };
}

function messageOf(record: FetchedRecord): Message {
  return decodeRecord(record).message;
}
