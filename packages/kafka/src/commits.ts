/** Tells the group how far it has come: the settled front of every partition, one commit at a time. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable } from "@posthorn/core/transport";
import type { OffsetCommit } from "./client.ts";
import type { Membership } from "./membership.ts";

/** What is settled meanwhile goes with the next. */
const pauseMs = 20;
/** After one that the group did not take. */
const againMs = 100;
/** After one that it refused. */
const refusedMs = 5_000;

/** A partition whose front moves. */
export interface Committable {
  readonly topic: string;
  readonly partition: number;
  readonly front: number;
  committed: number;
  /** What stands beside it has changed. */
  stale: boolean;
}

export interface CommitsOptions<Window extends Committable> {
  readonly membership: Pick<Membership, "commit">;
  readonly environment: TransportEnvironment;
  /** All partitions that are held. */
  readonly windows: () => Iterable<Window>;
  /** What is written beside the offset. */
  readonly note: (window: Window, offset: number) => string;
  readonly onFailed: (error: unknown) => void;
}

export interface Commits<Window> {
  /** A front has moved. */
  wake(): void;
  /** Resolves when what these have settled is on record, or cannot be any more: they are held no longer. */
  flush(windows: readonly Window[], signal: AbortSignal): Promise<void>;
  /** No more commits. */
  end(): void;
}

export function createCommits<Window extends Committable>(options: CommitsOptions<Window>): Commits<Window> {
  const { membership, environment, windows, note } = options;
  const { clock } = environment;
  let running = false;
  let ended = false;
  const waiting = new Set<{ readonly windows: readonly Window[]; readonly done: () => void }>();

  /** Left out until then. */
  const refused = new WeakMap<Window, number>();

  const isDue = (window: Window): boolean =>
    (window.front !== window.committed || window.stale) && (refused.get(window) ?? -Infinity) <= clock.monotonic();

  function tellWaiting(): void {
    if (waiting.size === 0) return;
    const held = new Set(windows());
    for (const waiter of waiting) {
      if (!ended && waiter.windows.some((window) => held.has(window) && isDue(window))) continue;
      waiting.delete(waiter);
      waiter.done();
    }
  }

  function wake(): void {
    if (running || ended) return;
    running = true;
    setImmediate(() => void run());
  }

  async function run(): Promise<void> {
    for (;;) {
      tellWaiting();
      const due = [...windows()].filter(isDue);
      if (due.length === 0 || ended) break;
      const began = clock.monotonic();
      const done = await commit(due);
      if (ended) break;
      const restMs = done ? pauseMs - (clock.monotonic() - began) : againMs;
      tellWaiting();
      // Whoever waits has nothing more to settle.
      if (restMs > 0 && (!done || waiting.size === 0)) await rest(restMs);
    }
    running = false;
  }

  /** @returns whether there is nothing to be tried again soon */
  async function commit(due: readonly Window[]): Promise<boolean> {
    const offsets = due.map((window): OffsetCommit => ({
      topic: window.topic,
      partition: window.partition,
      offset: BigInt(window.front),
      metadata: note(window, window.front),
    }));
    // It may become so again while this is under way.
    const stale = new Set(due.filter((window) => window.stale));
    for (const window of stale) window.stale = false;
    const outcomes = await membership.commit(offsets);
    due.forEach((window, index) => {
      const outcome = outcomes[index];
      if (outcome === "done") window.committed = Number(offsets[index]?.offset);
      else if (stale.has(window)) window.stale = true;
      if (outcome instanceof Error) refuse(window, outcome);
    });
    return outcomes.every((outcome) => outcome === "done" || outcome instanceof Error);
  }

  /** One partition's trouble holds up no other's commit. */
  function refuse(window: Window, error: Error): void {
    refused.set(window, clock.monotonic() + refusedMs);
    clock.setTimeout(wake, refusedMs, { unref: true });
    options.onFailed(error);
  }

  function rest(forMs: number): Promise<void> {
    return new Promise((resolve) => {
      clock.setTimeout(resolve, forMs);
    });
  }

  return {
    wake,
    async flush(which, signal) {
      if (ended) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const waiter = { windows: which, done: resolve };
      waiting.add(waiter);
      tellWaiting();
      wake();
      // Who gives up the waiting does not give up the commit.
      await abortable(promise, signal).catch(() => undefined);
      waiting.delete(waiter);
    },
    end() {
      ended = true;
      tellWaiting();
    },
  };
}
