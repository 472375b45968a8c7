/**
 * From one message to the transport and back to its sender: natural batching, retries, deadlines and bounds.
 *
 * One dispatch is under way per address. What arrives meanwhile gathers and goes together: low latency when idle, full
 * batches under load, no timer; and order within an address is the order of the calls.
 */
import type { Address } from "./address.ts";
import type { Backoff } from "./backoff.ts";
import { backoffDelay } from "./backoff.ts";
import type { Clock, Timer } from "./clock.ts";
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Observe } from "./observe.ts";
import type { Outbound, Receipt, Transport } from "./transport.ts";

/** Most messages, and about the most bytes, that go to the transport in one call. */
const maxBatchMessages = 1_024;
const maxBatchBytes = 4 * 1_048_576;
/** Between tries of what the broker did not take. */
const retryBackoff: Backoff = { initialMs: 50, maxMs: 1_000, jitter: 1 };
/** Deadlines are looked at this often at most. */
const sweepMs = 50;

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
   * @throws UNROUTABLE and what else the transport says for good; PUBLISH_TIMEOUT, UNKNOWN_OUTCOME, BUFFER_FULL, ABORTED, CLOSED
   */
  dispatch(address: Address, message: Message, timeoutMs: number, signal?: AbortSignal): Promise<void>;
  /** Resolves when nothing is pending. */
  drained(): Promise<void>;
  /** Rejects what is still pending, and everything from now on. */
  close(): void;
}

interface Entry extends Outbound {
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (error: PosthornError) => void;
  readonly stopListening: () => void;
  /** An earlier try may have landed. */
  uncertain: boolean;
  settled: boolean;
  lastError: PosthornError | undefined;
}

/** The messages of one address. */
interface Lane {
  waiting: Entry[];
  flying: { readonly entries: readonly Entry[]; readonly abort: AbortController } | undefined;
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
    entry.stopListening();
    pending--;
    pendingBytes -= entry.message.body.byteLength;
    if (error === undefined) entry.resolve();
    else entry.reject(error);
    if (pending > 0) return;
    sweep?.timer.cancel();
    sweep = undefined;
    for (const resolve of drainWaiters.splice(0)) resolve();
  };

  const sweepAt = (deadline: number): void => {
    if (sweep !== undefined && sweep.due <= deadline) return;
    sweep?.timer.cancel();
    const due = Math.max(deadline, clock.now() + sweepMs);
    sweep = { due, timer: clock.setTimeout(expire, due - clock.now()) };
  };

  /** Ends what waited too long; what is under way is aborted, and its receipts say whether it had been sent. */
  const expire = (): void => {
    sweep = undefined;
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const lane of lanes.values()) {
      lane.waiting = lane.waiting.filter((entry) => {
        if (entry.deadline <= now) settle(entry, timedOut(entry));
        else if (!entry.settled) next = Math.min(next, entry.deadline);
        return !entry.settled;
      });
      for (const entry of lane.flying?.entries ?? []) {
        if (entry.settled) continue;
        if (entry.deadline <= now) lane.flying?.abort.abort();
        else next = Math.min(next, entry.deadline);
      }
    }
    if (next !== Number.POSITIVE_INFINITY) sweepAt(next);
  };

  const run = (lane: Lane): void => {
    if (lane.flying !== undefined || lane.pause !== undefined) return;
    const entries = takeBatch(lane);
    if (entries.length === 0) return;
    const abort = new AbortController();
    lane.flying = { entries, abort };
    transport.dispatch(entries, { signal: abort.signal }).then(
      (receipts) => land(lane, entries, receipts),
      // The contract forbids it; without a receipt nobody knows what was sent.
      (cause: unknown) =>
        land(
          lane,
          entries,
          entries.map(() => ({
            accepted: false,
            error: new PosthornError("TRANSPORT_FAILED", "The transport's dispatch rejected.", { cause }),
          })),
        ),
    );
  };

  const land = (lane: Lane, entries: readonly Entry[], receipts: readonly Receipt[]): void => {
    lane.flying = undefined;
    const again: Entry[] = [];
    const now = clock.now();
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index];
      const receipt = receipts[index];
      if (entry === undefined || entry.settled) continue;
      if (receipt?.accepted === true) {
        settle(entry);
        continue;
      }
      const error = receipt?.error ?? new PosthornError("TRANSPORT_FAILED", "The transport gave no receipt.");
      entry.lastError = error;
      entry.uncertain ||= error.code === "UNKNOWN_OUTCOME";
      if (!error.retryable) settle(entry, error);
      else if (closed || entry.deadline <= now) settle(entry, closed ? closedBefore(entry) : timedOut(entry));
      else again.push(entry);
    }
    if (again.length === 0) {
      lane.failures = 0;
      run(lane);
      return;
    }
    lane.waiting = again.concat(lane.waiting);
    const retryInMs = backoffDelay(retryBackoff, ++lane.failures, random());
    observe({
      name: "publish.retried",
      level: "info",
      channel: again[0]?.address.id ?? "",
      messages: again.length,
      error: again[0]?.lastError,
      retryInMs,
    });
    lane.pause = clock.setTimeout(() => {
      lane.pause = undefined;
      run(lane);
    }, retryInMs);
  };

  return {
    get pending() {
      return pending;
    },
    dispatch(address, message, timeoutMs, signal) {
      return new Promise((resolve, reject) => {
        if (closed) {
          reject(new PosthornError("CLOSED", "The bus is closed: nothing can be sent."));
          return;
        }
        if (signal?.aborted === true) {
          reject(
            new PosthornError("ABORTED", "The signal had fired before the message was sent.", { cause: signal.reason }),
          );
          return;
        }
        if (pending >= options.maxPendingMessages || pendingBytes + message.body.byteLength > options.maxPendingBytes) {
          reject(bufferFull(pending, pendingBytes));
          return;
        }
        const onAbort = (): void => settle(entry, abandoned(entry, signal?.reason, lane));
        const entry: Entry = {
          address,
          message,
          deadline: clock.now() + timeoutMs,
          resolve,
          reject,
          stopListening: signal === undefined ? nothing : () => signal.removeEventListener("abort", onAbort),
          uncertain: false,
          settled: false,
          lastError: undefined,
        };
        const lane = laneOf(lanes, address);
        signal?.addEventListener("abort", onAbort, { once: true });
        pending++;
        pendingBytes += message.body.byteLength;
        lane.waiting.push(entry);
        sweepAt(entry.deadline);
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
        for (const entry of lane.waiting.splice(0)) settle(entry, closedBefore(entry));
        lane.flying?.abort.abort();
      }
    },
  };
}

