import type { Backoff } from "./backoff.ts";
import { PosthornError } from "./errors.ts";

/** What happens when a handler throws. */
export interface RetryPolicy {
  /**
   * How often a message is handled at most, the first time included, from 1. When the last attempt has failed the message goes to
   * the dead-letter channel.
   */
  readonly attempts: number;
  /**
   * How long to wait between attempts. Other messages are handled meanwhile, as long as no more than twice the concurrency and
   * eight wait; the message keeps its lease.
   */
  readonly backoff: Backoff;
}

/** Five attempts within about a second and a half: 100, 200, 400 and 800 ms apart, less up to half by chance. */
export const defaultRetry: RetryPolicy = Object.freeze({
  attempts: 5,
  backoff: Object.freeze({ initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.5 }),
});

/** @throws INVALID_OPTION */
export function checkRetry(policy: RetryPolicy): RetryPolicy {
  const { attempts, backoff } = policy;
  if (typeof backoff !== "object" || backoff === null) {
    throw new PosthornError(
      "INVALID_OPTION",
      "The retry policy needs a backoff, such as { initialMs: 100, maxMs: 10_000 }.",
    );
  }
  const fail = (what: string): never => {
    throw new PosthornError("INVALID_OPTION", `The retry policy's ${what}.`);
  };
  if (!Number.isInteger(attempts) || attempts < 1)
    fail(`attempts must be a whole number from 1, not ${String(attempts)}`);
  if (!(backoff.initialMs >= 0 && Number.isFinite(backoff.initialMs)))
    fail(`backoff.initialMs must be a number of milliseconds from 0, not ${String(backoff.initialMs)}`);
  if (!(backoff.maxMs >= backoff.initialMs && Number.isFinite(backoff.maxMs)))
    fail(`backoff.maxMs must be a number of milliseconds from initialMs, not ${String(backoff.maxMs)}`);
  if (backoff.factor !== undefined && !(backoff.factor >= 1))
    fail(`backoff.factor must be at least 1, not ${String(backoff.factor)}`);
  if (backoff.jitter !== undefined && !(backoff.jitter >= 0 && backoff.jitter <= 1))
    fail(`backoff.jitter must lie between 0 and 1, not ${String(backoff.jitter)}`);
  return policy;
}
