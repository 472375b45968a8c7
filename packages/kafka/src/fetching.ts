/** Brings records from the brokers into the windows: one fetch at a time from each broker, as much as there is room for. */
import type { Timer, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type { FetchedPartition } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, errorCodes, isPassing, kafkaError, unreadable } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { HeldWindow } from "./places.ts";
import { longestWindow } from "./window.ts";

export interface FetchingOptions {
  readonly cluster: Cluster;
  readonly environment: TransportEnvironment;
  readonly settings: Settings;
  readonly lane: string;
  readonly ending: AbortSignal;
  /** All partitions that are read now. */
  readonly windows: () => Iterable<HeldWindow>;
  /** How many more records of a partition are wanted when fewer wait; 0 while it takes none. */
  readonly wanted: (window: HeldWindow) => number;
  readonly onRecords: () => void;
  /** The records at the window's position are not there any more, or not yet. */
  readonly onOutOfRange: (window: HeldWindow) => void;
  /** A broker does not know the topic. */
  readonly onMissing: (topic: string) => void;
  readonly onFailed: (error: unknown) => void;
}

export interface Fetching {
  /** Something has changed: there is room, or a partition more. */
  wake(): void;
}

const partitionBytes = 1_048_576;
/** While some partitions are left out of a fetch, for room, it must not wait long: they may be wanted soon. */
const impatientMs = 50;
const retryBackoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.5 } as const;
/** Whom one asks who leads. */
const anyBroker = -1;
/** What cannot be read today can perhaps be read tomorrow, by another version. */
const unreadableRetryMs = 10_000;

export function createFetching(options: FetchingOptions): Fetching {
  const { cluster, environment, settings, lane, ending } = options;
  const { clock } = environment;
  /** Brokers that are asked now. */
  const asked = new Set<number>();
  /** Left out until it fires. */
  const blocked = new WeakMap<HeldWindow, Timer>();
  let woken = false;
  let refreshing = false;
  /** In a row, for partitions that have no leader. */
  let leaderlessLooks = 0;
  /** In a row, by broker. */
  const failures = new Map<number, number>();
  const over = (): boolean => ending.aborted || cluster.closed;

  function wake(): void {
    if (woken || ending.aborted) return;
    woken = true;
    setImmediate(() => {
      woken = false;
      fetchAll();
    });
  }

  function fetchAll(): void {
    if (over()) return;
    const room = { messages: settings.fetchMaxBytes, delays: delaysShare(settings.fetchMaxBytes) };
    const byLeader = new Map<number, HeldWindow[]>();
    const leaderless = new Set<string>();
    let leftOut = false;
    for (const window of options.windows()) {
      room[window.slot.slot.kind] -= window.bytes;
      const leader = cluster.leader(window.topic, window.partition);
      if (leader === undefined) leaderless.add(window.topic);
      else if (window.waiting >= options.wanted(window) || window.length >= longestWindow || blocked.has(window))
        leftOut = true;
      else {
        const others = byLeader.get(leader);
        if (others === undefined) byLeader.set(leader, [window]);
        else others.push(window);
      }
    }
    if (leaderless.size === 0) leaderlessLooks = 0;
    else if (!refreshing) void refresh(leaderless, ++leaderlessLooks);
    const share = Math.ceil((Math.max(0, room.messages) + Math.max(0, room.delays)) / byLeader.size);
    for (const [leader, led] of byLeader) {
      const windows = led.filter(({ slot }) => room[slot.slot.kind] > 0);
      if (windows.length < led.length) leftOut = true;
      if (asked.has(leader) || windows.length === 0) continue;
      asked.add(leader);
      const maxWaitMs = leftOut ? Math.min(impatientMs, settings.fetchMaxWaitMs) : settings.fetchMaxWaitMs;
      void fetchFrom(leader, windows, share, maxWaitMs);
    }
  }

  async function fetchFrom(
    leader: number,
    windows: readonly HeldWindow[],
    maxBytes: number,
    maxWaitMs: number,
  ): Promise<void> {
    try {
      const connection = await cluster.node(leader, lane, ending);
      const positions = new Map(windows.map((window) => [window, window.position]));
      const answers = await connection.fetch({
        maxWaitMs,
        maxBytes,
        partitions: windows.map((window) => ({
          topic: window.topic,
          partition: window.partition,
          offset: BigInt(window.position),
          maxBytes: Math.min(partitionBytes, maxBytes),
        })),
      });
      failures.delete(leader);
      for (const answer of answers) {
        const window = windows.find(({ topic, partition }) => topic === answer.topic && partition === answer.partition);
        // It may have been set elsewhere meanwhile.
        if (window !== undefined && window.position === positions.get(window)) take(window, answer);
      }
      options.onRecords();
    } catch (error) {
      if (over()) return;
      if (!(error instanceof ConnectionFailure)) options.onFailed(error);
      await recover(leader);
      // Others may lead by now.
      await refresh(new Set(windows.map(({ topic }) => topic)));
    } finally {
      asked.delete(leader);
      wake();
    }
  }

  function take(window: HeldWindow, answer: FetchedPartition): void {
    const { error, undecodable } = answer;
    const what = `partition ${answer.partition} of topic ${JSON.stringify(answer.topic)}`;
    if (error === 0) {
      window.append(answer.records, Number(answer.next));
      if (undecodable === undefined) return;
      options.onFailed(unreadable(what, undecodable));
      block(window, unreadableRetryMs);
    } else if (error === errorCodes.OFFSET_OUT_OF_RANGE) {
      block(window, impatientMs);
      options.onOutOfRange(window);
    } else {
      const passing = isPassing(error);
      if (!passing) options.onFailed(kafkaError(error, what));
      block(window, passing ? impatientMs : unreadableRetryMs);
      if (errorClass(error) === "unroutable") options.onMissing(window.topic);
      void refresh(new Set([window.topic]));
    }
  }

  function block(window: HeldWindow, forMs: number): void {
    blocked.get(window)?.cancel();
    const unblock = (): void => {
      blocked.delete(window);
      wake();
    };
    blocked.set(window, clock.setTimeout(unblock, forMs, { unref: true }));
  }

  /** Asks who leads what, and tells of what does not exist. */
  async function refresh(topics: ReadonlySet<string>, looks = 1): Promise<void> {
    if (refreshing || over()) return;
    refreshing = true;
    try {
      const found = await cluster.topics(topics, ending, true);
      failures.delete(anyBroker);
      for (const topic of topics) if (!found.has(topic)) options.onMissing(topic);
      // What was learnt is of use at once.
      wake();
      await sleep(clock, backoffDelay(retryBackoff, looks, environment.random()), ending);
    } catch (error) {
      if (over()) return;
      if (!(error instanceof ConnectionFailure)) options.onFailed(error);
      await recover(anyBroker);
    } finally {
      refreshing = false;
      wake();
    }
  }

  async function recover(broker: number): Promise<void> {
    const failed = (failures.get(broker) ?? 0) + 1;
    failures.set(broker, failed);
    try {
      await abortable(cluster.ready(ending), ending);
      await sleep(clock, backoffDelay(retryBackoff, failed, environment.random()), ending);
    } catch (error) {
      if (!over()) throw error;
    }
  }

  return { wake };
}

/** Of the bytes that may be held. Big messages that are being handled must not keep small ones from coming back in time. */
function delaysShare(bytes: number): number {
  return Math.ceil(bytes / 8);
}
