/** The brokers that the tests of one file use: started once, whichever way this machine has. */
import { afterAll, beforeAll } from "vitest";
import type { KafkaBroker, KafkaVersion, RabbitmqBroker, RabbitmqVersion, RunningBroker } from "./brokers/broker.ts";
import { resolveKafka, resolveRabbitmq } from "./brokers/resolve.ts";
import type { Resolved } from "./brokers/ways.ts";

/** A broker and its version. */
export type BrokerName = readonly ["RabbitMQ", RabbitmqVersion] | readonly ["Kafka", KafkaVersion];

/** What every durable transport must show is shown on these. */
export const durableBrokers: readonly BrokerName[] = [
  ["RabbitMQ", "3.10"],
  ["RabbitMQ", "4.0"],
  ["Kafka", "4.4"],
  ["Kafka", "3.9"],
];

/** A dead consumer's partitions wait for the end of its session: seconds here, half a minute by default. */
const quickKafka = "sessionTimeoutMs=3000&requestTimeoutMs=4000";

/** A broker as the tests of transports see it. */
export interface BrokerInUse {
  /** For `transportFor`, here and in the programs that tests start. */
  readonly url: string;
  readonly control?: RunningBroker["control"];
}

/** Starts a broker before the tests of the file, ends it after them. A broker that cannot be had is a failure. */
export function useBroker([kind, version]: BrokerName): () => BrokerInUse {
  if (kind === "RabbitMQ") return useRabbitmq(version);
  const broker = useKafka(version);
  return () => ({ ...broker(), url: `${broker().url}?${quickKafka}` });
}

export function useRabbitmq(version: RabbitmqVersion): () => RabbitmqBroker {
  return use(`RabbitMQ ${version}`, () => resolveRabbitmq({ versions: [version], log: console.error }));
}

export function useKafka(version: KafkaVersion): () => KafkaBroker {
  return use(`Kafka ${version}`, () => resolveKafka({ versions: [version], log: console.error }));
}

function use<Broker extends RunningBroker>(name: string, resolve: () => Promise<Resolved<Broker>>): () => Broker {
  let broker: Broker | undefined;
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
