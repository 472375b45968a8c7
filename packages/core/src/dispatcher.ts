/**
 * From one message to the transport and back to its sender: natural batching, retries, deadlines and bounds.
 *
 * One dispatch is under way per address. What arrives meanwhile gathers and goes together: low latency when idle, full
 * batches under load, no timer. Within an address messages go out in the order of the calls; one that the broker refuses
 * for now goes again before what came later, but after what went with it. On an ordered channel nothing of its key goes with it.
 */
import type { Address } from "./address.ts";
import type { Backoff } from "./backoff.ts";
import { backoffDelay } from "./backoff.ts";
import type { Clock, Timer } from "./clock.ts";
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Observe } from "./observe.ts";
import { abandoned, bufferFull, closedBefore, neverFits, timedOut, unknownOutcome } from "./publish-errors.ts";
import { createSignalListeners } from "./signal-listeners.ts";
import type { Outbound, Receipt, Transport } from "./transport.ts";
import type { Waiting } from "./waiting.ts";
import { createWaiting, createWaitingByKey } from "./waiting.ts";

/** Most messages, and about the most bytes, that go to the transport in one call. */
const maxBatchMessages = 1_024;
const maxBatchBytes = 4 * 1_048_576;
/** Between tries of what the broker did not take. */
const retryBackoff: Backoff = { initialMs: 50, maxMs: 1_000, jitter: 1 };
/** Deadlines are looked at this often at most. */
const sweepMs = 50;
/** So long a transport may take to answer once it was told to give up. */
const abortGraceMs = 1_000;

export interface DispatcherOptions {
  readonly transport: Pick<Transport, "dispatch">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observe: Observe;
  readonly maxPendingMessages: number;
  readonly maxPendingBytes: number;
}

export interface Dispatcher {
  /** Messages that wait to be accepted. */
  readonly pending: number;
  /**
   * Resolves when the broker has durably accepted the message. Tries again until `timeoutMs` have passed where that can help.
   *
   * @throws UNROUTABLE and what else the transport says for good; PUBLISH_TIMEOUT, UNKNOWN_OUTCOME, BUFFER_FULL,
   * MESSAGE_TOO_LARGE, ABORTED, CLOSED
   */
  dispatch(address: Address, message: Message, timeoutMs: number, signal?: AbortSignal): Promise<void>;
  /** Resolves when nothing is pending. */
  drained(): Promise<void>;
  /** Rejects what is still pending, and everything from now on; resolves when all of it is settled, soon. */
  close(): Promise<void>;
}

interface Entry extends Outbound {
  readonly lane: Lane;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: () => void;
  readonly reject: (error: PosthornError) => void;
  /** An earlier try may have landed. */
  uncertain: boolean;
  settled: boolean;
  lastError: PosthornError | undefined;
}

/** One call of the transport's dispatch. */
interface Flight {
  readonly entries: readonly Entry[];
  readonly abort: AbortController;
  /** Runs once it was told to give up. */
  grace: Timer | undefined;
}

/** The messages of one address. */
interface Lane {
  readonly waiting: Waiting<Entry>;
  /** How many in `waiting` are settled already: they were given up. */
  gone: number;
  flight: Flight | undefined;
  failures: number;
  /** Waits before the next try. */
  pause: Timer | undefined;
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { transport, clock, random, observe } = options;
  const lanes = new Map<string, Lane>();
  const drainWaiters: (() => void)[] = [];
  let pending = 0;
  let pendingBytes = 0;
  let closed = false;
  let sweep: { readonly timer: Timer; readonly due: number } | undefined;

  const settle = (entry: Entry, error?: PosthornError): void => {
    if (entry.settled) return;
    entry.settled = true;
    if (entry.signal !== undefined) listeners.remove(entry.signal, entry);
    pending--;
    pendingBytes -= entry.message.body.byteLength;
    if (error === undefined) entry.resolve();
    else entry.reject(error);
    if (pending > 0) return;
    sweep?.timer.cancel();
    sweep = undefined;
    for (const resolve of drainWaiters.splice(0)) resolve();
  };

  const listeners = createSignalListeners<Entry>((entry, reason) => {
    const { lane } = entry;
    const flying = lane.flight?.entries.includes(entry) === true;
    settle(entry, abandoned(entry, flying || entry.uncertain, reason));
    if (flying) giveUpIfDeserted(lane);
    else if (++lane.gone * 2 > lane.waiting.size) dropGone(lane);
  });

  const sweepAt = (deadline: number): void => {
    if (sweep !== undefined && sweep.due <= deadline) return;
    sweep?.timer.cancel();
    const now = clock.monotonic();
    const due = Math.max(deadline, now + sweepMs);
    sweep = { due, timer: clock.setTimeout(expire, due - now) };
  };

