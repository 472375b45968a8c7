// What `npm run TASK` and `npm test` do. Every task ends with the exit code of what it ran.
import { bench } from "./bench.ts";
import { run, runNode } from "./shell.ts";
import { testAll } from "./test-all.ts";
import { testContract } from "./test-contract.ts";
import { runVitest } from "./vitest.ts";

type Task = (args: readonly string[]) => Promise<number>;

export function build(): Promise<number> {
  return run("turbo", ["run", "build", "--output-logs=errors-only"], quietTurbo);
}

/** Turbo neither counts its users nor asks anybody for news. */
const quietTurbo = { TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", TURBO_NO_UPDATE_NOTIFIER: "1" };

async function afterBuild(task: () => Promise<number>): Promise<number> {
  const code = await build();
  return code === 0 ? task() : code;
}

async function exitCodeOf(result: Promise<{ readonly failed: number }>): Promise<number> {
  return (await result).failed === 0 ? 0 : 1;
}

const tasks: Readonly<Record<string, Task>> = {
  build,
  format: () => run("oxfmt", []),
  lint: () => afterBuild(() => run("oxlint", [])),
  demo: (args) => afterBuild(() => runNode("docs/examples/webhooks/src/main.ts", args)),
  broker: (args) => runNode("integration-tests/brokers/cli.ts", args),
  bench: (args) => afterBuild(() => bench(args)),
  test: testAll,
  "test-unit": (args) => afterBuild(() => exitCodeOf(runVitest("unit", ["--project=unit", ...args]))),
  "test-contract": (args) => afterBuild(() => testContract(args)),
  "test-integration": (args) =>
    afterBuild(() => exitCodeOf(runVitest("integration", ["--config=integration-tests/vitest.config.ts", ...args]))),
};

if (import.meta.main) {
  const [name = "", ...args] = process.argv.slice(2);
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
  if (task === undefined) {
    console.error(`There is no task ${JSON.stringify(name)}. Tasks: ${Object.keys(tasks).join(", ")}.`);
    process.exitCode = 2;
  } else {
    process.exitCode = await task(args);
  }
}
