import type { Clock, Timer } from "./clock.ts";

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Moves on by `ms`, calling every timer that falls due, in order, and letting promises settle after each. */
  advance(ms: number): Promise<void>;
  /** Timers that are waiting. */
  readonly pending: number;
}

interface Waiting {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
}

/** @param start milliseconds since the Unix epoch; default the first second of 2026 */
export function createVirtualClock(start: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let now = start;
  let order = 0;
  const waiting = new Set<Waiting>();
  const next = (until: number): Waiting | undefined => {
    let first: Waiting | undefined;
    for (const timer of waiting) {
      if (
        timer.due <= until &&
        (first === undefined || timer.due < first.due || (timer.due === first.due && timer.order < first.order))
      )
        first = timer;
    }
    return first;
  };
  return {
    now: () => now,
    monotonic: () => now,
    setTimeout(callback: () => void, delayMs: number): Timer {
      const timer = { due: now + Math.max(0, delayMs), order: order++, callback };
      waiting.add(timer);
      return { cancel: () => waiting.delete(timer) };
    },
    get pending() {
      return waiting.size;
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (let timer = next(end); timer !== undefined; timer = next(end)) {
        waiting.delete(timer);
        now = Math.max(now, timer.due);
        timer.callback();
        await settle();
      }
      now = end;
      await settle();
    },
  };
}

/** Lets everything run that needs no time: promises and what they start. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
