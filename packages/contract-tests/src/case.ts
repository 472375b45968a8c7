import type { Capabilities } from "@posthorn/core";
import type { World } from "./world.ts";

/** One thing that a transport must show. Plain data: whatever can call a function can run it. */
export interface ContractCase {
  /** As in the list of cases: a letter for the subject, a number, and a letter where one sentence takes several runs. */
  readonly id: string;
  /** What is shown, as a sentence. */
  readonly title: string;
  /** `core` cases disturb nobody and run side by side. `fault` cases break something and run alone. */
  readonly tier: "core" | "fault";
  /** The capability it takes. Where a transport lacks it `inverse` runs in place of `run`. */
  readonly needs?: SwitchableCapability;
  readonly inverse?: { readonly title: string; run(world: World): Promise<void> };
  /** How long it may take at most, as a multiple of the ordinary. Default 1. */
  readonly slowness?: number;
  run(world: World): Promise<void>;
}

/** Capabilities that a transport has or lacks. */
export type SwitchableCapability = {
  [Name in keyof Capabilities]: Capabilities[Name] extends boolean ? Name : never;
}[keyof Capabilities];

/** What of the case is to be run on a transport with these capabilities. */
export function partFor(
  contractCase: ContractCase,
  capabilities: Capabilities,
): { readonly title: string; run(world: World): Promise<void> } {
  const { needs, inverse } = contractCase;
  if (needs === undefined || capabilities[needs]) return contractCase;
  if (inverse === undefined)
    throw new Error(`Case ${contractCase.id} needs ${needs} and says nothing about transports without it.`);
  return inverse;
}
