/** Looks after a group's topics while they are consumed: that they exist, how many partitions they have, and that they do not grow for ever. */
import type { Timer, TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay, sleep } from "@posthorn/core/transport";
import type { SlotCounts } from "./assignment.ts";
import type { TopicMetadata } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { unroutable } from "./errors.ts";
import type { GroupNames } from "./names.ts";
import type { Settings } from "./options.ts";
import type { HeldWindow } from "./places.ts";
import { createTrimming } from "./trimming.ts";

export interface UpkeepOptions {
  readonly cluster: Cluster;
  readonly environment: TransportEnvironment;
  readonly settings: Pick<Settings, "metadataMaxAgeMs">;
  readonly names: GroupNames;
  readonly ending: AbortSignal;
  /** All partitions that are held. */
  readonly windows: () => readonly HeldWindow[];
  /** Makes the topics again where this transport has made them; false where it has not. */
  readonly restore: (signal: AbortSignal) => Promise<boolean>;
  /** Somebody has added partitions, which nobody reads yet. */
  readonly onGrown: () => void;
  /** Somebody has deleted a topic. @returns what is to be done when it is there again */
  readonly onGone: (topic: string, error: Error) => () => void;
  /** A broker did not know a topic that is there. It may be another one of the same name. */
  readonly onDoubt: (topic: string) => Promise<void>;
  readonly onFailed: (what: string, error: unknown) => void;
}

export interface Upkeep {
  /** Looks after them until the signal fires. */
  start(): Promise<void>;
  /** Waits for a broker that says so. */
  exist(signal: AbortSignal): Promise<boolean>;
  /** Topics that do not exist are not in the result. @throws ConnectionFailure */
  find(signal: AbortSignal, fresh: boolean): Promise<ReadonlyMap<string, TopicMetadata>>;
  /** @throws ConnectionFailure */
  counts(signal: AbortSignal): Promise<SlotCounts>;
  /** A broker does not know the topic. Resolves when it is there, or is to be looked for again. */
  makeAgain(topic: string): Promise<void>;
  /** Deletes what was done with. */
  trim(): void;
}

/** A broker may learn later than others of a topic that was just made. */
const graceMs = 500;
const retryBackoff = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { cluster, environment, settings, names, ending, onFailed } = options;
  const { clock } = environment;
  const { main, retry, delay } = names;
  const all = [main, retry, delay];
  const what = (text: string): string => `The topics of the group ${JSON.stringify(names.group)} ${text}`;

  const trimming = createTrimming({
    cluster,
    windows: () => options.windows().filter(({ topic }) => topic !== main),
    ending,
    onFailed: (error) => onFailed(what("grow: what was done with cannot be deleted"), error),
  });

  const find: Upkeep["find"] = (signal, fresh) => cluster.topics(all, signal, fresh);

  async function countsOf(signal: AbortSignal, fresh: boolean): Promise<SlotCounts> {
    const found = await find(signal, fresh);
    const partitions = (topic: string): number => found.get(topic)?.partitions.length ?? 0;
    return { messages: Math.max(partitions(main), partitions(retry)), delays: partitions(delay) };
  }

  let countsBefore: SlotCounts | undefined;

  async function compareCounts(): Promise<void> {
    try {
      const now = await countsOf(ending, false);
      const grown = countsBefore !== undefined && now.messages > countsBefore.messages;
      countsBefore = now;
      if (grown) options.onGrown();
    } catch (error) {
      if (!ending.aborted && !(error instanceof ConnectionFailure)) onFailed(what("cannot be counted"), error);
    }
  }

  function lookAfter(): void {
    if (ending.aborted) return;
    const timer: Timer = clock.setTimeout(
      () => {
        ending.removeEventListener("abort", cancel);
        void compareCounts();
        void trimming.trim();
        lookAfter();
      },
      settings.metadataMaxAgeMs,
      { unref: true },
    );
    const cancel = (): void => timer.cancel();
    ending.addEventListener("abort", cancel, { once: true });
  }

  let making: Promise<void> | undefined;
  let failures = 0;
  /** Topics that a broker did not know, and that are to be looked for. */
  const missed = new Set<string>();
  /** By topic, what is to be done when it is there again. */
  const gone = new Map<string, () => void>();

  async function look(): Promise<void> {
    await sleep(clock, graceMs, ending);
    const found = await find(ending, true);
    onBack(found);
    for (const topic of Array.from(missed)) {
      if (found.has(topic)) await options.onDoubt(topic);
      else if (!gone.has(topic)) gone.set(topic, options.onGone(topic, absent(topic)));
      missed.delete(topic);
    }
    const [first] = gone.keys();
    if (first === undefined) return;
    if (!(await options.restore(ending))) onFailed(what("cannot be read"), absent(first));
    onBack(await find(ending, true));
    if (gone.size > 0) await pause();
  }

  const absent = (topic: string): Error => unroutable(`topic ${JSON.stringify(topic)}`);

  function onBack(found: ReadonlyMap<string, TopicMetadata>): void {
    for (const [topic, revive] of gone) {
      if (!found.has(topic)) continue;
      gone.delete(topic);
      missed.delete(topic);
      failures = 0;
      revive();
    }
  }

  /** What is gone is looked for until it is there: who reads it sees by itself that it is, and misses it no more. */
  function lookOnce(): Promise<void> {
    making ??= look()
      .catch(async (error: unknown) => {
        if (ending.aborted) return;
        if (!(error instanceof ConnectionFailure)) onFailed(what("cannot be made again"), error);
        await pause();
      })
      .finally(() => {
        making = undefined;
        if (gone.size + missed.size > 0 && !ending.aborted) void lookOnce();
      });
    return making;
  }

  const pause = (): Promise<void> =>
    sleep(clock, backoffDelay(retryBackoff, ++failures, environment.random()), ending).catch(() => undefined);

  return {
    async start() {
      await compareCounts();
      lookAfter();
    },

    async exist(signal) {
      for (let attempt = 1; ; attempt++) {
        try {
          return (await find(signal, true)).size === all.length;
        } catch (error) {
          if (!(error instanceof ConnectionFailure)) throw error;
          await cluster.ready(signal);
          await sleep(clock, backoffDelay(retryBackoff, attempt, environment.random()), signal);
        }
      }
    },

    find,
    counts: (signal) => countsOf(signal, true),

    makeAgain(topic) {
      missed.add(topic);
      return lookOnce();
    },

    trim: () => void trimming.trim(),
  };
}
