import type { Backoff } from "./backoff.ts";
import { PosthornError } from "./errors.ts";

/**
 * What happens when a handler throws. After a short wait the message is tried again in the same process, its lease kept; before a
 * long one it goes back to the broker, for its group alone, and whichever instance is free then gets it. The number of the attempt goes with it.
 */
export interface RetryPolicy {
  /**
   * How often a message is handled at most, the first time included, from 1. When the last attempt has failed the message goes to
   * the dead-letter channel.
   */
  readonly attempts: number;
  /** How long to wait between attempts. */
  readonly backoff: Backoff;
  /**
   * Shorter waits are spent in the process, in milliseconds; others, and those beyond what a process may keep waiting (twice the
   * concurrency and eight messages), on the broker. Default 1,000.
   *
   * On an ordered channel a message that waits blocks its key, so all waits are spent in the process.
   */
  readonly holdMs?: number;
}

export const defaultHoldMs = 1_000;

/**
 * Ten attempts within about a quarter of an hour: 0.2, 0.6, 1.8, 5.4, 16, 49, 146, 300 and 300 seconds apart, less up to half by
 * chance. Long enough for a deployment or for a database that fails over, and the first are quick.
 */
export const defaultRetry: RetryPolicy = Object.freeze({
  attempts: 10,
  backoff: Object.freeze({ initialMs: 200, maxMs: 300_000, factor: 3, jitter: 0.5 }),
  holdMs: defaultHoldMs,
});

/** @throws INVALID_OPTION */
export function checkRetry(policy: RetryPolicy): RetryPolicy {
  const { attempts, backoff, holdMs } = policy;
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
  if (holdMs !== undefined && !(holdMs >= 0))
    fail(`holdMs must be a number of milliseconds from 0, not ${String(holdMs)}`);
  return policy;
}
