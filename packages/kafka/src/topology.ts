/** What a topology is on Kafka. */
import type { ChannelInfo, Group, Topology, TopologyChange } from "@posthorn/core/transport";
import type { TopicMetadata } from "./client.ts";
import { channelTopic, deadLetterTopic, delayTopic, groupId, retryTopic } from "./names.ts";
import type { Settings } from "./options.ts";
import { channelSettings } from "./options.ts";
import { tierCount } from "./tiers.ts";

/** A topic as it is made where it does not exist. */
export interface WantedTopic {
  readonly name: string;
  readonly partitions: number;
  /** As many partitions and no more. */
  readonly exactly: boolean;
  /** `undefined`: what suits the cluster. */
  readonly replicationFactor: number | undefined;
  readonly config: Readonly<Record<string, string>>;
}

/** A group, the topic whose messages it shares with other groups, and those that are its own. */
export interface WantedGroup {
  /** The consumer group. */
  readonly id: string;
  readonly channel: WantedTopic;
  /** Every group gets a message of the channel: it begins where it was made, and not with what was there before. */
  readonly fromEnd: boolean;
  /** Its partitions are those that the channel is declared to have. */
  readonly retry: WantedTopic;
  readonly others: readonly WantedTopic[];
}

export interface WantedTopics {
  readonly channels: readonly WantedTopic[];
  readonly groups: readonly WantedGroup[];
}

/** What the names and lengths of the envelope, the key's second copy and the batch add to a record, at most. With our default that makes Kafka's. */
const envelopeBytes = 48_588;
const dayMs = 86_400_000;
const forever = "-1";

export function wantedTopics(topology: Topology, settings: Settings): WantedTopics {
  const channels = new Map<string, WantedTopic>();
  const channelOf = (channel: ChannelInfo): WantedTopic => {
    const topic = channels.get(channel.name) ?? wantedChannel(channel, settings);
    channels.set(channel.name, topic);
    return topic;
  };
  for (const channel of topology.channels) channelOf(channel);
  const groups = topology.groups.map((group) => wantedGroup(group, channelOf(group.channel), settings));
  return { channels: [...channels.values()], groups };
}

/**
 * The channel's own topic. It keeps messages for a time, whether they were handled or not: also what nobody has taken from a
 * queue for so long is gone.
 */
function wantedChannel(channel: ChannelInfo, settings: Settings): WantedTopic {
  const { partitions, retentionMs, compact } = channelSettings(settings, channel.name);
  const kept = compact
    ? { "cleanup.policy": "compact" }
    : { "cleanup.policy": "delete", "retention.ms": String(retentionMs) };
  return {
    name: channelTopic(channel),
    partitions,
    exactly: false,
    replicationFactor: settings.replicationFactor,
    config: { ...commonConfig(settings), ...kept },
  };
}

/** What waits for its next attempt must not go by age or size. */
const keptForGood = { "cleanup.policy": "delete", "retention.ms": forever, "retention.bytes": forever };

const keptUntilRemoved = {
  "cleanup.policy": "compact",
  "retention.ms": forever,
  "retention.bytes": forever,
  // Only segments that are closed are compacted.
  "segment.ms": String(dayMs),
  // How long whoever reads through it has to come to the removal of what he has read.
  "delete.retention.ms": String(dayMs),
};

function wantedGroup({ channel, name }: Group, topic: WantedTopic, settings: Settings): WantedGroup {
  const own = (topicName: string, partitions: number, config: WantedTopic["config"]): WantedTopic => ({
    name: topicName,
    partitions,
    exactly: true,
    replicationFactor: settings.replicationFactor,
    config: { ...commonConfig(settings), ...config },
  });
  return {
    id: groupId(channel, name),
    channel: topic,
    fromEnd: channel.kind === "topic",
    retry: own(retryTopic(channel, name), topic.partitions, keptForGood),
    others: [
      own(deadLetterTopic(channel, name), 1, keptUntilRemoved),
      own(delayTopic(channel, name), tierCount, keptForGood),
    ],
  };
}

function commonConfig({ maxMessageBytes, minInsyncReplicas }: Settings): Readonly<Record<string, string>> {
  return {
    "max.message.bytes": String(maxMessageBytes + envelopeBytes),
    ...(minInsyncReplicas === undefined ? {} : { "min.insync.replicas": String(minInsyncReplicas) }),
  };
}

/**
 * A group's own topics.
 *
 * @param partitions of the channel's topic, as it is: partition i of both is read by the same consumer
 */
export function topicsOfGroup({ retry, others }: WantedGroup, partitions: number): readonly WantedTopic[] {
  return [{ ...retry, partitions }, ...others];
}

export function missingTopic(name: string): TopologyChange {
  return { problem: "missing", object: "topic", name };
}

/**
 * What a topic lacks: what would lose or refuse messages that the declaration keeps. More than declared is no
 * difference: of a channel's partitions (operators add them), of replicas, of time and of size.
 *
 * @param config what the broker tells of its settings; `undefined` where we may not know
 */
export function differencesOf(
  wanted: WantedTopic,
  found: TopicMetadata,
  config: Readonly<Record<string, string>> | undefined,
): readonly TopologyChange[] {
  const changes: TopologyChange[] = [];
  const differs = (field: string, expected: string, actual: string): void =>
    void changes.push({ problem: "different", object: "topic", name: wanted.name, field, expected, actual });
  const count = found.partitions.length;
  if (wanted.exactly ? count !== wanted.partitions : count < wanted.partitions)
    differs("partitions", String(wanted.partitions), String(count));
  const replicas = Math.min(...found.partitions.map((partition) => partition.replicas));
  if (wanted.replicationFactor !== undefined && replicas < wanted.replicationFactor)
    differs("replication.factor", String(wanted.replicationFactor), String(replicas));
  for (const [field, expected] of Object.entries(wanted.config)) {
    const actual = config?.[field];
    if (actual !== undefined && lacks[field]?.(actual, expected) === true) differs(field, expected, actual);
  }
  return changes;
}

const isLess = (actual: string, expected: string): boolean => Number(actual) < Number(expected);

/** -1 is for ever, and without bound. */
const isShorter = (actual: string, expected: string): boolean =>
  actual !== forever && (expected === forever || isLess(actual, expected));

const isOther = (actual: string, expected: string): boolean => policies(actual) !== policies(expected);

/** Fields that are compared. */
const lacks: Readonly<Record<string, (actual: string, expected: string) => boolean>> = {
  "cleanup.policy": isOther,
  "retention.ms": isShorter,
  "retention.bytes": isShorter,
  "max.message.bytes": isLess,
  "min.insync.replicas": isLess,
};

/** Kafka gives several in any order. */
function policies(text: string): string {
  return text
    .split(",")
    .map((policy) => policy.trim())
    .sort()
    .join();
}
