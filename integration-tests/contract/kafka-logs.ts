/** What is in the logs of topics, read with kafkajs and without joining a group. */
import type { Cluster, Kafka, KafkaMessage } from "kafkajs";
import kafkajs from "kafkajs";

/** Records of one partition, by offsets; `to` is not among them. */
export interface Range {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** How long the partitions of a topic may take to be led. */
const deadlineMs = 30_000;

/** Works on a client's cluster, which kafkajs hands to whoever assigns partitions: there is no other way to fetch without a group. */
export async function onCluster<Result>(kafka: Kafka, work: (cluster: Cluster) => Promise<Result>): Promise<Result> {
  let given: Cluster | undefined;
  const consumer = kafka.consumer({
    groupId: "nobody-joins-this",
    allowAutoTopicCreation: false,
    partitionAssigners: [
      (options) => {
        given = options.cluster;
        return kafkajs.PartitionAssigners.roundRobin(options);
      },
    ],
  });
  const cluster = given;
  if (cluster === undefined) throw new Error("kafkajs has not asked for its assigner.");
  await consumer.connect();
  try {
    return await onceLed(() => work(cluster));
  } finally {
    await consumer.disconnect();
  }
}

/** Right after a topic was made, its partitions may be known before they are led. */
async function onceLed<Result>(work: () => Promise<Result>): Promise<Result> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const { type } = error as { readonly type?: unknown };
      if (type !== "NOT_LEADER_FOR_PARTITION" || performance.now() > until) throw error;
    }
  }
}

/** From what the group has committed, or from the logs' start where it has not, to the end. */
export async function unsettledRanges(
  cluster: Cluster,
  groupId: string,
  topics: readonly string[],
): Promise<readonly Range[]> {
  await cluster.addMultipleTargetTopics([...topics]);
  const asked = topics.map((topic) => ({
    topic,
    partitions: partitionsOf(cluster, topic).map((partition) => ({ partition, offset: "0" })),
  }));
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  // Before the ends: what is appended and settled in between must not be taken for less than nothing.
  const { responses } = await coordinator.offsetFetch({ groupId, topics: asked });
  const committed = new Map(
    responses.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => [`${topic} ${partition}`, Number(offset)]),
    ),
  );
  return (await wholeLogs(cluster, topics)).map((range) => {
    const offset = committed.get(`${range.topic} ${range.partition}`) ?? -1;
    return { ...range, from: offset === -1 ? range.from : offset };
  });
}

export function countOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** Of each key the last record, where that is no tombstone: in the order in which they were written. */
export async function liveRecords(cluster: Cluster, topics: readonly string[]): Promise<readonly KafkaMessage[]> {
  const live = new Map<string, KafkaMessage>();
  for (const record of await readRanges(cluster, await wholeLogs(cluster, topics))) {
    const key = String(record.key);
    live.delete(key);
    if (record.value !== null) live.set(key, record);
  }
  return [...live.values()];
}

/** Oldest first. */
export async function readRanges(cluster: Cluster, ranges: readonly Range[]): Promise<readonly KafkaMessage[]> {
  const records: KafkaMessage[] = [];
  for (const range of ranges) records.push(...(await readRange(cluster, range)));
  return records.toSorted((one, other) => Number(one.timestamp) - Number(other.timestamp));
}

async function readRange(cluster: Cluster, { topic, partition, from, to }: Range): Promise<readonly KafkaMessage[]> {
  const records: KafkaMessage[] = [];
  const [nodeId = ""] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  let position = from;
  while (position < to) {
    const broker = await cluster.findBroker({ nodeId });
    const { responses } = (await broker.fetch({
      maxWaitTime: 100,
      minBytes: 1,
      maxBytes: 1 << 23,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(position), maxBytes: 1 << 23 }] }],
    })) as Fetched;
    const messages = responses[0]?.partitions[0]?.messages ?? [];
    // A batch comes as a whole, also when its first records were not asked for.
    const wanted = messages.filter(({ offset }) => Number(offset) >= position && Number(offset) < to);
    const last = wanted.at(-1);
    if (last === undefined)
      throw new Error(`Nothing of ${topic}/${partition} came from ${position} on, and it ends at ${to}.`);
    records.push(...wanted);
    position = Number(last.offset) + 1;
  }
  return records;
}

/** What `Broker.fetch` resolves to; kafkajs does not say. */
interface Fetched {
  readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly KafkaMessage[] }[] }[];
}

async function wholeLogs(cluster: Cluster, topics: readonly string[]): Promise<readonly Range[]> {
  await cluster.addMultipleTargetTopics([...topics]);
  const ask = (topic: string, fromBeginning: boolean): ReturnType<Cluster["fetchTopicsOffset"]> =>
    cluster.fetchTopicsOffset([
      { topic, fromBeginning, partitions: partitionsOf(cluster, topic).map((partition) => ({ partition })) },
    ]);
  const ranges: Range[] = [];
  for (const topic of topics) {
    const [starts] = await ask(topic, true);
    const [ends] = await ask(topic, false);
    const startOf = new Map(starts?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
    for (const { partition, offset } of ends?.partitions ?? [])
      ranges.push({ topic, partition, from: startOf.get(partition) ?? 0, to: Number(offset) });
  }
  return ranges;
}

function partitionsOf(cluster: Cluster, topic: string): readonly number[] {
  return cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId);
}
