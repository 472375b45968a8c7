/**
 * Receiving from a group's inlet until stopped: a member of the consumer group, what it holds, and the work on it.
 *
 * One message's life: fetched into its partition's window, handed out, settled, and committed once everything before it is. A slot's life: given
 * by the group, opened where the group has come to, worked on, and given up when the group wants it elsewhere and nothing of it is
 * open any more; or lost, and then all that is open of it is void.
 */
import type { Consumption, InletAddress, Receive, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type { Slot } from "./assignment.ts";
import { slotId } from "./assignment.ts";
import type { TopicPartition } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { createCommits } from "./commits.ts";
import { createDelays } from "./delays.ts";
import { createDeliveries } from "./deliveries.ts";
import { retentionPassed, unroutable } from "./errors.ts";
import { createFetching } from "./fetching.ts";
import { HeldSlot } from "./held-slot.ts";
import { createMembership } from "./membership.ts";
import { groupNames } from "./names.ts";
import type { Settings } from "./options.ts";
import { createPartitioner } from "./partitioner.ts";
import type { HeldWindow } from "./places.ts";
import { createPlaces } from "./places.ts";
import type { Producer } from "./producer.ts";
import { createQuarantine } from "./quarantine.ts";
import { isSuspect, noteFor } from "./starts.ts";
import { createTelling } from "./telling.ts";
import { createUpkeep } from "./upkeep.ts";

export interface IntakeOptions {
  readonly cluster: Cluster;
  readonly producer: Producer;
  readonly settings: Settings;
  readonly environment: TransportEnvironment;
  /** Names this process in what it leaves on the broker. */
  readonly instance: string;
  /** Tells this consumption's lines of work from those of others. */
  readonly id: number;
  readonly source: InletAddress;
  readonly receive: Receive;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** Makes the group's topics again where this transport has made them; false where it has not. */
  readonly restore: (signal: AbortSignal) => Promise<boolean>;
  readonly onLost: (error: Error) => void;
  readonly onRestored: () => void;
  readonly onFailed: (detail: string, error: unknown) => void;
  readonly onEnded: () => void;
}

export interface Intake {
  readonly consumption: Consumption;
  /** Resolves when it receives. @throws UNROUTABLE */
  start(signal: AbortSignal): Promise<void>;
  /** Commits what is settled and leaves the group; at once when the signal has fired. */
  close(signal: AbortSignal): Promise<void>;
}

/** Records that wait in a window beside what is handed out, so that nobody waits for a fetch. */
const fewestWaiting = 32;
const mostWaiting = 1_024;
/** Slots that are given up at about the same time go with one joining. */
const gatherMs = 30;
/** So often all slots wait for each other, as after a topic was made; then one without a leader holds up no other. */
const attemptsTogether = 4;
const retryBackoff = { initialMs: 50, factor: 2, maxMs: 2_000, jitter: 0.5 } as const;

export function createIntake(options: IntakeOptions): Intake {
  const { cluster, producer, settings, environment, instance, source } = options;
  const { clock } = environment;
  const { channel } = source;
  const names = groupNames(source);
  const { group, main, retry, delay } = names;
  const quoted = JSON.stringify(group);
  const ending = new AbortController();
  const held = new Map<string, HeldSlot>();
  const partitioner = createPartitioner(environment.random);
  let stopping = false;
  let restoring = false;
  let rejoinTimer = false;
  const done = Promise.withResolvers<void>();

  const allSlots = (): readonly HeldSlot[] => [...held.values()];
  const messageSlots = (): readonly HeldSlot[] => allSlots().filter(({ slot }) => slot.kind === "messages");
  const windowsOf = (slots: readonly HeldSlot[]): HeldWindow[] => slots.flatMap(({ windows }) => windows);

  const onFailed = createTelling(clock, (what, error) => {
    if (!ending.signal.aborted) options.onFailed(what, error);
  });

  const upkeep = createUpkeep({
    cluster,
    environment,
    settings,
    names,
    ending: ending.signal,
    windows: () => windowsOf(allSlots()),
    restore: options.restore,
    onGrown: () => membership.rejoin(),
    onGone(topic, error) {
      const struck = slotsOn(topic);
      if (struck.length > 0 && !restoring) {
        restoring = true;
        options.onLost(error);
      }
      return () => reopen(struck, error);
    },
    onDoubt: doubt,
    onFailed,
  });

  const membership = createMembership({
    cluster,
    environment,
    group,
    lane: `group-${options.id}`,
    sessionTimeoutMs: settings.sessionTimeoutMs,
    heartbeatIntervalMs: settings.heartbeatIntervalMs,
    rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
    topics: [main, retry, delay],
    counts: (signal) => upkeep.counts(signal),
    partitionsOf,
    held: () => allSlots().map(({ slot }) => slot),
    leaving: () => stopping,
    onAssigned,
    onLost(error) {
      for (const slot of held.values()) slot.void(error);
      held.clear();
      if (stopping) {
        end();
        return;
      }
      restoring = true;
      options.onLost(error);
    },
    onFailed: (error) => onFailed(`The group ${quoted} cannot be joined`, error),
  });

  const commits = createCommits<HeldWindow>({
    membership,
    environment,
    windows: () => windowsOf(allSlots()),
    note({ slot, starts }, offset) {
      // Who leaves in good order leaves no trace.
      if ((slot.draining && slot.open === 0) || slot.slot.kind === "delays") return "";
      return noteFor(starts, instance, offset);
    },
    onFailed: (error) => onFailed(`What was handled of the group ${quoted} cannot be committed`, error),
  });

  const delays = createDelays({
    producer,
    environment,
    retryTopic: retry,
    delayTopic: delay,
    partitionFor: (key) => partitioner(key, Math.max(1, retryPartitions)),
    onSettled,
    onReady: () => deliveries.wake(),
    onFailed: (error) => onFailed(`What is not due of the group ${quoted} cannot be put aside`, error),
  });

  const places = createPlaces({ cluster, membership, lane: `fetch-${options.id}`, instance, ending: ending.signal });

  const quarantine = createQuarantine({
    membership,
    producer,
    environment,
    instance,
    deadLetterTopic: names.deadLetters,
    deliveryLimit: settings.deliveryLimit,
    ending: ending.signal,
    onFailed,
  });

  const deliveries = createDeliveries({
    environment,
    receive: options.receive,
    ordered: channel.ordered,
    maxInFlight: options.maxInFlight,
    paused: options.paused,
    slots: messageSlots,
    onEarly: (slot, window, entry, notBefore) => delays.keep(slot, window, entry, notBefore),
    isSuspect: (window) => isSuspect(window.starts, window),
    async beginAlone(slot, window, entry) {
      const begun = await quarantine.begin(window, entry);
      if (!begun) onSettled(slot);
      return begun;
    },
    onSettled,
  });

  const fetching = createFetching({
    cluster,
    environment,
    settings,
    lane: `fetch-${options.id}`,
    ending: ending.signal,
    windows: () => windowsOf(allSlots().filter(({ active }) => active)),
    wanted: (window) => {
      if (window.slot.slot.kind === "delays") return fewestWaiting;
      return deliveries.paused ? 0 : Math.min(mostWaiting, Math.max(fewestWaiting, deliveries.maxInFlight));
    },
    onRecords() {
      deliveries.wake();
      for (const slot of held.values()) if (slot.slot.kind === "delays") delays.pump(slot);
    },
    onOutOfRange: (window) => void outOfRange(window),
    onMissing: (topic) => void upkeep.makeAgain(topic),
    onFailed: (error) => onFailed(`Nothing can be fetched for the group ${quoted}`, error),
  });

  /** Of the retry topic, as far as it is known. */
  let retryPartitions = 0;

  function partitionsOf({ kind, number }: Slot): TopicPartition[] {
    if (kind === "delays") return [{ topic: delay, partition: number }];
    return [main, retry].map((topic) => ({ topic, partition: number }));
  }

  function onAssigned(slots: readonly Slot[]): void {
    const wanted = new Set(slots.map(slotId));
    const opened: HeldSlot[] = [];
    for (const slot of slots) {
      const before = held.get(slotId(slot));
      if (before !== undefined) stay(before);
      else if (!stopping) {
        const added = new HeldSlot(slot);
        held.set(added.id, added);
        opened.push(added);
      }
    }
    for (const slot of held.values()) {
      if (wanted.has(slot.id)) continue;
      slot.drain();
      onSettled(slot);
    }
    if (opened.length > 0) void open(opened);
    else if (held.size === 0) onRestored();
    deliveries.wake();
    fetching.wake();
  }

  /** It may have been about to be given up. */
  function stay(slot: HeldSlot): void {
    slot.draining = stopping;
    if (slot.slot.kind === "delays") delays.pump(slot);
  }

  function onRestored(): void {
    if (!restoring) return;
    restoring = false;
    options.onRestored();
  }

  /** Finds where the group has come to in what was given to it, and begins there. */
  async function open(slots: readonly HeldSlot[]): Promise<void> {
    let unopened = slots;
    for (let attempt = 1; ; attempt++) {
      unopened = unopened.filter((slot) => isOurs(slot) && !slot.lost.aborted);
      if (unopened.length === 0 || ending.signal.aborted) return;
      // One that is to be given up again may yet stay.
      const active = unopened.filter((slot) => slot.active);
      const opened = active.length === 0 ? [] : await tryToOpen(active, attempt);
      if (opened.length > 0) {
        unopened = unopened.filter((slot) => !opened.includes(slot));
        onOpened();
      }
      if (unopened.length === 0) return;
      await sleep(clock, backoffDelay(retryBackoff, attempt, environment.random()), ending.signal).catch(
        () => undefined,
      );
    }
  }

  function onOpened(): void {
    onRestored();
    deliveries.wake();
    fetching.wake();
    upkeep.trim();
  }

  async function tryToOpen(slots: readonly HeldSlot[], attempt: number): Promise<readonly HeldSlot[]> {
    // What is written down about a slot is written before others can have it.
    for (const slot of slots) slot.opening = true;
    try {
      return await openAll(slots, attempt);
    } catch (error) {
      if (ending.signal.aborted) return [];
      if (!(error instanceof ConnectionFailure)) onFailed(`The place of the group ${quoted} cannot be found`, error);
      await cluster.ready(ending.signal).catch(() => undefined);
      return [];
    } finally {
      for (const slot of slots) {
        slot.opening = false;
        if (slot.draining) onSettled(slot);
      }
    }
  }

  const isOurs = (slot: HeldSlot): boolean => held.get(slot.id) === slot;

  async function openAll(slots: readonly HeldSlot[], attempt: number): Promise<readonly HeldSlot[]> {
    const topics = await upkeep.find(ending.signal, attempt > 1);
    for (const topic of [main, retry, delay]) {
      if (topics.has(topic)) continue;
      await upkeep.makeAgain(topic);
      return [];
    }
    retryPartitions = topics.get(retry)?.partitions.length ?? 0;
    const exists = ({ topic, partition }: TopicPartition): boolean =>
      topics.get(topic)?.partitions[partition] !== undefined;
    return places.open(slots, ({ slot }) => partitionsOf(slot).filter(exists), attempt > attemptsTogether);
  }

  function onSettled(slot: HeldSlot): void {
    commits.wake();
    fetching.wake();
    if (slot.draining && slot.open === 0 && !slot.opening) void giveUp(slot);
  }

  const givingUp = new Set<HeldSlot>();

  /** Nothing of it is open: what was settled is committed, and the group may give it to another member. */
  async function giveUp(slot: HeldSlot): Promise<void> {
    if (givingUp.has(slot) || !isOurs(slot)) return;
    givingUp.add(slot);
    // The last commit takes our name away.
    for (const window of windowsOf([slot])) window.stale = true;
    await commits.flush(windowsOf([slot]), ending.signal);
    givingUp.delete(slot);
    // It may have been given to us again meanwhile.
    if (!isOurs(slot) || !slot.draining || slot.open > 0 || slot.opening) return;
    held.delete(slot.id);
    if (stopping && held.size === 0) void leave();
    else if (!rejoinTimer) {
      rejoinTimer = true;
      clock.setTimeout(() => {
        rejoinTimer = false;
        if (!ending.signal.aborted) membership.rejoin();
      }, gatherMs);
    }
  }

  async function leave(): Promise<void> {
    const patience = new AbortController();
    const timer = clock.setTimeout(() => patience.abort(), settings.requestTimeoutMs);
    try {
      await membership.leave(AbortSignal.any([ending.signal, patience.signal]));
    } catch (error) {
      onFailed(`The group ${quoted} was left without its taking notice`, error);
    } finally {
      timer.cancel();
    }
    end();
  }

  function end(): void {
    if (ending.signal.aborted) return;
    ending.abort();
    stopping = true;
    deliveries.stop();
    commits.end();
    membership.end();
    cluster.closeLane(`fetch-${options.id}`);
    for (const slot of held.values()) slot.void(new Error("The consumption has ended."));
    held.clear();
    done.resolve();
    options.onEnded();
  }

  /** The group's place is before the log's start, or behind its end. */
  async function outOfRange(window: HeldWindow): Promise<void> {
    const { slot } = window;
    try {
      const start = await places.startOf(window);
      if (!isOurs(slot)) return;
      if (window.position < start) {
        onFailed(
          `Messages of the group ${quoted} were deleted before they were handled`,
          retentionPassed(window.topic, start - window.position),
        );
        window.append([], start);
        fetching.wake();
      } else {
        // Another log of the same name: what we have is not in it.
        reopen([slot], madeAnew(window.topic));
      }
    } catch (error) {
      if (!ending.signal.aborted && !(error instanceof ConnectionFailure))
        onFailed(`Nothing can be fetched for the group ${quoted}`, error);
    }
  }

  const slotsOn = (topic: string): readonly HeldSlot[] =>
    allSlots().filter(({ windows }) => windows.some((window) => window.topic === topic));

  /** With its topic Kafka deletes what a group has committed of it. */
  async function doubt(topic: string): Promise<void> {
    const slots = slotsOn(topic);
    const windows = windowsOf(slots).filter((window) => window.topic === topic && window.committed > 0);
    const answers = await membership.committed(windows, ending.signal);
    const forgotten = new Set(answers.filter(({ offset }) => offset < 0n).map(({ partition }) => partition));
    const struck = slots.filter((slot) =>
      slot.windows.some((window) => windows.includes(window) && forgotten.has(window.partition)),
    );
    reopen(struck, madeAnew(topic));
  }

  /** What we hold of them is void. */
  function reopen(slots: readonly HeldSlot[], reason: Error): void {
    const again = slots.filter(isOurs).map((slot) => {
      slot.void(reason);
      const anew = new HeldSlot(slot.slot);
      held.set(anew.id, anew);
      return anew;
    });
    if (again.length > 0) void open(again);
  }

  function stop(): void {
    if (stopping) return;
    stopping = true;
    deliveries.stop();
    if (held.size === 0) {
      void leave();
      return;
    }
    for (const slot of held.values()) slot.drain();
    for (const slot of held.values()) onSettled(slot);
  }

  return {
    async start(signal) {
      if (!(await upkeep.exist(signal)) && !(await options.restore(signal))) {
        end();
        throw unroutable(`topic ${JSON.stringify(main)}`);
      }
      await membership.start(signal);
      await upkeep.start();
    },

    consumption: {
      pause() {
        deliveries.paused = true;
      },
      resume() {
        deliveries.paused = false;
        fetching.wake();
      },
      resize(maxInFlight) {
        deliveries.resize(maxInFlight);
        fetching.wake();
      },
      async stop() {
        stop();
      },
    },

    async close(signal) {
      if (!signal.aborted && !ending.signal.aborted) {
        stop();
        await abortable(done.promise, signal).catch(() => undefined);
      }
      end();
    },
  };
}

function madeAnew(topic: string): Error {
  return new Error(`The topic ${JSON.stringify(topic)} was made anew.`);
}
