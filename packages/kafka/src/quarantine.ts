/** Handing out what may kill the process: written down first, and dead-lettered when it has done so often enough. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay, sleep } from "@posthorn/core/transport";
import type { Membership } from "./membership.ts";
import type { HeldWindow } from "./places.ts";
import type { Producer } from "./producer.ts";
import { begin, noteFor } from "./starts.ts";
import type { Entry } from "./window.ts";

export interface QuarantineOptions {
  readonly membership: Membership;
  readonly producer: Producer;
  readonly environment: TransportEnvironment;
  readonly instance: string;
  readonly deadLetterTopic: string;
  readonly deliveryLimit: number;
  readonly ending: AbortSignal;
  readonly onFailed: (what: string, error: unknown) => void;
}

export interface Quarantine {
  /** Resolves true when the entry is to be handed out now, and false when that has been dealt with otherwise. */
  begin(window: HeldWindow, entry: Entry): Promise<boolean>;
}

const retryBackoff = { initialMs: 50, factor: 2, maxMs: 2_000, jitter: 0.5 } as const;

export function createQuarantine(options: QuarantineOptions): Quarantine {
  const { membership, producer, environment, instance, ending, onFailed } = options;
  const { clock, random } = environment;

  const pause = (forMs: number): Promise<void> => sleep(clock, forMs, ending).catch(() => undefined);

  /** Resolves true when it is on record that the window's next message is begun alone. */
  async function writeDown(window: HeldWindow): Promise<boolean> {
    const { slot, topic, partition, starts } = window;
    for (let attempt = 1; !slot.lost.aborted && !ending.aborted; attempt++) {
      const offset = window.front;
      const metadata = noteFor(starts, instance, offset);
      const [outcome] = await membership.commit([{ topic, partition, offset: BigInt(offset), metadata }]);
      if (outcome === "done") {
        window.committed = offset;
        return true;
      }
      if (outcome instanceof Error) onFailed("What is begun cannot be written down", outcome);
      await pause(backoffDelay(retryBackoff, attempt, random()));
    }
    return false;
  }

  async function bury(window: HeldWindow, entry: Entry): Promise<void> {
    const { record } = entry;
    if (record === undefined) return;
    const letter = { ...record, key: Buffer.from(crypto.randomUUID()) };
    const { lost } = window.slot;
    const [receipt] = await producer.send([{ topic: options.deadLetterTopic, partition: 0, record: letter }], lost);
    if (lost.aborted) return;
    const where = `offset ${entry.offset} of partition ${window.partition} of ${JSON.stringify(window.topic)}`;
    if (receipt?.accepted === true) {
      window.settle(entry);
      onFailed(
        `The message at ${where} ended its process ${options.deliveryLimit} times and was dead-lettered`,
        undefined,
      );
      return;
    }
    onFailed(`The message at ${where} ends its process and cannot be dead-lettered`, receipt?.error);
    await pause(retryBackoff.maxMs);
    window.giveBack(entry);
  }

  return {
    async begin(window, entry) {
      if (begin(window.starts, entry.offset) <= options.deliveryLimit) return writeDown(window);
      await bury(window, entry);
      return false;
    },
  };
}
