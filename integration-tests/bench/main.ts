// npm run bench -- SCENARIO: prints medians and ratios, and writes them to reports/bench-SCENARIO.json.
import { benchMemory } from "./memory.ts";
import { report } from "./measure.ts";
import type { Result } from "./measure.ts";
import { benchRabbitmq } from "./rabbitmq.ts";

const scenarios: Readonly<Record<string, (rounds: number) => Promise<readonly Result[]>>> = {
  memory: benchMemory,
  rabbitmq: benchRabbitmq,
};
const rounds = 5;

const name = process.argv[2] ?? "";
const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
if (scenario === undefined) {
  console.error(`npm run bench -- SCENARIO, where SCENARIO is one of ${Object.keys(scenarios).join(", ")}.`);
  process.exitCode = 2;
} else {
  await report(name, await scenario(rounds));
}
