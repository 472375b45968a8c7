import { declareContract } from "@posthorn/contract-tests";
import { resolveRabbitmq } from "../brokers/resolve.ts";
import { declareMissing, wantedVersions } from "./missing-brokers.ts";
import { rabbitmqHarness } from "./rabbitmq-harness.ts";
import { vitestRunner } from "./vitest-runner.ts";

const versions = wantedVersions(["3.10", "4.0", "4.3"], "RABBITMQ_VERSIONS", ["3.10", "4.0"]);

// In this worker, because only the process that started a broker can kill it.
const { brokers, missing } = await resolveRabbitmq({ versions, log: console.error });

for (const broker of brokers) declareContract(rabbitmqHarness(broker), vitestRunner);
declareMissing("rabbitmq", missing);
