import { partFor } from "./case.ts";
import type { ContractCase } from "./case.ts";
import { contractCases } from "./cases/index.ts";
import type { ContractHarness } from "./harness.ts";
import { deadlineOf, runCase } from "./run-case.ts";

/** What a test runner offers: vitest, node:test, jest and mocha all fit. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => void;
  readonly test: (name: string, body: () => Promise<void>, timeoutMs: number) => void;
  /** Declares a test that may run at the same time as others so declared. Default: `test`. */
  readonly concurrentTest?: (name: string, body: () => Promise<void>, timeoutMs: number) => void;
  readonly afterAll: (body: () => Promise<void>, timeoutMs: number) => void;
}

/**
 * Declares every case for this transport. For each capability that it lacks the inverse is declared: that it is refused by name.
 *
 * Cases that disturb nobody come first, side by side where the runner can; then, one by one, those that break something.
 */
export function declareContract(
  harness: ContractHarness,
  runner: Runner,
  cases: readonly ContractCase[] = contractCases,
): void {
  const { describe, test, concurrentTest = test, afterAll } = runner;
  const declare = (each: ContractCase, declareTest: Runner["test"]): void => {
    const part = partFor(each, harness.capabilities);
    if (part === undefined) return;
    const timeoutMs = deadlineOf(each, harness) + 5 * harness.bounds.patienceMs;
    declareTest(`${each.id} ${part.title}`, () => runCase(each, harness), timeoutMs);
  };
  describe(harness.name, () => {
    for (const each of cases) if (each.tier === "core") declare(each, concurrentTest);
    for (const each of cases) if (each.tier === "fault") declare(each, test);
    afterAll(() => harness.dispose(), 60_000);
  });
}
