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
  /** The capabilities it takes. Where a transport lacks one, `inverse` runs in place of `run`. */
  readonly needs?: readonly SwitchableCapability[];
  /**
   * What is shown instead. Of the cases that need a capability at least one has it, the others are no cases for a transport without
   * that capability; a test holds that.
   */
  readonly inverse?: Part;
  /** How long it may take at most, as a multiple of the ordinary. Default 1. */
  readonly slowness?: number;
  run(world: World): Promise<void>;
}

/** What is run of a case. */
export interface Part {
  readonly title: string;
  run(world: World): Promise<void>;
}

/** Capabilities that a transport has or lacks. */
export type SwitchableCapability = {
  [Name in keyof Capabilities]: Capabilities[Name] extends boolean ? Name : never;
}[keyof Capabilities];

/** What of the case is to be run on a transport with these capabilities; `undefined` where another case says what it lacks. */
export function partFor(contractCase: ContractCase, capabilities: Capabilities): Part | undefined {
  const { needs = [], inverse } = contractCase;
  return needs.every((capability) => capabilities[capability]) ? contractCase : inverse;
}
