import { PosthornError } from "./errors.ts";

/** What a call rejects with when its caller gave it up. */
export function abortedError(signal: AbortSignal): PosthornError {
  return new PosthornError("ABORTED", "The call was given up by its caller.", { cause: signal.reason });
}

/** Settles as `work` does, or rejects with ABORTED as soon as the signal fires; `work` then goes on unobserved. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortedError(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Wakes everybody who waits for a change of some state. */
export interface Notice {
  notify(): void;
  /** Resolves at the next `notify`. */
  readonly next: Promise<void>;
}

export function createNotice(): Notice {
  let wake: () => void = () => undefined;
  let next: Promise<void> | undefined;
  return {
    notify() {
      next = undefined;
      wake();
    },
    get next() {
      next ??= new Promise((resolve) => {
        wake = resolve;
      });
      return next;
    },
  };
}
