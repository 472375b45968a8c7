import { AssertionError } from "node:assert";
import { isPosthornError } from "@posthorn/core";
import { watchBackground } from "./background.ts";
import type { ContractCase } from "./case.ts";
import { partFor } from "./case.ts";
import type { ContractHarness } from "./harness.ts";
import { within } from "./waiting.ts";
import { openWorld } from "./world.ts";

/** How much longer than the harness's patience a whole case may take. */
const patiencePerCase = 8;

export function deadlineOf(contractCase: ContractCase, harness: ContractHarness): number {
  const { patienceMs, redeliveryMs, resumeMs, detectMs, leaseMs } = harness.bounds;
  const faults = contractCase.tier === "fault" ? 2 * (resumeMs + detectMs) : 0;
  return (contractCase.slowness ?? 1) * (patiencePerCase * patienceMs + redeliveryMs + 3 * leaseMs + faults);
}

/**
 * Runs one case on one transport and closes everything that it made.
 *
 * @throws AssertionError when the transport does not show what the case asks for, when something failed in the background
 * meanwhile, or when it did not end; any other error is a defect of the suite, the harness or the adapter
 */
export async function runCase(contractCase: ContractCase, harness: ContractHarness): Promise<void> {
  const part = partFor(contractCase, harness.capabilities);
  if (part === undefined)
    throw new Error(`Case ${contractCase.id} is none for ${harness.name}: it lacks a capability.`);
  const background = watchBackground();
  const { world, end } = openWorld(harness, contractCase.id);
  let troubles: readonly string[] = [];
  try {
    await within(deadlineOf(contractCase, harness), `the end of case ${contractCase.id}`, part.run(world));
  } catch (error) {
    throw isPosthornError(error)
      ? unexpected(`the case expected no failure here, and got ${error.code}: ${error.message}`, error)
      : error;
  } finally {
    troubles = await end();
    background.end();
  }
  if (background.failures.length > 0)
    throw unexpected(
      `something failed in the background while this case ran: ${background.failures.map(String).join("; ")}`,
      background.failures[0],
    );
  if (troubles.length > 0) throw unexpected(troubles.join("; "));
}

function unexpected(message: string, cause?: unknown): AssertionError {
  return Object.assign(new AssertionError({ message }), cause === undefined ? {} : { cause });
}
