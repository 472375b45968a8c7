import type { KafkaVersion, ServerControl } from "./broker.ts";
import { type EquippedNode, equipNode, type KafkaSoftware, nativeKafka } from "./kafka-native.ts";
import { probeKafka } from "./kafka-ready.ts";
import { findCoordinator, partitions } from "./kafka-requests.ts";
import { kafkaMemberPortCount, kafkaPorts, newClusterId } from "./kafka-settings.ts";
import { type Address, at } from "./kafka-wire.ts";
import type { NativeOptions } from "./native-server.ts";
import { poll, type PollOptions } from "./poll.ts";
import { onFreePorts } from "./ports.ts";

/**
 * Three brokers, each a controller, too, that are one cluster, without TLS and without a user. Topics have three replicas, two of which must be in
 * sync: it goes on when any one of them ends.
 */
export interface KafkaCluster extends AsyncDisposable {
  /** As `RunningBroker` has it. */
  readonly version: string;
  /** `host:port` of each. */
  readonly brokers: readonly string[];
  readonly nodes: readonly KafkaNode[];
  /** Ends all of them and removes their data. May be called more than once. */
  stop(): Promise<void>;
}

export interface KafkaNode {
  readonly id: number;
  readonly address: Address;
  /** `start` resolves when every replica in the cluster is in sync again. */
  readonly control: ServerControl;
}

const ids = [1, 2, 3] as const;
/** Enough for a few topics; three such brokers take about 700 MB. */
const heapMb = 256;

/** @throws as `startNativeKafka` does */
export async function startKafkaCluster(version: KafkaVersion, options: NativeOptions): Promise<KafkaCluster> {
  const software = await nativeKafka(version, options);
  return onFreePorts(ids.length * kafkaMemberPortCount, (free) => startOn(free, software, options.signal));
}

async function startOn(
  free: readonly number[],
  software: KafkaSoftware,
  signal: AbortSignal | undefined,
): Promise<KafkaCluster> {
  const clusterId = newClusterId();
  const places = ids.map((id, index) => {
    const own = free.slice(index * kafkaMemberPortCount, (index + 1) * kafkaMemberPortCount);
    return { id, ports: kafkaPorts(own, 0) };
  });
  const controllers = places.map(({ id, ports }) => ({ id, port: ports.controller }));
  const equipped: EquippedNode[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(equipped.map(({ room }) => room.close()));
  };

  try {
    const nodes: KafkaNode[] = [];
    for (const { id, ports } of places) {
      const address = { host: "127.0.0.1", port: ports.plain };
      const membership = { id, controllers };
      const awaitReady = (until?: AbortSignal): Promise<void> =>
        awaitInSync(address, { deadlineMs: 30_000, signal: until });
      const node = await equipNode({ ports, software, clusterId, membership, heapMb, awaitReady, signal });
      equipped.push(node);
      nodes.push({ id, address, control: node.server });
    }
    // None of them is ready before a second one is.
    await Promise.all(equipped.map(({ server }) => server.start(signal)));
    const [first] = nodes.map(({ address }) => address);
    if (first === undefined) throw new Error("a cluster without nodes");
    // The topic of offsets is made by the first question.
    await poll("the topic of offsets", () => findCoordinator(first, "posthorn-tests"), { deadlineMs: 30_000, signal });
    await awaitInSync(first, { deadlineMs: 30_000, signal });
    return {
      version: await probeKafka(first),
      brokers: nodes.map(({ address }) => at(address)),
      nodes,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves when the broker knows all partitions' leaders, and that all their replicas are in sync. */
async function awaitInSync(address: Address, options: PollOptions): Promise<void> {
  await poll(
    `the replicas of ${at(address)}`,
    async () => {
      const behind = (await partitions(address)).filter(
        ({ leader, replicas, inSync }) => leader === -1 || inSync.length < replicas.length,
      );
      if (behind.length > 0) throw new Error(`${behind.length} partitions are not in sync`);
      return true;
    },
    options,
  );
}
