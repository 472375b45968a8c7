// npm run bench -- SCENARIO: prints what it measures, and writes it to reports/bench-SCENARIO.json.
import { benchDelays } from "./delays.ts";
import { benchKafka } from "./kafka.ts";
import { benchMemory } from "./memory.ts";
import { report } from "./measure.ts";
import { benchRabbitmq } from "./rabbitmq.ts";
import { benchSqs } from "./sqs.ts";

const rounds = 5;
const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  delays: benchDelays,
  kafka: async () => report("kafka", await benchKafka(rounds)),
  memory: async () => report("memory", await benchMemory(rounds)),
  rabbitmq: async () => report("rabbitmq", await benchRabbitmq(rounds)),
  sqs: async () => report("sqs", await benchSqs(rounds)),
};

const name = process.argv[2] ?? "";
const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
if (scenario === undefined) {
  console.error(`npm run bench -- SCENARIO, where SCENARIO is one of ${Object.keys(scenarios).join(", ")}.`);
  process.exitCode = 2;
} else {
  await scenario();
}
