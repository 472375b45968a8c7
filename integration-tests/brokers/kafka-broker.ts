import type { BrokerOrigin, KafkaBroker, ServerControl } from "./broker.ts";
import { blockPublishers, registerAbsentBroker, unblockPublishers } from "./kafka-publishers.ts";
import { probeKafka } from "./kafka-ready.ts";
import { type KafkaPorts, kafkaUser } from "./kafka-settings.ts";
import { at } from "./kafka-wire.ts";

/** A broker that was started, whichever way, and is at work. */
export interface StartedKafka {
  readonly origin: BrokerOrigin;
  /** The host of its ports. */
  readonly host: string;
  readonly ports: KafkaPorts;
  /** The certificate of its secured listener. */
  readonly cert: string;
  readonly clusterId: string;
  readonly control: ServerControl;
  readonly stop: () => Promise<void>;
}

/** @throws Error when it does not answer; then it has been stopped. */
export async function kafkaBroker(started: StartedKafka): Promise<KafkaBroker> {
  const { origin, host, ports, cert, clusterId, control, stop } = started;
  const plain = { host, port: ports.plain };
  try {
    await registerAbsentBroker({ host, port: ports.controller }, clusterId);
    return {
      kind: "kafka",
      version: await probeKafka(plain),
      origin,
      url: `kafka://${at(plain)}`,
      brokers: [at(plain)],
      links: ports.links,
      secured: { brokers: [at({ host, port: ports.secured })], ca: cert, ...kafkaUser },
      control: {
        ...control,
        blockPublishers: () => blockPublishers(plain),
        unblockPublishers: () => unblockPublishers(plain),
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
