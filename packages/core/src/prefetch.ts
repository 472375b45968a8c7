/**
 * How many messages a subscription holds at a time.
 *
 * Too many, and an instance that is busy keeps messages from one that is idle; too few, and fast handlers wait for the
 * broker. So it holds what its handlers work on, what waits for its next attempt, and beyond that only what it will
 * probably begin within a tenth of a second, going by how long handling has taken lately.
 */
import type { Clock, Timer } from "./clock.ts";

/** Messages held beyond those in work are begun within about this time. */
const horizonMs = 100;
/** Most messages held beyond those in work, for each handler that may run. */
const mostAheadPerHandler = 4;
/** Most messages that may wait for their next attempt before intake stops, for each handler that may run, and a few. */
const mostWaitingPerHandler = 2;
const mostWaitingBeside = 8;
/** The size is changed at most this often. */
const adjustMs = 100;
/** How much one handling counts in the average. */
const weight = 0.2;

export interface Prefetch {
  concurrency: number;
  /** What the transport is to hold now. */
  readonly size: number;
  /** As many messages wait for their next attempt as may. */
  readonly full: boolean;
  /** A handler ended. */
  handled(durationMs: number): void;
  /** One more (or fewer) message waits for its next attempt. */
  waits(change: 1 | -1): void;
  /** No more changes. */
  stop(): void;
}

/** On an ordered channel so many are held, so that a key that is slow or fails holds up as few others as possible. */
const heldInOrder = 1_024;

/**
 * For an ordered channel: always the same. What waits behind its key waits here, and a transport cannot take some of it back
 * without all that follows.
 */
export function createOrderedPrefetch(concurrency: number): Prefetch {
  return {
    concurrency,
    size: Math.max(heldInOrder, concurrency),
    full: false,
    handled: () => undefined,
    waits: () => undefined,
    stop: () => undefined,
  };
}

/** @param resize told when the size has changed enough to matter */
export function createPrefetch(initialConcurrency: number, clock: Clock, resize: (size: number) => void): Prefetch {
  let concurrency = initialConcurrency;
  let averageMs: number | undefined;
  let waiting = 0;
  let size = initialConcurrency;
  let timer: Timer | undefined;
  let stopped = false;

  const mostWaiting = (): number => concurrency * mostWaitingPerHandler + mostWaitingBeside;

  const target = (): number => {
    const ahead =
      averageMs === undefined
        ? 0
        : Math.min(concurrency * mostAheadPerHandler, Math.floor((concurrency * horizonMs) / Math.max(averageMs, 1)));
    return concurrency + ahead + Math.min(waiting, mostWaiting());
  };

  const set = (wanted: number): void => {
    if (wanted === size) return;
    size = wanted;
    resize(size);
  };

  const adjust = (): void => {
    if (stopped || timer !== undefined) return;
    const wanted = target();
    if (wanted <= size * 1.25 && wanted >= size * 0.75) return;
    timer = clock.setTimeout(
      () => {
        timer = undefined;
        set(target());
      },
      adjustMs,
      { unref: true },
    );
  };

  return {
    get concurrency() {
      return concurrency;
    },
    set concurrency(value) {
      concurrency = value;
      set(target());
    },
    get size() {
      return size;
    },
    get full() {
      return waiting >= mostWaiting();
    },
    handled(durationMs) {
      averageMs = averageMs === undefined ? durationMs : averageMs + (durationMs - averageMs) * weight;
      adjust();
    },
    waits(change) {
      waiting += change;
      adjust();
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
