import type { KafkaBroker, KafkaVersion, RabbitmqBroker, RabbitmqVersion, SqsBroker } from "./broker.ts";
import { kafkaImages, rabbitmqImages, sqsImages } from "./images.ts";
import { startKafkaContainer } from "./kafka-container.ts";
import { startNativeKafka } from "./kafka-native.ts";
import { probeKafka } from "./kafka-ready.ts";
import { addressOf } from "./kafka-wire.ts";
import { startRabbitmqContainer } from "./rabbitmq-container.ts";
import { startNativeRabbitmq } from "./rabbitmq-native.ts";
import { probeRabbitmq } from "./rabbitmq-probe.ts";
import { messageOf } from "./run.ts";
import { startSqsContainer } from "./sqs-container.ts";
import { startNativeSqs } from "./sqs-native.ts";
import { probeSqs, testCredentials } from "./sqs-probe.ts";
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

/**
 * The same for SQS and SNS, which have no versions: an emulator of both. `SQS_ENDPOINT` names the address, and `AWS_REGION`,
 * `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` what it expects, if that is not what emulators do.
 */
export function resolveSqs(options: Omit<ResolveOptions<never>, "versions"> = {}): Promise<Resolved<SqsBroker>> {
  return resolveBy(
    {
      name: "SQS",
      addressVariable: "SQS_ENDPOINT",
      useAddress: async (address) => {
        const endpoint = address.replace(/\/$/, "");
        const { AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env;
        return {
          kind: "sqs",
          ...(await probeSqs(endpoint)),
          origin: "address",
          url: endpoint,
          endpoint,
          region: AWS_REGION || "us-east-1",
          credentials:
            AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY
              ? { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY }
              : testCredentials,
          ...leftAlone,
        };
      },
      images: sqsImages,
      startContainer: startSqsContainer,
      startNative: (_version, options) => startNativeSqs(options),
    },
    { ...options, versions: ["2012-11-05"] },
  );
}

const leave = async (): Promise<void> => undefined;
/** What becomes of a broker that was given. */
const leftAlone = { stop: leave, [Symbol.asyncDispose]: leave } as const;
