/** Dead letters that are to be removed: a tombstone each, in batches, while others are still visited. */
import { createNotice } from "@posthorn/core/transport";
import { bytesOfKey } from "./dead-letter-index.ts";
import type { PartitionAppend, Producer } from "./producer.ts";

export interface Removals {
  add(key: string): void;
  /** Resolves when fewer than `count` have not taken effect. @throws why one failed */
  untilFewerThan(count: number): Promise<void>;
  /** Resolves when nothing is under way any more, whatever became of it. */
  over(): Promise<void>;
}

/**
 * They go on when nobody waits for them any more: what was said to be removed has mostly been sent elsewhere. The producer ends
 * them when it is closed.
 */
export function createRemovals(producer: Pick<Producer, "send">, topic: string): Removals {
  const never = new AbortController().signal;
  const changed = createNotice();
  let waiting: string[] = [];
  let underWay = 0;
  let failure: { readonly error: unknown } | undefined;

  async function send(): Promise<void> {
    while (waiting.length > 0 && failure === undefined) {
      const keys = waiting;
      waiting = [];
      underWay = keys.length;
      const receipts = await producer.send(
        keys.map((key) => tombstone(topic, key)),
        never,
      );
      for (const receipt of receipts) if (!receipt.accepted) failure ??= { error: receipt.error };
      underWay = 0;
      changed.notify();
    }
  }

  return {
    add(key) {
      waiting.push(key);
      if (underWay === 0) void send();
    },
    async untilFewerThan(count) {
      while (failure === undefined && waiting.length + underWay >= count) await changed.next;
      if (failure !== undefined) throw failure.error;
    },
    async over() {
      while (underWay > 0) await changed.next;
    },
  };
}

/** A record without a value: the key's last, so that compaction takes all that were before. */
export function tombstone(topic: string, key: string): PartitionAppend {
  return { topic, partition: 0, record: { key: bytesOfKey(key), value: null, headers: [] } };
}
