import { declareContract } from "@posthorn/contract-tests";
import { resolveKafka } from "../brokers/resolve.ts";
import { kafkaHarness } from "./kafka-harness.ts";
import { declareMissing, wantedVersions } from "./missing-brokers.ts";
import { vitestRunner } from "./vitest-runner.ts";

const versions = wantedVersions(["3.9", "4.4"], "KAFKA_VERSIONS", ["3.9", "4.4"]);

// In this worker, because only the process that started a broker can kill it.
const { brokers, missing } = await resolveKafka({ versions, log: console.error });

for (const broker of brokers) declareContract(await kafkaHarness(broker), vitestRunner);
declareMissing("kafka", missing);
