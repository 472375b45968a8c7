/**
 * How a topology comes to exist, or is compared.
 *
 * **Where a group begins.** A partition without a committed offset is read from its log's start. That is right for a queue, and for a
 * group whose offsets have expired. A new group of a topic begins at the logs' ends, and from the moment a `provision` of it has
 * resolved, what is published waits for it. So:
 *
 * 1. the channel's topic is made, and it is looked whether the retry topic is there: the mark that the group was made once;
 * 2. where it is not, the logs' ends are listed;
 * 3. the group's offsets are fetched;
 * 4. where there are none, the ends are committed;
 * 5. the group's own topics are made, the mark among them.
 *
 * Two that do this at once skip nothing that is published after either has resolved. Say the second commits, too: then it
 * had seen no offset in step 3, so the first had not committed yet, let alone resolved; and the ends it commits are older still. A commit that comes
 * late sets the group back, at most, which repeats messages. Were the mark looked at, or the ends listed, after step 3, either
 * could be of a time at which the first had resolved.
 *
 * With everything in place it costs two requests: the topics, and their settings.
 */
import type {
  Group,
  InletAddress,
  ProvisionMode,
  Topology,
  TopologyChange,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { abortable, abortedError, isPosthornError } from "@posthorn/core/transport";
import { createAsking, named } from "./asking.ts";
import type { OffsetCommit, TopicPartition } from "./client.ts";
import { ConnectionFailure, logEnd } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { createTopicMaker } from "./creation.ts";
import type { Topics } from "./creation.ts";
import { errorClass, kafkaError } from "./errors.ts";
import { groupId } from "./names.ts";
import type { Settings } from "./options.ts";
import type { WantedGroup, WantedTopic, WantedTopics } from "./topology.ts";
import { differencesOf, missingTopic, topicsOfGroup, wantedTopics } from "./topology.ts";

export interface ProvisionerOptions {
  readonly cluster: Cluster;
  readonly settings: Settings;
  readonly environment: TransportEnvironment;
}

export interface Provisioner {
  /**
   * Tries again whatever may work later, until the signal fires.
   *
   * @returns what cannot be applied; in the other modes whatever is missing or different. A setting that the account may not
   * see is not compared, and a group without offsets lacks nothing: it begins at the logs' start.
   * @throws ACCESS_REFUSED; INVALID_NAME where a name is too much like another; INVALID_OPTION where the cluster does not take what is wanted; ABORTED, CLOSED
   */
  provision(topology: Topology, mode: ProvisionMode, signal: AbortSignal): Promise<readonly TopologyChange[]>;
  /**
   * Makes a group's topics again that this transport has applied. The group begins at the start of logs that were lost with its
   * offsets: it is not new.
   *
   * @returns false where it has not applied them
   */
  restore(inlet: Pick<InletAddress, "channel" | "group">, signal: AbortSignal): Promise<boolean>;
}

const lane = "admin";

export function createProvisioner({ cluster, settings, environment }: ProvisionerOptions): Provisioner {
  const asking = createAsking(cluster, environment, lane);
  const make = createTopicMaker({ cluster, asking, lane, timeoutMs: settings.requestTimeoutMs });
  /** What was applied, by the name of its consumer group. */
  const applied = new Map<string, Group>();

  /** All of it can be done again. */
  async function untilDone<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        await cluster.ready(signal);
        return await work();
      } catch (error) {
        if (signal.aborted && !isPosthornError(error)) throw abortedError(signal);
        if (!(error instanceof ConnectionFailure)) throw error;
        await asking.pause(attempt, signal);
      }
    }
  }

  async function apply(wanted: WantedTopics, isNew: boolean, signal: AbortSignal): Promise<readonly TopologyChange[]> {
    const before = await cluster.topics(allNames(wanted), signal, true);
    const made = new Set<string>();
    const channels = await make(wanted.channels, before, made, signal);
    if (isNew)
      await begin(
        wanted.groups.filter(({ fromEnd, retry }) => fromEnd && !before.has(retry.name)),
        channels,
        signal,
      );
    const own = ownTopics(wanted, channels);
    const after = await make(own, before, made, signal);
    const others = [...wanted.channels, ...own].filter(({ name }) => !made.has(name));
    return compare(others, new Map([...before, ...channels, ...after]), signal);
  }

  async function verify(wanted: WantedTopics, signal: AbortSignal): Promise<readonly TopologyChange[]> {
    const found = await cluster.topics(allNames(wanted), signal, true);
    return compare([...wanted.channels, ...ownTopics(wanted, found)], found, signal);
  }

  async function compare(
    wanted: readonly WantedTopic[],
    found: Topics,
    signal: AbortSignal,
  ): Promise<readonly TopologyChange[]> {
    const existing = wanted.filter(({ name }) => found.has(name));
    const configs = await configsOf(existing, signal);
    return wanted.flatMap((topic) => {
      const present = found.get(topic.name);
      return present === undefined
        ? [missingTopic(topic.name)]
        : differencesOf(topic, present, configs.get(topic.name));
    });
  }

  /** Of those that the account may look at. */
  async function configsOf(
    topics: readonly WantedTopic[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    const configs = new Map<string, Readonly<Record<string, string>>>();
    let names = topics.map(({ name }) => name);
    for (let attempt = 1; names.length > 0; attempt++) {
      const connection = await asking.any(signal);
      const answers = await abortable(connection.topicConfigs(names), signal);
      names = [];
      for (const { topic, error, config } of answers) {
        if (error === 0) configs.set(topic, config);
        else if (errorClass(error) === "retriable") names.push(topic);
        else if (errorClass(error) !== "access" && errorClass(error) !== "unroutable")
          throw kafkaError(error, named(topic));
      }
      if (names.length > 0) await asking.pause(attempt, signal);
    }
    return configs;
  }

  /** Steps 2 to 4. */
  async function begin(groups: readonly WantedGroup[], channels: Topics, signal: AbortSignal): Promise<void> {
    if (groups.length === 0) return;
    const partitions = new Map(
      groups.map(({ channel: { name } }) => [
        name,
        (channels.get(name)?.partitions ?? []).map(({ partition }): TopicPartition => ({ topic: name, partition })),
      ]),
    );
    const ends = await asking.offsetsAt(logEnd, [...partitions.values()].flat(), signal);
    await Promise.all(
      groups.map(async ({ id, channel: { name } }) => {
        const committed = await asking.committed(id, partitions.get(name) ?? [], signal);
        const known = new Set(committed.filter(({ offset }) => offset >= 0n).map(({ partition }) => partition));
        const offsets = ends
          .filter(({ topic, partition }) => topic === name && !known.has(partition))
          .map(({ topic, partition, offset }): OffsetCommit => ({ topic, partition, offset, metadata: "" }));
        // While the group has members only they may. Then it has begun.
        if (offsets.length > 0) await asking.commit(id, offsets, signal);
      }),
    );
  }

  return {
    async provision(topology, mode, signal) {
      const wanted = wantedTopics(topology, settings);
      if (mode !== "apply") return untilDone(signal, () => verify(wanted, signal));
      const changes = await untilDone(signal, () => apply(wanted, true, signal));
      for (const group of topology.groups) applied.set(groupId(group.channel, group.name), group);
      return changes;
    },
    async restore({ channel, group: name }, signal) {
      const group = applied.get(groupId(channel, name));
      if (group === undefined) return false;
      const wanted = wantedTopics({ channels: [group.channel], groups: [group] }, settings);
      await untilDone(signal, () => apply(wanted, false, signal));
      return true;
    },
  };
}

/** With as many partitions as the channels' topics have; or shall have, where there is none. */
function ownTopics({ groups }: WantedTopics, channels: Topics): readonly WantedTopic[] {
  return groups.flatMap((group) =>
    topicsOfGroup(group, channels.get(group.channel.name)?.partitions.length ?? group.channel.partitions),
  );
}

function allNames({ channels, groups }: WantedTopics): readonly string[] {
  const own = groups.flatMap((group) => topicsOfGroup(group, group.channel.partitions));
  return [...channels, ...own].map(({ name }) => name);
}
