import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { root, run } from "./shell.ts";

export interface TestResult {
  readonly passed: number;
  readonly failed: number;
  /** What failed, each with its first line of why. */
  readonly failures: readonly string[];
}

/** What we read of vitest's JSON report. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numTotalTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

const noReport: Report = { numPassedTests: 0, numFailedTests: 0, numTotalTests: 0, testResults: [] };

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
  const result = await readReport(report);
  const { numPassedTests: passed, numFailedTests, numTotalTests } = result;
  const endedBadly = numFailedTests === 0 && (code !== 0 || numTotalTests === 0);
  return { passed, failed: endedBadly ? 1 : numFailedTests, failures: failuresOf(result) };
}

function failuresOf({ testResults }: Report): string[] {
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages = [] }) => {
        const why = failureMessages[0]?.split("\n", 1)[0] ?? "";
        return `${path.relative(root, name)}: ${fullName}: ${why}`;
      }),
  );
}

function humanReporters(args: readonly string[]): readonly string[] {
  return args.some((arg) => arg.startsWith("--reporter")) ? [] : ["--reporter=default"];
}

async function readReport(file: string): Promise<Report> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Report;
  } catch (error) {
    console.error(`No test report: ${String(error)}`);
    return noReport;
  }
}
