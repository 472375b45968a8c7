import type { Clock } from "./clock.ts";
import { PosthornError } from "./errors.ts";

/** A signal that fires when time is up or one of the given signals fires. Dispose it, or its timer goes on. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** True when it was time that ran out. */
  readonly expired: boolean;
}

/**
 * @param timeoutMs `undefined`: there is no time limit
 * @param what for the reason: "start", "close"
 */
export function createDeadline(
  clock: Clock,
  timeoutMs: number | undefined,
  what: string,
  signals: readonly (AbortSignal | undefined)[] = [],
): Deadline {
  const controller = new AbortController();
  let expired = false;
  const stops: (() => void)[] = [];
  for (const signal of signals) {
    if (signal === undefined) continue;
    const abort = (): void =>
      controller.abort(new PosthornError("ABORTED", `The ${what} was given up.`, { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    stops.push(() => signal.removeEventListener("abort", abort));
  }
  if (timeoutMs !== undefined) {
    const timer = clock.setTimeout(() => {
      expired = true;
      controller.abort(new PosthornError("ABORTED", `The ${what} did not end within ${timeoutMs} ms.`));
    }, timeoutMs);
    stops.push(() => timer.cancel());
  }
  return {
    signal: controller.signal,
    get expired() {
      return expired;
    },
    [Symbol.dispose]() {
      for (const stop of stops) stop();
    },
  };
}

/** Resolves true when `work` is done, false when the signal fires first. What `work` throws is thrown. */
export async function within(signal: AbortSignal, work: Promise<unknown>): Promise<boolean> {
  if (signal.aborted) {
    work.catch(() => undefined);
    return false;
  }
  let stop = (): void => undefined;
  const aborted = new Promise<false>((resolve) => {
    const onAbort = (): void => resolve(false);
    signal.addEventListener("abort", onAbort, { once: true });
    stop = () => signal.removeEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([work.then(() => true), aborted]);
  } finally {
    stop();
  }
}
