/** Tells the group how far it has come: the settled front of every partition, one commit at a time. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable } from "@posthorn/core/transport";
import type { OffsetCommit } from "./client.ts";
import type { Membership } from "./membership.ts";

/** What is settled meanwhile goes with the next. */
const pauseMs = 20;
/** After one that the group did not take. */
const againMs = 100;

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

export interface Commits {
  /** A front has moved. */
  wake(): void;
  /** Resolves when what is settled by now is on record, or cannot be any more. */
  flush(signal: AbortSignal): Promise<void>;
  /** No more commits. */
  end(): void;
}

export function createCommits<Window extends Committable>(options: CommitsOptions<Window>): Commits {
  const { membership, environment, windows, note } = options;
  const { clock } = environment;
  let running = false;
  let ended = false;
  let idle: PromiseWithResolvers<void> | undefined;

  const behind = (): Window[] => [...windows()].filter((window) => window.front !== window.committed || window.stale);

  function wake(): void {
    if (running || ended) return;
    running = true;
    setImmediate(() => void run());
  }

  async function run(): Promise<void> {
    for (let due = behind(); due.length > 0 && !ended; due = behind()) {
      const began = clock.monotonic();
      const outcome = await commit(due);
      if (ended) break;
      const restMs = outcome === "done" ? pauseMs - (clock.monotonic() - began) : againMs;
      // Whoever waits for it has nothing more to settle.
      if (restMs > 0 && (outcome !== "done" || idle === undefined)) await rest(restMs);
    }
    running = false;
    idle?.resolve();
    idle = undefined;
  }

  async function commit(due: readonly Window[]): Promise<"done" | "later" | "lost"> {
    const fronts = due.map((window) => window.front);
    const offsets = due.map((window, index): OffsetCommit => {
      const offset = fronts[index] ?? 0;
      return {
        topic: window.topic,
        partition: window.partition,
        offset: BigInt(offset),
        metadata: note(window, offset),
      };
    });
    try {
      const outcome = await membership.commit(offsets);
      if (outcome !== "done") return outcome;
      due.forEach((window, index) => {
        window.committed = fronts[index] ?? window.committed;
        window.stale = false;
      });
      return outcome;
    } catch (error) {
      options.onFailed(error);
      return "later";
    }
  }

  function rest(forMs: number): Promise<void> {
    return new Promise((resolve) => {
      clock.setTimeout(resolve, forMs);
    });
  }

  return {
    wake,
    async flush(signal) {
      if (ended || (!running && behind().length === 0)) return;
      idle ??= Promise.withResolvers();
      const { promise } = idle;
      wake();
      // Who gives up the waiting does not give up the commit.
      await abortable(promise, signal).catch(() => undefined);
    },
    end() {
      ended = true;
      idle?.resolve();
      idle = undefined;
    },
  };
}
