import { AssertionError } from "node:assert";
import { inspect } from "node:util";
import { systemClock } from "@posthorn/core";

/** Wakes whoever waits whenever something has happened. */
export interface Pulse {
  beat(): void;
  /** Resolves at the next beat, or after `atMostMs`. */
  next(atMostMs: number): Promise<void>;
}

export function createPulse(): Pulse {
  let waiting: (() => void)[] = [];
  return {
    beat() {
      const woken = waiting;
      waiting = [];
      for (const wake of woken) wake();
    },
    next(atMostMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = systemClock.setTimeout(resolve, atMostMs);
      waiting.push(() => {
        timer.cancel();
        resolve();
      });
      return promise;
    },
  };
}

export interface EventuallyOptions {
  readonly withinMs: number;
  /** Shown when the wait was in vain. */
  readonly seen?: () => unknown;
}

/** For what makes no pulse of its own, such as a look at the broker. */
const longestLookMs = 25;

/**
 * Resolves to what `condition` gives as soon as that is neither `undefined` nor `false`. What it throws counts as "not yet".
 *
 * @throws AssertionError after `withinMs`, saying what was waited for and what was seen
 */
export async function eventually<T>(
  pulse: Pulse,
  what: string,
  condition: () => T | Promise<T>,
  options: EventuallyOptions,
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + options.withinMs;
  for (;;) {
    let cause: unknown;
    let over = performance.now() >= deadline;
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    } catch (error) {
      cause = error;
    }
    if (over) throw inVain(`${options.withinMs} ms in vain for ${what}`, options.seen?.(), cause);
    over = performance.now() >= deadline;
    if (!over) await pulse.next(Math.min(longestLookMs, Math.max(1, deadline - performance.now())));
  }
}

/**
 * The promise's outcome, if it comes in time.
 *
 * @throws AssertionError naming `what` when it does not
 */
export async function within<T>(withinMs: number, what: string, promise: Promise<T>): Promise<T> {
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const timer = systemClock.setTimeout(() => reject(inVain(`${withinMs} ms in vain for ${what}`)), withinMs);
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    timer.cancel();
  }
}

function inVain(waited: string, seen?: unknown, cause?: unknown): AssertionError {
  const sight =
    seen === undefined ? "" : `; seen: ${inspect(seen, { depth: 4, breakLength: 160, maxArrayLength: 20 })}`;
  const trouble =
    cause === undefined ? "" : `; last trouble: ${cause instanceof Error ? cause.message : inspect(cause)}`;
  return new AssertionError({ message: `Waited ${waited}${sight}${trouble}` });
}
