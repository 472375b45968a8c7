/** One closing line for each transport and broker version: `rabbitmq 4.0.5: 61 passed, 0 failed, 0 skipped`. */
import type { Reporter, TestModule, TestSuite } from "vitest/node";

export default class ContractReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines = modules.flatMap((module) => [...module.children.suites()].map(closingLine));
    if (lines.length > 0) console.log(`\n${lines.toSorted().join("\n")}\n`);
  }
}

function closingLine(suite: TestSuite): string {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const test of suite.children.allTests()) {
    const { missing } = test.meta();
    if (missing !== undefined) return `${suite.name}: not run: ${missing}`;
    const { state } = test.result();
    counts[state === "pending" ? "skipped" : state]++;
  }
  return `${suite.name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}