  /**
   * Ends what waited too long. A flight that nobody waits for any more is told to give up, and its receipts say whether
   * it had been sent; while others still wait for it, whoever is late does not know.
   */
  const expire = (): void => {
    sweep = undefined;
    const now = clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const lane of lanes.values()) {
      for (const entry of lane.waiting) {
        if (entry.deadline <= now) settle(entry, timedOut(entry));
        else if (!entry.settled) next = Math.min(next, entry.deadline);
      }
      dropGone(lane);
      const flying = lane.flight?.entries.filter((entry) => !entry.settled) ?? [];
      const late = flying.filter((entry) => entry.deadline <= now);
      for (const entry of flying) if (entry.deadline > now) next = Math.min(next, entry.deadline);
      if (late.length < flying.length)
        for (const entry of late) settle(entry, unknownOutcome(entry, "within its timeout"));
      else if (late.length > 0) giveUp(lane);
    }
    if (next !== Number.POSITIVE_INFINITY) sweepAt(next);
  };

  const giveUpIfDeserted = (lane: Lane): void => {
    if (lane.flight?.entries.every((entry) => entry.settled) === true) giveUp(lane);
  };

  const giveUp = (lane: Lane): void => {
    const { flight } = lane;
    if (flight === undefined || flight.grace !== undefined) return;
    flight.abort.abort();
    // A transport that does not even answer to that must not hold up its address.
    flight.grace = clock.setTimeout(() => land(lane, flight, []), abortGraceMs);
  };

  const run = (lane: Lane): void => {
    if (lane.flight !== undefined || lane.pause !== undefined) return;
    const entries = lane.waiting.take(maxBatchMessages, maxBatchBytes);
    // What was given up goes with what was taken.
    if (lane.waiting.size === 0) lane.gone = 0;
    if (entries.length === 0) return;
    const flight: Flight = { entries, abort: new AbortController(), grace: undefined };
    lane.flight = flight;
    void dispatchAll(flight).then((receipts) => land(lane, flight, receipts));
  };

  /** The contract forbids that it throws; without receipts nobody knows what was sent. */
  const dispatchAll = async ({ entries, abort }: Flight): Promise<readonly Receipt[]> => {
    try {
      return (await transport.dispatch(entries, { signal: abort.signal })) ?? [];
    } catch (cause) {
      const error = new PosthornError("TRANSPORT_FAILED", "The transport's dispatch failed as a whole.", { cause });
      return entries.map(() => ({ accepted: false, error }));
    }
  };

  const land = (lane: Lane, flight: Flight, receipts: readonly Receipt[]): void => {
    if (lane.flight !== flight) return;
    flight.grace?.cancel();
    lane.flight = undefined;
    const again: Entry[] = [];
    const now = clock.monotonic();
    for (let index = 0; index < flight.entries.length; index++) {
      const entry = flight.entries[index];
      const receipt = receipts[index];
      if (entry === undefined || entry.settled) continue;
      if (receipt?.accepted === true) {
        settle(entry);
        continue;
      }
      const error = receipt?.error ?? unknownOutcome(entry, "at all");
      entry.lastError = error;
      entry.uncertain ||= error.code === "UNKNOWN_OUTCOME";
      if (!error.retryable) settle(entry, error);
      else if (closed) settle(entry, closedBefore(entry));
      else if (entry.deadline <= now) settle(entry, timedOut(entry));
      else again.push(entry);
    }
    if (again.length === 0) {
      lane.failures = 0;
      run(lane);
      return;
    }
    lane.waiting.putBack(again);
    const retryInMs = backoffDelay(retryBackoff, ++lane.failures, random());
    const [{ address, lastError: error } = { address: undefined, lastError: undefined }] = again;
    observe({
      name: "publish.retried",
      level: "info",
      address: address?.id ?? "",
      messages: again.length,
      error,
      retryInMs,
    });
    lane.pause = clock.setTimeout(() => {
      lane.pause = undefined;
      run(lane);
    }, retryInMs);
  };

  const refusal = (message: Message, signal: AbortSignal | undefined): PosthornError | undefined => {
    if (closed) return new PosthornError("CLOSED", "The bus is closed: nothing can be sent.");
    if (signal?.aborted === true)
      return abandoned({ message, uncertain: false, lastError: undefined }, false, signal.reason);
    if (message.body.byteLength > options.maxPendingBytes) return neverFits(message, options.maxPendingBytes);
    const full =
      pending >= options.maxPendingMessages || pendingBytes + message.body.byteLength > options.maxPendingBytes;
    return full ? bufferFull(pending, pendingBytes) : undefined;
  };

  return {
    get pending() {
      return pending;
    },
    dispatch(address, message, timeoutMs, signal) {
      return new Promise((resolve, reject) => {
        const refused = refusal(message, signal);
        if (refused !== undefined) {
          reject(refused);
          return;
        }
        const lane = laneOf(lanes, address);
        const deadline = clock.monotonic() + timeoutMs;
        const entry: Entry = {
          address,
          message,
          lane,
          deadline,
          signal,
          resolve,
          reject,
          uncertain: false,
          settled: false,
          lastError: undefined,
        };
        if (signal !== undefined) listeners.add(signal, entry);
        pending++;
        pendingBytes += message.body.byteLength;
        lane.waiting.push(entry);
        sweepAt(deadline);
        run(lane);
      });
    },
    drained() {
      return pending === 0 ? Promise.resolve() : new Promise((resolve) => drainWaiters.push(resolve));
    },
    close() {
      closed = true;
      for (const lane of lanes.values()) {
        lane.pause?.cancel();
        for (const entry of lane.waiting) settle(entry, closedBefore(entry));
        dropGone(lane);
        giveUp(lane);
      }
      return this.drained();
    },
  };
}

function laneOf(lanes: Map<string, Lane>, address: Address): Lane {
  let lane = lanes.get(address.id);
  if (lane === undefined) {
    const waiting = isOrdered(address) ? createWaitingByKey<Entry>() : createWaiting<Entry>();
    lane = { waiting, gone: 0, flight: undefined, failures: 0, pause: undefined };
    lanes.set(address.id, lane);
  }
  return lane;
}

function isOrdered(address: Address): boolean {
  return (address.kind === "channel" || address.kind === "inlet") && address.channel.ordered;
}

function dropGone(lane: Lane): void {
  lane.waiting.prune();
  lane.gone = 0;
}
