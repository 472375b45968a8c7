import type { RetryPolicy } from "@posthorn/core";

/** Every wait between two attempts is spent on the broker, and always as long as this. */
export function durably(attempts: number, waitMs: number): RetryPolicy {
  return { attempts, backoff: { initialMs: waitMs, maxMs: waitMs, jitter: 0 }, holdMs: 0 };
}
