import type { KafkaBroker } from "./broker.ts";
import { selfSignedCertificate } from "./certificate.ts";
import { containerHost, startContainerServer } from "./container-server.ts";
import { kafkaBroker } from "./kafka-broker.ts";
import { awaitKafka } from "./kafka-ready.ts";
import {
  formatArguments,
  kafkaConfiguration,
  kafkaPortCount,
  kafkaPorts,
  type KafkaPorts,
  newClusterId,
} from "./kafka-settings.ts";
import type { NativeOptions } from "./native-server.ts";
import { onFreePorts } from "./ports.ts";
import { ensureTool } from "./tools.ts";

const folder = "/etc/kafka/posthorn";
const data = "/var/lib/kafka/data/posthorn";

// Not the image's own script: that makes no users.
const script = `
  [ -e ${data}/meta.properties ] || /opt/kafka/bin/kafka-storage.sh "$@"
  exec /opt/kafka/bin/kafka-server-start.sh ${folder}/server.properties`;

/**
 * Starts an image of Kafka in Docker: `apache/kafka`, or one with the same `/opt/kafka/bin`. A broker advertises its
 * ports, so they are the same inside and outside, and stay the same over restarts.
 *
 * @throws Error when no Docker daemon answers, the image cannot be pulled, or the broker does not start (then with the
 * last lines of its log).
 */
export async function startKafkaContainer(image: string, options: NativeOptions): Promise<KafkaBroker> {
  const host = await containerHost();
  const openssl = await ensureTool("openssl", options);
  return onFreePorts(kafkaPortCount, (free) => startOn(kafkaPorts(free), { image, host, openssl }, options.signal));
}

interface Surroundings {
  readonly image: string;
  /** Under which the published ports are reached. */
  readonly host: string;
  readonly openssl: string;
}

async function startOn(
  ports: KafkaPorts,
  { image, host, openssl }: Surroundings,
  signal: AbortSignal | undefined,
): Promise<KafkaBroker> {
  const { key, cert } = await selfSignedCertificate(openssl);
  const keystore = `${folder}/keystore.pem`;
  const clusterId = newClusterId();
  const published = [ports.plain, ports.secured, ports.controller, ...ports.links.map(({ listenPort }) => listenPort)];
  const address = { host, port: ports.plain };
  const server = await startContainerServer({
    image,
    equip: (container) =>
      container
        .withEnvironment({
          KAFKA_HEAP_OPTS: "-Xmx512m",
          KAFKA_JVM_PERFORMANCE_OPTS: "-XX:+UseSerialGC",
          EXTRA_ARGS: "", // no log of garbage collections
        })
        .withCopyContentToContainer([
          {
            content: kafkaConfiguration({ ports, bind: "0.0.0.0", host, data, keystore }),
            target: `${folder}/server.properties`,
          },
          { content: key + cert, target: keystore },
        ])
        .withExposedPorts(...published.map((port) => ({ container: port, host: port })))
        .withEntrypoint(["sh", "-ec", script, "kafka"])
        .withCommand(formatArguments(clusterId, `${folder}/server.properties`)),
    readyText: "Kafka Server started",
    awaitReady: (signal) => awaitKafka(address, { deadlineMs: 90_000, signal }),
    signal,
  });
  return kafkaBroker({ origin: "container", host, ports, cert, clusterId, control: server.control, stop: server.stop });
}
