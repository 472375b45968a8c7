/** Kafka as kafkajs shows it, without Posthorn. Names are those of the documentation: a change of them breaks these lines. */
import type { ChannelInfo } from "@posthorn/core";
import type { NativeBroker, NativeMessage, Place } from "@posthorn/contract-tests";
import type { Admin, Cluster, KafkaJSDeleteGroupsError, KafkaMessage } from "kafkajs";
import { Kafka, logLevel, PartitionAssigners, Partitioners } from "kafkajs";
import { poll } from "../brokers/poll.ts";

/** The group's name, with which its topics begin. */
export function groupName({ channel, group }: Place): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

/** The channel's topic, which all its groups read, and the one that only this group reads. */
function topicNames(place: Place): readonly string[] {
  const base = groupName(place);
  return place.kind === "dead-letters" ? [`${base}.dlq`] : [place.channel.name, `${base}.retry`];
}

/** Half-open, by offsets. */
interface Range {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** Error codes of the protocol. */
const nonEmptyGroup = 68;
const groupIdNotFound = 69;

/** A topic that somebody makes again at once is never seen to be gone. */
const goneWithinMs = 2_000;

export interface NativeKafka extends NativeBroker {
  /** Deletes all topics that a channel of this name, or with a suffix to it, has made. */
  deleteTopics(name: string): Promise<void>;
}

export function nativeKafka(brokers: readonly string[]): NativeKafka {
  const kafka = new Kafka({
    brokers: [...brokers],
    clientId: "native",
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, retries: 3 },
  });

  /** A client for each question: one that lives longer remembers topics that are gone, and fails because of them. */
  async function withCluster<Result>(work: (cluster: Cluster) => Promise<Result>): Promise<Result> {
    return onCluster(kafka, work);
  }

  async function withAdmin<Result>(work: (admin: Admin) => Promise<Result>): Promise<Result> {
    const admin = kafka.admin();
    await admin.connect();
    try {
      return await work(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async function exists(topics: readonly string[]): Promise<boolean> {
    try {
      await withCluster((cluster) => cluster.addMultipleTargetTopics([...topics]));
      return true;
    } catch (error) {
      if ((error as { type?: unknown }).type === "UNKNOWN_TOPIC_OR_PARTITION") return false;
      throw error;
    }
  }

  return {
    countsHeld: true,
    leaseOutlivesConnection: true,
    exists: (place) => exists(topicNames(place)),
    ready: (place) =>
      withCluster(async (cluster) =>
        place.kind === "dead-letters"
          ? (await liveDeadLetters(cluster, place)).length
          : (await unsettled(cluster, place)).reduce((sum, { from, to }) => sum + to - from, 0),
      ),
    inFlight: async () => undefined,
    bodies: (place) =>
      withCluster(async (cluster) => {
        const waiting =
          place.kind === "dead-letters"
            ? await liveDeadLetters(cluster, place)
            : (await read(cluster, await unsettled(cluster, place))).toSorted(
                (one, other) => Number(one.timestamp) - Number(other.timestamp),
              );
        return waiting.map(({ value }) => new Uint8Array(value ?? []));
      }),
    async publish(channel, message) {
      const producer = kafka.producer({
        allowAutoTopicCreation: false,
        createPartitioner: Partitioners.DefaultPartitioner,
      });
      await producer.connect();
      try {
        const record = { value: Buffer.from(message.body), headers: headersOf(message) };
        await producer.send({ topic: channel.name, messages: [record] });
      } finally {
        await producer.disconnect();
      }
    },
    /** One that would forget all but the last message of each key. */
    createConflicting: ({ name }: ChannelInfo) =>
      withAdmin(async (admin) => {
        const configEntries = [{ name: "cleanup.policy", value: "compact" }];
        await admin.createTopics({
          topics: [{ topic: name, numPartitions: 1, configEntries }],
          waitForLeaders: false,
        });
        await poll(`the topic ${name}`, async () => ((await exists([name])) ? true : undefined), {
          deadlineMs: 10_000,
        });
      }),
    deleteTopics: (name) =>
      withAdmin(async (admin) => {
        const topics = (await admin.listTopics()).filter(
          // Not those of another case, whose name goes on after this one.
          (topic) => topic.startsWith(name) && /^([-.]|$)/.test(topic.slice(name.length)),
        );
        if (topics.length > 0) await admin.deleteTopics({ topics });
      }),
    delete: (place) =>
      withAdmin(async (admin) => {
        const { kind, channel } = place;
        // The topic of a topic channel is not the group's alone.
        const shared = kind === "inlet" && channel.kind === "topic" ? channel.name : undefined;
        const topics = topicNames(place).filter((topic) => topic !== shared);
        await admin.deleteTopics({ topics: [...topics] });
        if (kind === "inlet") await deleteGroup(admin, groupName(place));
        const gone = async (): Promise<boolean> =>
          (await Promise.all(topics.map((topic) => exists([topic])))).every((there) => !there);
        const until = performance.now() + goneWithinMs;
        while (!(await gone()) && performance.now() < until);
      }),
  };
}

/** Fetching without a group takes the cluster, which kafkajs hands to whoever assigns partitions. */
export async function onCluster<Result>(kafka: Kafka, work: (cluster: Cluster) => Promise<Result>): Promise<Result> {
  let cluster: Cluster | undefined;
  const consumer = kafka.consumer({
    groupId: "nobody-joins-this",
    allowAutoTopicCreation: false,
    partitionAssigners: [
      (given) => {
        ({ cluster } = given);
        return PartitionAssigners.roundRobin(given);
      },
    ],
  });
  if (cluster === undefined) throw new Error("kafkajs has not asked for its assigner.");
  await consumer.connect();
  try {
    return await work(cluster);
  } finally {
    await consumer.disconnect();
  }
}

/** Where each partition of the topics begins and ends. */
async function logs(cluster: Cluster, topics: readonly string[]): Promise<readonly Range[]> {
  await cluster.addMultipleTargetTopics([...topics]);
  const ask = (fromBeginning: boolean): ReturnType<Cluster["fetchTopicsOffset"]> =>
    cluster.fetchTopicsOffset(
      topics.map((topic) => ({
        topic,
        fromBeginning,
        partitions: cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => ({ partition: partitionId })),
      })),
    );
  const [starts, ends] = [await ask(true), await ask(false)];
  const startOf = new Map(
    starts.flatMap(({ topic, partitions }) => partitions.map((each) => [`${topic} ${each.partition}`, each.offset])),
  );
  return ends.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset }) => ({
      topic,
      partition,
      from: Number(startOf.get(`${topic} ${partition}`)),
      to: Number(offset),
    })),
  );
}

