import { run } from "./shell.ts";
import { contractTransports, runContract } from "./test-contract.ts";
import { runVitest } from "./vitest.ts";
import type { TestResult } from "./vitest.ts";

interface Step {
  readonly name: string;
  readonly work: () => Promise<TestResult>;
  /** What comes later needs it. */
  readonly required?: boolean;
}

const command =
  (program: string, ...args: string[]) =>
  async (): Promise<TestResult> => {
    const code = await run(program, args, { TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" });
    return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, failures: [] };
  };

const steps: readonly Step[] = [
  { name: "format", work: command("oxfmt", "--check") },
  { name: "build", work: command("turbo", "run", "build", "--output-logs=errors-only"), required: true },
  // Its rules know types, and packages see each other through what was built.
  { name: "lint", work: command("oxlint", "--deny-warnings") },
  { name: "type check", work: command("turbo", "run", "typecheck", "--output-logs=errors-only") },
  { name: "unit", work: () => runVitest("unit", ["--project=unit"]) },
  { name: "types", work: () => runVitest("types", ["--project=types"]) },
  ...contractTransports.map((transport) => ({ name: `contract ${transport}`, work: () => runContract(transport) })),
  { name: "integration", work: () => runVitest("integration", ["--config=integration-tests/vitest.config.ts"]) },
];

/** Everything that must hold, in order. Ends with a table, which names what failed, and, on a line of its own, `N passed, N failed`. */
export async function testAll(): Promise<number> {
  const lines: string[] = [];
  let passed = 0;
  let failed = 0;
  for (const step of steps) {
    console.log(`\n── ${step.name} ${"─".repeat(Math.max(0, 70 - step.name.length))}`);
    const startedAt = performance.now();
    const result = await step.work();
    passed += result.passed;
    failed += result.failed;
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    lines.push(
      `${result.failed === 0 ? "ok  " : "FAIL"} ${step.name.padEnd(20)} ${String(result.passed).padStart(5)} passed ${String(result.failed).padStart(4)} failed ${seconds.padStart(8)} s`,
      ...result.failures.map((failure) => `     ${failure}`),
    );
    if (result.failed > 0 && step.required === true) break;
  }
  console.log(`\n${lines.join("\n")}\n`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
