import type { KafkaBroker, KafkaVersion, RabbitmqBroker, RabbitmqVersion } from "./broker.ts";
import { kafkaImages, rabbitmqImages } from "./images.ts";
import { startKafkaContainer } from "./kafka-container.ts";
import { startNativeKafka } from "./kafka-native.ts";
import { probeKafka } from "./kafka-ready.ts";
import { addressOf } from "./kafka-wire.ts";
import { startRabbitmqContainer } from "./rabbitmq-container.ts";
import { startNativeRabbitmq } from "./rabbitmq-native.ts";
import { probeRabbitmq } from "./rabbitmq-probe.ts";
import { messageOf } from "./run.ts";
import { resolveBy, type Resolved, type ResolveOptions } from "./ways.ts";

/**
 * Real RabbitMQ brokers for a test run, from the first of three ways that works: the one that `RABBITMQ_URL` names (then
 * it is the only one), containers where a Docker daemon answers, processes of this machine (README.md).
 *
 * What cannot be had is named in `missing`.
 *
 * @throws the reason of `signal` when it is aborted; what had been started is stopped then.
 */
export function resolveRabbitmq(options: ResolveOptions<RabbitmqVersion>): Promise<Resolved<RabbitmqBroker>> {
  return resolveBy(
    {
      name: "RabbitMQ",
      addressVariable: "RABBITMQ_URL",
      useAddress: async (url) => ({
        kind: "rabbitmq",
        version: await probeRabbitmq(url),
        origin: "address",
        url,
        ...leftAlone,
      }),
      images: rabbitmqImages,
      startContainer: startRabbitmqContainer,
      startNative: startNativeRabbitmq,
    },
    options,
  );
}

/** The same for Kafka, where `KAFKA_BROKERS` names the address: `host:port`, or several with commas between. */
export function resolveKafka(options: ResolveOptions<KafkaVersion>): Promise<Resolved<KafkaBroker>> {
  return resolveBy(
    {
      name: "Kafka",
      addressVariable: "KAFKA_BROKERS",
      useAddress: async (list) => {
        const brokers = list.split(",").map((broker) => broker.trim());
        const version = await Promise.any(brokers.map((broker) => probeKafka(addressOf(broker)))).catch(
          ({ errors }: AggregateError) => Promise.reject(new Error(errors.map(messageOf).join("; "))),
        );
        const url = `kafka://${brokers.join()}`;
        return { kind: "kafka", version, origin: "address", url, brokers, links: [], ...leftAlone };
      },
      images: kafkaImages,
      startContainer: startKafkaContainer,
      startNative: startNativeKafka,
    },
    options,
  );
}

const leave = async (): Promise<void> => undefined;
/** What becomes of a broker that was given. */
const leftAlone = { stop: leave, [Symbol.asyncDispose]: leave } as const;
