import assert from "node:assert/strict";
import type { Bounds } from "./harness.ts";
import type { Call } from "./recorder.ts";

/** When a handler was called, by the clock that delays go by. */
export interface Arrival {
  readonly n: number;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** A reaction that remembers when each message arrived. */
export function arrivalsInto(arrivals: Arrival[]): (call: Call<{ readonly n: number }>) => void {
  return ({ data }) => void arrivals.push({ n: data.n, at: Date.now() });
}

/** Every message came when it was due: never before, and not much later. */
export function assertPunctual(
  arrivals: readonly Arrival[],
  dueOf: (n: number) => number,
  { delayToleranceMs }: Bounds,
): void {
  assertNeverEarly(arrivals, dueOf);
  for (const { n, at } of arrivals) {
    const late = at - dueOf(n);
    assert.ok(late <= delayToleranceMs, `message ${n} was handled ${late} ms late`);
  }
}

export function assertNeverEarly(arrivals: readonly Arrival[], dueOf: (n: number) => number): void {
  for (const { n, at } of arrivals) {
    const early = dueOf(n) - at;
    assert.ok(early <= 0, `message ${n} was handled ${early} ms early`);
  }
}
