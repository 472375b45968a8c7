import { seededRandom } from "./random.ts";

/** What goes wrong, and how often: probabilities from 0 (never, the default) to 1 (always). */
export interface FaultPlan {
  /** Where the sequence of faults begins: the same seed and the same calls give the same faults. Default 1. */
  readonly seed: number;
  /** A message is stored twice, the copy right behind it, so that it is delivered twice. */
  readonly duplicate: number;
  /** Not the first but any of the next hundred messages is delivered next. A log's partition keeps its order, and so does a key of an ordered channel. */
  readonly reorder: number;
  /**
   * A settlement does not arrive. On a queue the lease then runs out and the message comes back; on a log the commit is
   * made good by the partition's next one, and only a crash before that brings the message back.
   */
  readonly dropSettlement: number;
  /** A batch is stored, but the sender never hears of it: its outcome stays unknown until the sender gives up. */
  readonly dropConfirm: number;
  /** The connection is cut while a batch (any part of it may have been stored), a settlement or what a walk removes is on its way. */
  readonly cut: number;
}

/** Part of a plan. */
export type FaultOptions = { readonly [Name in keyof FaultPlan]?: FaultPlan[Name] | undefined };

export type Fault = Exclude<keyof FaultPlan, "seed">;

export const noFaults: FaultPlan = Object.freeze({
  seed: 1,
  duplicate: 0,
  reorder: 0,
  dropSettlement: 0,
  dropConfirm: 0,
  cut: 0,
});

/** The dice of one broker. */
export interface Faults {
  readonly plan: FaultPlan;
  /** Whether it happens now. Draws no number where the probability is 0. */
  happens(fault: Fault): boolean;
  /** A whole number from 0 to `end` - 1. */
  pick(end: number): number;
  /** @param anew begins the sequence of faults again, from the plan's seed */
  set(plan: FaultPlan, anew: boolean): void;
}

export function createFaults(initial: FaultPlan): Faults {
  let plan = initial;
  let random = seededRandom(plan.seed);
  return {
    get plan() {
      return plan;
    },
    happens: (fault) => plan[fault] > 0 && random() < plan[fault],
    pick: (end) => Math.floor(random() * end),
    set(next, anew) {
      plan = next;
      if (anew) random = seededRandom(next.seed);
    },
  };
}
