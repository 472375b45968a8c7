/** Kafka as kafkajs shows it, without Posthorn. Names are those of the documentation: a change of them breaks these lines. */
import type { ChannelInfo } from "@posthorn/core";
import type { NativeBroker, NativeMessage, Place } from "@posthorn/contract-tests";
import type { Admin, Cluster, KafkaJSDeleteGroupsError, RetryOptions } from "kafkajs";
import kafkajs from "kafkajs";
import { poll } from "../brokers/poll.ts";
import { countOf, liveRecords, onCluster, readRanges, unsettledRanges } from "./kafka-logs.ts";

/** The group's name, with which its topics begin. */
export function groupName({ channel, group }: Place): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

/** The channel's topic, which all its groups read, and the one that only this group reads. */
function topicNames(place: Place): readonly string[] {
  const base = groupName(place);
  return place.kind === "dead-letters" ? [`${base}.dlq`] : [place.channel.name, `${base}.retry`];
}

/** Error codes of the protocol. */
const nonEmptyGroup = 68;
const groupIdNotFound = 69;

/** Tells a topic that is about to be deleted from one that somebody makes by the same name at once. Nothing else depends on it. */
const mark = { name: "segment.jitter.ms", value: "1" } as const;
/** How long the broker may take with what a client asks for. */
const deadlineMs = 30_000;

const { ConfigResourceTypes, Kafka, logLevel, Partitioners } = kafkajs;

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
  const withCluster = <Result>(work: (cluster: Cluster) => Promise<Result>): Promise<Result> => onCluster(kafka, work);

  async function withAdmin<Result>(work: (admin: Admin) => Promise<Result>, retry: RetryOptions = {}): Promise<Result> {
    const admin = kafka.admin({ retry });
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
      if (isUnknownTopic(error)) return false;
      throw error;
    }
  }

  /** A client that tries again finds that its first try has done it. */
  async function deleteTopics(topics: readonly string[]): Promise<void> {
    if (topics.length === 0) return;
    await withAdmin((admin) => admin.deleteTopics({ topics: [...topics] }), { retries: 0 }).catch((error: unknown) => {
      if (!isUnknownTopic(error)) throw error;
    });
  }

  const isMarked = (topic: string): Promise<boolean> =>
    withAdmin(async (admin) => {
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [mark.name] }];
      const described = await admin.describeConfigs({ includeSynonyms: false, resources });
      return described.resources[0]?.configEntries[0]?.configValue === mark.value;
    });

  const hasGone = (topic: string): Promise<boolean> =>
    isMarked(topic).then(
      (marked) => !marked,
      (error: unknown) => {
        if (isUnknownTopic(error)) return true;
        throw error;
      },
    );

  async function deleteAndAwait(topics: readonly string[]): Promise<void> {
    const resources = topics.map((name) => ({ type: ConfigResourceTypes.TOPIC, name, configEntries: [mark] }));
    await withAdmin((admin) => admin.alterConfigs({ validateOnly: false, resources }));
    const become = (what: string, is: (topic: string) => Promise<boolean>): Promise<unknown> =>
      Promise.all(
        topics.map((topic) =>
          poll(`${topic} to be ${what}`, async () => ((await is(topic)) ? true : undefined), { deadlineMs }),
        ),
      );
    await become("marked", isMarked);
    await deleteTopics(topics);
    await become("gone", hasGone);
  }

  return {
    countsHeld: true,
    leaseOutlivesConnection: true,
    keepsConnections: true,
    exists: (place) => exists(topicNames(place)),
    ready: (place) =>
      withCluster(async (cluster) =>
        place.kind === "dead-letters"
          ? (await liveRecords(cluster, topicNames(place))).length
          : countOf(await unsettledRanges(cluster, groupName(place), topicNames(place))),
      ),
    inFlight: async () => undefined,
    bodies: (place) =>
      withCluster(async (cluster) => {
        const waiting =
          place.kind === "dead-letters"
            ? await liveRecords(cluster, topicNames(place))
            : await readRanges(cluster, await unsettledRanges(cluster, groupName(place), topicNames(place)));
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
          deadlineMs,
        });
      }),
    async deleteTopics(name) {
      const topics = await withAdmin((admin) => admin.listTopics());
      // Not those of another case, whose name goes on after this one.
      await deleteTopics(
        topics.filter((topic) => topic.startsWith(name) && /^([-.]|$)/.test(topic.slice(name.length))),
      );
    },
    async delete(place) {
      const { kind, channel } = place;
      // The topic of a topic channel is not the group's alone.
      const shared = kind === "inlet" && channel.kind === "topic" ? channel.name : undefined;
      await deleteAndAwait(topicNames(place).filter((topic) => topic !== shared));
      if (kind === "inlet") await withAdmin((admin) => deleteGroup(admin, groupName(place)));
    },
  };
}

/** Whether a request failed because there is no such topic. */
function isUnknownTopic(error: unknown): boolean {
  const { type, cause } = error as { readonly type?: unknown; readonly cause?: unknown };
  return type === "UNKNOWN_TOPIC_OR_PARTITION" || (cause instanceof Error && isUnknownTopic(cause));
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
