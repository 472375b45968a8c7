/** A pending call of {@link Clock.setTimeout}. */
export interface Timer {
  /** Does nothing when the timer has fired or was cancelled already. */
  cancel(): void;
}

/** The only source of time in Posthorn, so that tests can own it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump when the computer's clock is set. */
  now(): number;
  /** Milliseconds since some moment; only ever goes on. For measuring durations and keeping deadlines. */
  monotonic(): number;
  /**
   * Calls `callback` once, `delayMs` from now. Delays above the platform's limit (2^31-1 ms) are kept exactly.
   * A pending timer keeps the process alive unless `unref` is set.
   */
  setTimeout(callback: () => void, delayMs: number, options?: { readonly unref?: boolean }): Timer;
}

const longestTimeoutMs = 2 ** 31 - 1;

/** The computer's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(callback, delayMs, options) {
    const due = performance.now() + delayMs;
    let handle: ReturnType<typeof setTimeout>;
    const arm = (): void => {
      const left = Math.max(0, due - performance.now());
      handle = left > longestTimeoutMs ? setTimeout(arm, longestTimeoutMs) : setTimeout(callback, left);
      if (options?.unref === true) handle.unref();
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};

/**
 * Resolves `delayMs` from now.
 *
 * @throws the signal's reason as soon as it is aborted
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
