/** The brokers that the tests of one file use: started once, whichever way this machine has. */
import { afterAll, beforeAll } from "vitest";
import type { KafkaBroker, KafkaVersion, RabbitmqBroker, RabbitmqVersion, RunningBroker } from "./brokers/broker.ts";
import { resolveKafka, resolveRabbitmq } from "./brokers/resolve.ts";
import type { Resolved } from "./brokers/ways.ts";

/** Starts a RabbitMQ before the tests of the file, ends it after them. A broker that cannot be had is a failure. */
export function useRabbitmq(version: RabbitmqVersion): () => RabbitmqBroker {
  return use(`RabbitMQ ${version}`, () => resolveRabbitmq({ versions: [version], log: console.error }));
}

/** The same with a Kafka. */
export function useKafka(version: KafkaVersion): () => KafkaBroker {
  return use(`Kafka ${version}`, () => resolveKafka({ versions: [version], log: console.error }));
}

function use<B extends RunningBroker>(name: string, resolve: () => Promise<Resolved<B>>): () => B {
  let broker: B | undefined;
  beforeAll(async () => {
    const { brokers, missing } = await resolve();
    [broker] = brokers;
    if (broker === undefined) throw new Error(`No ${name}: ${missing.map(({ reason }) => reason).join("; ")}`);
  });
  afterAll(() => broker?.stop());
  return () => {
    if (broker === undefined) throw new Error("The broker is used outside of a test.");
    return broker;
  };
}
