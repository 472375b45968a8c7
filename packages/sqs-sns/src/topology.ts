/** What a topology is on SQS and SNS, and what of it differs from what is there. */
import type { ChannelInfo, Group, Topology, TopologyChange } from "@posthorn/core/transport";
import type { ServiceAttributes } from "./aws.ts";
import { filterLacks, filterPolicy } from "./filter-policy.ts";
import { namesOf } from "./names.ts";
import type { Settings } from "./options.ts";
import { readJson, statementFor } from "./queue-policy.ts";

/** A queue or topic as it is made where it does not exist. */
export interface Wanted {
  readonly object: "queue" | "topic";
  readonly name: string;
  readonly attributes: ServiceAttributes;
  readonly tags: Readonly<Record<string, string>>;
}

export interface WantedGroup {
  readonly deadLetters: Wanted;
  /** Its redrive policy leads to the dead letters; their ARN is known once they are made. */
  readonly inlet: Wanted;
  /** Where messages wait for their time; of an ordered channel only. */
  readonly delay: Wanted | undefined;
  /** What the group subscribes to, with which types. */
  readonly subscription: { readonly topic: Wanted; readonly types: readonly string[] } | undefined;
}

export interface WantedTopology {
  readonly topics: readonly Wanted[];
  readonly groups: readonly WantedGroup[];
}

type TopologySettings = Pick<
  Settings,
  "prefix" | "tags" | "visibilitySeconds" | "maxMessageBytes" | "retentionSeconds"
>;

/** The longest that SQS keeps a message, in seconds: 14 days. */
const longestRetention = 1_209_600;
/** What SQS can set it to at least. */
const leastMessageSize = 1_024;
/** What a topic takes unless it is told otherwise. */
const defaultTopicBytes = 262_144;

/** Every message group has its own throughput, and repeated dispatches are told within it. The messages bring their ids. */
const fifoQueue: ServiceAttributes = {
  FifoQueue: "true",
  ContentBasedDeduplication: "false",
  DeduplicationScope: "messageGroup",
  FifoThroughputLimit: "perMessageGroupId",
};
const fifoTopic: ServiceAttributes = {
  FifoTopic: "true",
  ContentBasedDeduplication: "false",
  FifoThroughputScope: "MessageGroup",
};

export function wantedTopology(topology: Topology, settings: TopologySettings): WantedTopology {
  const names = namesOf(settings);
  const topicOf = (channel: ChannelInfo): Wanted => ({
    object: "topic",
    name: names.topic(channel),
    attributes: {
      ...(channel.ordered ? fifoTopic : {}),
      ...(settings.maxMessageBytes > defaultTopicBytes ? { MaximumMessageSize: String(settings.maxMessageBytes) } : {}),
    },
    tags: tagsOf(settings, "topic", channel),
  });
  const queueOf = (kind: string, group: Group, name: string, fifo: boolean, retention: number): Wanted => ({
    object: "queue",
    name,
    attributes: {
      VisibilityTimeout: String(settings.visibilitySeconds),
      MessageRetentionPeriod: String(retention),
      MaximumMessageSize: String(Math.max(leastMessageSize, settings.maxMessageBytes)),
      DelaySeconds: "0",
      ...(fifo ? fifoQueue : {}),
    },
    tags: tagsOf(settings, kind, group.channel, group.name),
  });
  const groupOf = (group: Group): WantedGroup => {
    const { channel, name, types } = group;
    const { ordered } = channel;
    const { retentionSeconds } = settings;
    return {
      deadLetters: queueOf("dead-letters", group, names.deadLetters(channel, name), ordered, longestRetention),
      inlet: queueOf("inlet", group, names.queue(channel, name), ordered, retentionSeconds),
      delay: ordered ? queueOf("delay", group, names.delay(channel, name), false, longestRetention) : undefined,
      subscription: channel.kind === "topic" ? { topic: topicOf(channel), types } : undefined,
    };
  };
  // A group's channel may be known from the group alone.
  const channels = [...topology.channels, ...topology.groups.map(({ channel }) => channel)];
  const topics = channels.filter(({ kind }) => kind === "topic").map(topicOf);
  return {
    topics: [...new Map(topics.map((topic) => [topic.name, topic])).values()],
    groups: topology.groups.map(groupOf),
  };
}

