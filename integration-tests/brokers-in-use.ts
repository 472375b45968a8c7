/** The brokers that the tests of one file use: started once, whichever way this machine has. */
import { afterAll, beforeAll } from "vitest";
import type { Broker } from "./brokers/broker.ts";
import { resolveRabbitmq } from "./brokers/resolve.ts";
import type { RabbitmqVersion } from "./brokers/broker.ts";

/** Starts a RabbitMQ before the tests of the file, ends it after them. A broker that cannot be had is a failure. */
export function useRabbitmq(version: RabbitmqVersion): () => Broker {
  let broker: Broker | undefined;
  beforeAll(async () => {
    const { brokers, missing } = await resolveRabbitmq({ versions: [version], log: console.error });
    [broker] = brokers;
    if (broker === undefined)
      throw new Error(`No RabbitMQ ${version}: ${missing.map(({ reason }) => reason).join("; ")}`);
  });
  afterAll(() => broker?.stop());
  return () => {
    if (broker === undefined) throw new Error("The broker is used outside of a test.");
    return broker;
  };
}
