import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { root, run } from "./shell.ts";

export interface TestResult {
  readonly passed: number;
  readonly failed: number;
}

/** Runs the named vitest projects and counts what they ran. A run that ends badly counts as a failure even when no test failed. */
export async function runVitest(name: string, args: readonly string[]): Promise<TestResult> {
  const report = path.join(root, "reports", `${name}.json`);
  await mkdir(path.dirname(report), { recursive: true });
  await rm(report, { force: true });
  const code = await run("vitest", [
    "run",
    ...args,
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...humanReporters(args),
  ]);
  const { numPassedTests, numFailedTests, numTotalTests } = await readReport(report);
  const failed = numFailedTests === 0 && (code !== 0 || numTotalTests === 0) ? 1 : numFailedTests;
  return { passed: numPassedTests, failed };
}

function humanReporters(args: readonly string[]): readonly string[] {
  return args.some((arg) => arg.startsWith("--reporter")) ? [] : ["--reporter=default"];
}

async function readReport(
  file: string,
): Promise<{ numPassedTests: number; numFailedTests: number; numTotalTests: number }> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as {
      numPassedTests: number;
      numFailedTests: number;
      numTotalTests: number;
    };
  } catch (error) {
    console.error(`No test report: ${String(error)}`);
    return { numPassedTests: 0, numFailedTests: 0, numTotalTests: 0 };
  }
}
