import path from "node:path";
import { root } from "./shell.ts";
import { runVitest } from "./vitest.ts";
import type { TestResult } from "./vitest.ts";

/** Transports that the contract can be run on. `memory` also proves that the suite finds planted bugs. */
const projects: Readonly<Record<string, readonly string[]>> = {
  memory: ["contract-memory", "contract-mutants"],
  rabbitmq: ["contract-rabbitmq"],
  kafka: ["contract-kafka"],
  sqs: ["contract-sqs"],
};

export const contractTransports: readonly string[] = Object.keys(projects);

/** `npm run test:contract -- TRANSPORT … [vitest options]`; without a transport, all of them. */
export async function testContract(args: readonly string[]): Promise<number> {
  const firstOption = args.findIndex((arg) => arg.startsWith("-"));
  const named = firstOption === -1 ? args : args.slice(0, firstOption);
  const options = args.slice(named.length);
  const unknown = named.filter((name) => !contractTransports.includes(name));
  if (unknown.length > 0) {
    console.error(`Unknown: ${unknown.join(", ")}. Transports: ${contractTransports.join(", ")}.`);
    return 2;
  }
  let failed = 0;
  for (const transport of named.length === 0 ? contractTransports : named) {
    failed += (await runContract(transport, options)).failed;
  }
  return failed === 0 ? 0 : 1;
}

/** The cases of one transport, on every version of its broker. */
export function runContract(transport: string, options: readonly string[] = []): Promise<TestResult> {
  const chosen = (projects[transport] ?? []).map((project) => `--project=${project}`);
  return runVitest(`contract-${transport}`, [
    "--config=integration-tests/contract/vitest.config.ts",
    "--reporter=default",
    // Prints the closing line for each transport and version.
    `--reporter=${path.join(root, "integration-tests/contract/reporter.ts")}`,
    ...chosen,
    ...options,
  ]);
}