/** From what the group has committed, or from the log's start, to the end. */
async function unsettled(cluster: Cluster, place: Place): Promise<readonly Range[]> {
  const ranges = await logs(cluster, topicNames(place));
  const groupId = groupName(place);
  const topics = [...Map.groupBy(ranges, ({ topic }) => topic)].map(([topic, partitions]) => ({
    topic,
    partitions: partitions.map(({ partition, from }) => ({ partition, offset: String(from) })),
  }));
  const { responses } = await (await cluster.findGroupCoordinator({ groupId })).offsetFetch({ groupId, topics });
  const committed = new Map(
    responses.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => [`${topic} ${partition}`, Number(offset)]),
    ),
  );
  return ranges.map((range) => {
    const offset = committed.get(`${range.topic} ${range.partition}`) ?? -1;
    return { ...range, from: offset === -1 ? range.from : offset };
  });
}

/** Of each key the last record, where that is no tombstone: in the order in which they were written. */
async function liveDeadLetters(cluster: Cluster, place: Place): Promise<readonly KafkaMessage[]> {
  const live = new Map<string, KafkaMessage>();
  for (const record of await read(cluster, await logs(cluster, topicNames(place)))) {
    const key = String(record.key);
    live.delete(key);
    if (record.value !== null) live.set(key, record);
  }
  return [...live.values()];
}

async function read(cluster: Cluster, ranges: readonly Range[]): Promise<readonly KafkaMessage[]> {
  const records: KafkaMessage[] = [];
  for (const { topic, partition, from, to } of ranges) {
    const [nodeId = ""] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
    for (let position = from; position < to;) {
      const broker = await cluster.findBroker({ nodeId });
      const { responses } = (await broker.fetch({
        maxWaitTime: 100,
        minBytes: 1,
        maxBytes: 1 << 23,
        topics: [{ topic, partitions: [{ partition, fetchOffset: String(position), maxBytes: 1 << 23 }] }],
      })) as Fetched;
      // A batch is there as a whole, also when its first records were not asked for.
      const fetched = (responses[0]?.partitions[0]?.messages ?? []).filter(({ offset }) => Number(offset) >= position);
      const last = fetched.at(-1);
      if (last === undefined)
        throw new Error(`Nothing of ${topic}/${partition} came from ${position} on, and it ends at ${to}.`);
      records.push(...fetched.filter(({ offset }) => Number(offset) < to));
      position = Number(last.offset) + 1;
    }
  }
  return records;
}

/** What `Broker.fetch` resolves to; kafkajs does not say. */
interface Fetched {
  readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly KafkaMessage[] }[] }[];
}

/** A group that has members stays, and so does what it has committed. */
async function deleteGroup(admin: Admin, groupId: string): Promise<void> {
  try {
    await admin.deleteGroups([groupId]);
  } catch (error) {
    const { groups = [] } = error as Partial<KafkaJSDeleteGroupsError>;
    const [group] = groups;
    if (group?.errorCode !== nonEmptyGroup && group?.errorCode !== groupIdNotFound) throw error;
  }
}

function headersOf({ contentType, id, type, headers, cloudEvent }: NativeMessage): Record<string, string> {
  const attributes = Object.entries(cloudEvent ?? {}).map(([name, value]) => [`ce_${name}`, value]);
  return {
    ...headers,
    ...(contentType === undefined ? {} : { "content-type": contentType }),
    ...(id === undefined ? {} : { id }),
    ...(type === undefined ? {} : { type }),
    ...Object.fromEntries(attributes),
  };
}
