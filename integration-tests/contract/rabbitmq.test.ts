import { declareContract } from "@posthorn/contract-tests";
import { describe, expect, test } from "vitest";
import type { RabbitmqVersion } from "../brokers/broker.ts";
import { resolveRabbitmq } from "../brokers/resolve.ts";
import { rabbitmqHarness } from "./rabbitmq-harness.ts";
import { vitestRunner } from "./vitest-runner.ts";

const known: readonly RabbitmqVersion[] = ["3.10", "4.0", "4.3"];
const wanted = (process.env["RABBITMQ_VERSIONS"] ?? "3.10,4.0").split(",");
const versions = known.filter((version) => wanted.includes(version));

// In this worker, because only the process that started a broker can kill it.
const { brokers, missing } = await resolveRabbitmq({ versions, log: console.error });

for (const broker of brokers) declareContract(rabbitmqHarness(broker), vitestRunner);

for (const { version, reason } of missing) {
  describe(`rabbitmq ${version}`, () => {
    test("the broker cannot be had here", ({ task }) => {
      task.meta.missing = reason;
      expect(process.env["CI"], reason).toBe(undefined);
    });
  });
}

declare module "vitest" {
  interface TaskMeta {
    /** Why the broker that this suite is about is not there. */
    missing?: string;
  }
}