/** They say in full what a name may have been cut from. */
function tagsOf(
  { tags }: Pick<Settings, "tags">,
  kind: string,
  channel: ChannelInfo,
  group?: string,
): Readonly<Record<string, string>> {
  return {
    ...tags,
    "posthorn-kind": kind,
    "posthorn-channel": channel.name,
    ...(group === undefined ? {} : { "posthorn-group": group }),
  };
}

export function redrivePolicy(deadLettersArn: string, deliveryLimit: number): string {
  return JSON.stringify({ deadLetterTargetArn: deadLettersArn, maxReceiveCount: deliveryLimit });
}

export function missing(object: "queue" | "topic" | "subscription", name: string): TopologyChange {
  return { problem: "missing", object, name };
}

/**
 * What a queue or topic lacks. More than declared is no difference: of time that it keeps messages, and of their size. What the
 * service does not tell is not compared, but that there is no redrive policy.
 */
export function differencesOf({ object, name, attributes }: Wanted, actual: ServiceAttributes): TopologyChange[] {
  return Object.entries(attributes).flatMap(([field, expected]) => {
    const present = actual[field];
    if (field === "RedrivePolicy" ? sameRedrive(expected, present) : present === undefined) return [];
    if (present !== undefined && (atLeast.has(field) ? Number(present) >= Number(expected) : present === expected))
      return [];
    return [different(object, name, field, expected, present)];
  });
}

const atLeast = new Set(["MessageRetentionPeriod", "MaximumMessageSize"]);

/** AWS gives the limit as a number or as a text. */
function sameRedrive(expected: string, actual: string | undefined): boolean {
  const [one, other] = [expected, actual ?? ""].map((text) => {
    const policy = readJson(text) as { deadLetterTargetArn?: unknown; maxReceiveCount?: unknown } | null | undefined;
    return `${Number(policy?.maxReceiveCount)} ${String(policy?.deadLetterTargetArn)}`;
  });
  return one === other;
}

/**
 * That a queue does not let a topic send to it.
 *
 * @param policy the queue's, as it is
 */
export function policyDifference(
  name: string,
  policy: string | undefined,
  queueArn: string,
  topicArn: string,
): TopologyChange {
  return different("queue", name, "Policy", JSON.stringify(statementFor(queueArn, topicArn)), policy);
}

/** @param name the queue's that is subscribed */
export function subscriptionDifferences(
  name: string,
  types: readonly string[],
  actual: ServiceAttributes,
): TopologyChange[] {
  const { RawMessageDelivery: raw, FilterPolicy: filter, FilterPolicyScope: scope } = actual;
  return [
    ...(raw === "true" ? [] : [different("subscription", name, "RawMessageDelivery", "true", raw)]),
    ...(scope === undefined || scope === "MessageAttributes"
      ? []
      : [different("subscription", name, "FilterPolicyScope", "MessageAttributes", scope)]),
    ...(filterLacks(types, filter) === "enough"
      ? []
      : [different("subscription", name, "FilterPolicy", filterPolicy(types), filter)]),
  ];
}

function different(
  object: string,
  name: string,
  field: string,
  expected: string,
  actual: string | undefined,
): TopologyChange {
  const change = { problem: "different", object, name, field, expected: shown(expected) } as const;
  return actual === undefined ? change : { ...change, actual: shown(actual) };
}

/** In quotes, but for what is JSON. */
function shown(value: string): string {
  return value.startsWith("{") ? value : JSON.stringify(value);
}
