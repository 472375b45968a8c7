import { declareContract } from "@posthorn/contract-tests";
import { resolveSqs } from "../brokers/resolve.ts";
import { declareMissing } from "./missing-brokers.ts";
import { excusing } from "./sqs-emulators.ts";
import { sqsHarness } from "./sqs-harness.ts";
import { vitestRunner } from "./vitest-runner.ts";

// In this worker, because only the process that started a broker can kill it.
const { brokers, missing } = await resolveSqs({ log: console.error });

for (const broker of brokers) declareContract(await sqsHarness(broker), excusing(broker.version, vitestRunner));
declareMissing("sqs", missing);