function nothing(): void {}

function laneOf(lanes: Map<string, Lane>, address: Address): Lane {
  let lane = lanes.get(address.id);
  if (lane === undefined) {
    lane = { waiting: [], flying: undefined, failures: 0, pause: undefined };
    lanes.set(address.id, lane);
  }
  return lane;
}

function takeBatch(lane: Lane): readonly Entry[] {
  const batch: Entry[] = [];
  let size = 0;
  let taken = 0;
  for (const entry of lane.waiting) {
    if (batch.length === maxBatchMessages || (batch.length > 0 && size + entry.message.body.byteLength > maxBatchBytes))
      break;
    taken++;
    if (entry.settled) continue;
    batch.push(entry);
    size += entry.message.body.byteLength;
  }
  lane.waiting = taken === lane.waiting.length ? [] : lane.waiting.slice(taken);
  return batch;
}

function timedOut(entry: Entry): PosthornError {
  const what = `The message ${entry.message.id} (${entry.message.type})`;
  const options = { cause: entry.lastError, details: { id: entry.message.id } };
  if (entry.uncertain) return unknownOutcome(entry, "within its timeout");
  const why =
    entry.lastError === undefined
      ? "the broker takes nothing: it may be blocked, or the connection is down"
      : entry.lastError.message;
  return new PosthornError("PUBLISH_TIMEOUT", `${what} was not sent within its timeout: ${why}`, options);
}

function closedBefore(entry: Entry): PosthornError {
  if (entry.uncertain) return unknownOutcome(entry, "before the bus was closed");
  return new PosthornError(
    "CLOSED",
    `The bus was closed before the message ${entry.message.id} (${entry.message.type}) was sent.`,
    { details: { id: entry.message.id } },
  );
}

function abandoned(entry: Entry, reason: unknown, lane: Lane): PosthornError {
  const flying = lane.flying?.entries.includes(entry) === true;
  const mayHaveBeenAccepted = flying || entry.uncertain;
  const state = mayHaveBeenAccepted
    ? "it may have been accepted; sending it again with the same id is safe"
    : "it was not sent";
  return new PosthornError(
    "ABORTED",
    `Sending the message ${entry.message.id} (${entry.message.type}) was given up by its signal: ${state}.`,
    {
      cause: reason,
      details: { id: entry.message.id, mayHaveBeenAccepted },
    },
  );
}

function unknownOutcome(entry: Entry, when: string): PosthornError {
  return new PosthornError(
    "UNKNOWN_OUTCOME",
    `The message ${entry.message.id} (${entry.message.type}) was sent, but the broker's answer did not come ${when}: it may have been accepted. Sending it again with the same id is safe.`,
    { cause: entry.lastError, details: { id: entry.message.id } },
  );
}

function bufferFull(messages: number, size: number): PosthornError {
  return new PosthornError(
    "BUFFER_FULL",
    `${messages} messages (${size} bytes) already wait to be accepted by the broker: await what is sent, or raise maxPendingMessages or maxPendingBytes.`,
    {
      details: { messages, bytes: size },
    },
  );
}
