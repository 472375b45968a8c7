/** The brokers that the tests of one file use: started once, whichever way this machine has. */
import { afterAll, beforeAll } from "vitest";
import type {
  KafkaBroker,
  KafkaVersion,
  RabbitmqBroker,
  RabbitmqVersion,
  RunningBroker,
  SqsBroker,
  SqsVersion,
} from "./brokers/broker.ts";
import { type KafkaCluster, startKafkaCluster } from "./brokers/kafka-cluster.ts";
import { resolveKafka, resolveRabbitmq, resolveSqs } from "./brokers/resolve.ts";
import type { Resolved } from "./brokers/ways.ts";

/** A broker and its version. */
export type BrokerName =
  | { readonly kind: "RabbitMQ"; readonly version: RabbitmqVersion }
  | { readonly kind: "Kafka"; readonly version: KafkaVersion }
  | { readonly kind: "SQS"; readonly version: SqsVersion };

/** What every durable transport must show is shown on these. */
export const durableBrokers: readonly BrokerName[] = [
  { kind: "RabbitMQ", version: "3.10" },
  { kind: "RabbitMQ", version: "4.0" },
  { kind: "Kafka", version: "4.4" },
  { kind: "Kafka", version: "3.9" },
  { kind: "SQS", version: "2012-11-05" },
];

/** A dead consumer's partitions wait for the end of its session: seconds here, half a minute by default. */
const quickKafka = "sessionTimeoutMs=3000&requestTimeoutMs=4000";

/** A dead consumer's messages wait for the end of their visibility: seconds here, half a minute by default. */
const quickSqs = "visibilitySeconds=3&waitSeconds=3&requestTimeoutMs=4000";

/** A broker as the tests of transports see it. */
export interface BrokerInUse {
  /** For `transportFor`, here and in the programs that tests start. */
  readonly url: string;
  readonly control?: RunningBroker["control"];
}

/** Starts a broker before the tests of the file, ends it after them. A broker that cannot be had is a failure. */
export function useBroker(name: BrokerName): () => BrokerInUse {
  if (name.kind === "RabbitMQ") return useRabbitmq(name.version);
  if (name.kind === "SQS") {
    const broker = useSqs();
    return () => ({ ...broker(), url: `${sqsUrl(broker())}&${quickSqs}` });
  }
  const broker = useKafka(name.version);
  return () => ({ ...broker(), url: `${broker().url}?${quickKafka}` });
}

export function useRabbitmq(version: RabbitmqVersion): () => RabbitmqBroker {
  return use(() => only(`RabbitMQ ${version}`, resolveRabbitmq({ versions: [version], log: console.error })));
}

export function useKafka(version: KafkaVersion): () => KafkaBroker {
  return use(() => only(`Kafka ${version}`, resolveKafka({ versions: [version], log: console.error })));
}

export function useSqs(): () => SqsBroker {
  return use(() => only("SQS", resolveSqs({ log: console.error })));
}

/** How an application names an emulator. */
export function sqsUrl({ endpoint, region, credentials }: SqsBroker): string {
  const [key, secret] = [credentials.accessKeyId, credentials.secretAccessKey].map(encodeURIComponent);
  return `sqs://${key}:${secret}@${region}?endpoint=${encodeURIComponent(endpoint)}`;
}

/** Three brokers that can be ended each by itself: always processes of this machine. */
export function useKafkaCluster(version: KafkaVersion): () => KafkaCluster {
  return use(() => startKafkaCluster(version, { log: console.error }));
}

async function only<Broker extends RunningBroker>(name: string, resolving: Promise<Resolved<Broker>>): Promise<Broker> {
  const { brokers, missing } = await resolving;
  const [broker] = brokers;
  if (broker === undefined) throw new Error(`No ${name}: ${missing.map(({ reason }) => reason).join("; ")}`);
  return broker;
}

function use<Broker extends Pick<RunningBroker, "stop">>(start: () => Promise<Broker>): () => Broker {
  let broker: Broker | undefined;
  beforeAll(async () => {
    broker = await start();
  });
  afterAll(() => broker?.stop());
  return () => {
    if (broker === undefined) throw new Error("The broker is used outside of a test.");
    return broker;
  };
}
