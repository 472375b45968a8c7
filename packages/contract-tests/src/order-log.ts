import assert from "node:assert/strict";
import type { Handler } from "@posthorn/core";
import type { Keyed } from "./contracts.ts";
import type { Call } from "./recorder.ts";
import type { World } from "./world.ts";

/** A handling that has ended well. */
export interface Handled extends Keyed {
  readonly instance: string;
  readonly attempt: number;
}

/** What several instances of a group have handled between them, key by key. */
export interface OrderLog {
  /** A handler that is told apart from those of other instances. `react` runs while the key counts as busy; what it throws fails the attempt. */
  handlerOf(instance: string, react?: (call: Call<Keyed>) => unknown): Handler<Keyed>;
  /** Every handling that ended well, in the order of the ends. */
  readonly handled: readonly Handled[];
  /** Handlings that began while another one of the same key went on that was not told to stop: that still had its lease. */
  readonly overlaps: readonly string[];
  /** Most keys that were busy at a time. */
  readonly mostKeys: number;
  /** How many different messages were handled. */
  readonly distinct: number;
  waitForDistinct(count: number, withinMs?: number): Promise<void>;
  seqsOf(key: string): readonly number[];
}

/** A handler that yields, so that whoever else has the same key can show it. */
const yieldOnce = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export function createOrderLog(world: World): OrderLog {
  const handled: Handled[] = [];
  const overlaps: string[] = [];
  const busy = new Map<string, { readonly what: string; readonly signal: AbortSignal }>();
  const seen = new Set<string>();
  let mostKeys = 0;
  return {
    handled,
    overlaps,
    get mostKeys() {
      return mostKeys;
    },
    get distinct() {
      return seen.size;
    },
    handlerOf(instance, react = () => undefined) {
      return world.recorder<Keyed>(async (call) => {
        const { key, seq } = call.data;
        const other = busy.get(key);
        if (other?.signal.aborted === false) overlaps.push(`${key}/${seq} began at ${instance} during ${other.what}`);
        const own = { what: `${key}/${seq} at ${instance}`, signal: call.context.signal };
        busy.set(key, own);
        mostKeys = Math.max(mostKeys, busy.size);
        try {
          await yieldOnce();
          await react(call);
          handled.push({ key, seq, instance, attempt: call.context.attempt });
          seen.add(`${key}/${seq}`);
        } finally {
          if (busy.get(key) === own) busy.delete(key);
        }
      }).handler;
    },
    // Of each key one after the other, so this takes as many turns as a key has messages.
    async waitForDistinct(count, withinMs = 4 * world.bounds.patienceMs) {
      await world.eventually(`${count} different messages to be handled`, () => seen.size >= count, {
        withinMs,
        seen: () => ({ distinct: seen.size, last: handled.slice(-10) }),
      });
    },
    seqsOf: (key) => handled.filter((each) => each.key === key).map(({ seq }) => seq),
  };
}

/** Each of the keys was handled from 0 to `perKey - 1`, in this order and each once. */
export function assertExactOrder(log: OrderLog, keys: readonly string[], perKey: number): void {
  assertFirstsInOrder(log, keys, perKey);
  assert.equal(log.handled.length, keys.length * perKey, "each message once");
  assert.deepEqual(log.overlaps, [], "one at a time for each key");
}

/**
 * The same after keys have changed hands without a fault. Where only a prefix is settled, what was handled behind a gap comes again with
 * its partition, and a partition changes hands although something of it is being handled, which is then told to stop.
 */
export function assertOrderAcross(world: World, log: OrderLog, keys: readonly string[], perKey: number): void {
  if (world.harness.capabilities.settlement === "message") assertExactOrder(log, keys, perKey);
  else assertFirstsInOrder(log, keys, perKey);
  assert.deepEqual(log.overlaps, [], "one at a time for each key, whoever has it");
}

/** Leaving repetitions aside, each of the keys was handled from 0 to `perKey - 1`, in this order. */
export function assertFirstsInOrder(log: OrderLog, keys: readonly string[], perKey: number): void {
  for (const key of keys) {
    const firsts = [...new Set(log.seqsOf(key))];
    const wrong = firsts.findIndex((seq, index) => seq !== index);
    assert.equal(
      wrong,
      -1,
      `key ${key} was handled in the order ${firsts.slice(Math.max(0, wrong - 3), wrong + 5).join(", ")}`,
    );
    assert.equal(firsts.length, perKey, `of key ${key} everything was handled`);
  }
}

export function keysOf(count: number): readonly string[] {
  return Array.from({ length: count }, (_, n) => `key-${n}`);
}
