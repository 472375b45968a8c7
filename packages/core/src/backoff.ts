/** Waiting times that grow: `initialMs`, then `factor` times as long each time, at most `maxMs`. */
export interface Backoff {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Default 2. */
  readonly factor?: number;
  /**
   * Which share of a wait is left to chance, from 0 (none) to 1 ("full jitter", anything between 0 and the wait).
   * Default 0.5. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
   */
  readonly jitter?: number;
}

/**
 * How long to wait after the given failure.
 *
 * @param failure how many times it has failed, from 1
 * @param random a number in [0, 1)
 * @returns milliseconds, whole
 */
export function backoffDelay(backoff: Backoff, failure: number, random: number): number {
  const grown = backoff.initialMs === 0 ? 0 : backoff.initialMs * (backoff.factor ?? 2) ** (failure - 1);
  const wait = Math.min(backoff.maxMs, grown);
  const chance = wait * (backoff.jitter ?? 0.5);
  return Math.round(wait - chance * random);
}
