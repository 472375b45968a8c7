import { setTimeout as sleep } from "node:timers/promises";

export interface PollOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks `check` again and again, 50 ms apart, until it gives something else than `undefined`. For what sends no event.
 *
 * @throws Error that names `what` when `deadlineMs` have passed, with the last error of `check` as its cause: until then
 * an error of `check` counts as "not yet". The reason of `signal` when it is aborted.
 */
export async function poll<T>(what: string, check: () => Promise<T | undefined>, options: PollOptions): Promise<T> {
  const deadline = performance.now() + options.deadlineMs;
  for (;;) {
    options.signal?.throwIfAborted();
    let cause: unknown;
    try {
      const found = await check();
      if (found !== undefined) return found;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${options.deadlineMs} ms in vain for ${what}`, { cause });
    await sleep(50);
  }
}
