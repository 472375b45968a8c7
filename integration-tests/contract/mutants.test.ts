/** The suite is itself tested: every mutant of a transport is killed by the cases that say so, and by a failed expectation. */
import { AssertionError } from "node:assert";
import { inspect } from "node:util";
import type { ContractCase } from "@posthorn/contract-tests";
import { contractCases, runCase } from "@posthorn/contract-tests";
import type { Mutant } from "@posthorn/contract-tests/mutants";
import { mutants } from "@posthorn/contract-tests/mutants";
import { afterAll, describe, expect, test } from "vitest";
import { memoryHarness } from "./memory-harness.ts";

/** Impatient: a mutant that hangs is killed by a deadline. */
const bounds = { patienceMs: 1_000, redeliveryMs: 1_000, resumeMs: 1_000, detectMs: 1_500, backlog: 2_000 };

const named = [...new Set(mutants.flatMap(({ killedBy }) => killedBy))].toSorted();
const table: { mutant: string; killedBy: string; verdict: string }[] = [];

function caseOf(id: string): ContractCase {
  const found = contractCases.find((each) => each.id === id);
  if (found === undefined) throw new Error(`There is no case ${id}.`);
  return found;
}

async function failureOf({ plant }: Mutant, id: string): Promise<unknown> {
  const harness = memoryHarness("queue", { plant: plant(), bounds });
  try {
    await runCase(caseOf(id), harness);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await harness.dispose();
  }
}

describe("mutants", () => {
  test.concurrent.for(named)("%s passes on the healthy transport", { timeout: 60_000 }, async (id) => {
    const harness = memoryHarness("queue", { bounds });
    await runCase(caseOf(id), harness);
    await harness.dispose();
  });

  test.concurrent.for(mutants)("$bug", { timeout: 60_000 }, async (mutant) => {
    for (const id of mutant.killedBy) {
      const failure = await failureOf(mutant, id);
      const verdict = failure === undefined ? "ALIVE" : failure instanceof AssertionError ? "killed" : "BROKEN";
      table.push({ mutant: mutant.bug, killedBy: id, verdict });
      expect(verdict, failure === undefined ? `case ${id} passes on it` : `case ${id}: ${inspect(failure)}`).toBe(
        "killed",
      );
    }
  });
});

afterAll(() => {
  const rows = Object.entries(Object.groupBy(table, ({ mutant }) => mutant)).map(
    ([mutant, kills = []]) =>
      `${mutant.padEnd(70)} ${kills.map(({ killedBy, verdict }) => (verdict === "killed" ? killedBy : `${killedBy} ${verdict}`)).join(", ")}`,
  );
  console.log(`Mutants, and the cases that killed them:\n${rows.toSorted().join("\n")}`);
});
