/** Questions that only one broker can answer: a partition's leader, a group's coordinator. Whoever that is may change meanwhile. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type {
  BrokerConnection,
  CommittedOffset,
  FetchedPartition,
  FetchRequest,
  OffsetCommit,
  PartitionAnswer,
  TopicPartition,
} from "./client.ts";
import { ConnectionFailure, placeOf } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, errorCodes, kafkaError } from "./errors.ts";

export interface PartitionOffset extends PartitionAnswer {
  readonly offset: bigint;
}

/**
 * Each of these asks again until the signal fires, where that can help: others, when a broker does not answer. And each answers
 * for every partition, in no order.
 *
 * @throws UNROUTABLE, ACCESS_REFUSED, TRANSPORT_FAILED; ABORTED, CLOSED
 */
export interface Asking {
  /** To whichever broker. @throws ConnectionFailure */
  any(signal: AbortSignal): Promise<BrokerConnection>;
  /**
   * What is there at once: at most so much of all partitions of a leader together, but of the first that has something at
   * least one batch. `error` is 0 or OFFSET_OUT_OF_RANGE.
   */
  fetch(
    partitions: FetchRequest["partitions"],
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<readonly FetchedPartition[]>;
  /** @param time as `BrokerConnection.listOffsets` takes it */
  offsetsAt(
    time: number,
    partitions: readonly TopicPartition[],
    signal: AbortSignal,
  ): Promise<readonly PartitionOffset[]>;
  committed(
    group: string,
    partitions: readonly TopicPartition[],
    signal: AbortSignal,
  ): Promise<readonly CommittedOffset[]>;
  /**
   * Sets a group's offsets, as somebody who is no member of it.
   *
   * @returns false when the group has members: then only they may
   */
  commit(group: string, offsets: readonly OffsetCommit[], signal: AbortSignal): Promise<boolean>;
  /** Before the same is asked again, which is not before there is somebody to ask. */
  pause(attempt: number, signal: AbortSignal): Promise<void>;
}

const backoff = { initialMs: 20, maxMs: 1_000 } as const;

/** @param lane the line of work of these questions */
export function createAsking(cluster: Cluster, environment: TransportEnvironment, lane: string): Asking {
  const pause = async (attempt: number, signal: AbortSignal): Promise<void> => {
    await abortable(sleep(environment.clock, backoffDelay(backoff, attempt, environment.random()), signal), signal);
    await abortable(cluster.ready(signal), signal);
  };

  /** One request to each leader, again for what must be asked again. */
  async function leaders<Item extends TopicPartition, Answer extends PartitionAnswer>(
    items: readonly Item[],
    request: (connection: BrokerConnection, items: readonly Item[]) => Promise<readonly Answer[]>,
    signal: AbortSignal,
  ): Promise<readonly Answer[]> {
    const answered: Answer[] = [];
    let left = items;
    for (let attempt = 0; left.length > 0; attempt++) {
      if (attempt > 0) await pause(attempt, signal);
      if ((await ifAnswered(learn(left, attempt > 0, signal))) === undefined) continue;
      const byLeader = Map.groupBy(left, ({ topic, partition }) => cluster.leader(topic, partition));
      const asked = Array.from(byLeader, async ([leader, each]) => {
        if (leader === undefined) return [];
        const answers = cluster.node(leader, lane, signal).then((connection) => request(connection, each));
        return (await ifAnswered(abortable(answers, signal))) ?? [];
      });
      const done = new Set<string>();
      for (const answer of (await Promise.all(asked)).flat()) {
        if (mustAskAgain(answer.error)) continue;
        if (answer.error !== 0 && answer.error !== errorCodes.OFFSET_OUT_OF_RANGE)
          throw kafkaError(answer.error, named(answer.topic));
        done.add(placeOf(answer));
        answered.push(answer);
      }
      // A broker that slows a client down answers a fetch without its partitions.
      left = left.filter((item) => !done.has(placeOf(item)));
    }
    return answered;
  }

  async function learn(items: readonly TopicPartition[], fresh: boolean, signal: AbortSignal): Promise<true> {
    const names = new Set(items.map(({ topic }) => topic));
    const found = await cluster.topics(names, signal, fresh);
    for (const { topic, partition } of items)
      if (found.get(topic)?.partitions[partition] === undefined)
        throw kafkaError(errorCodes.UNKNOWN_TOPIC_OR_PARTITION, named(topic));
    return true;
  }

  /** `error` is 0, or says that who asks has no place in the group. */
  async function coordinator<Answer extends PartitionAnswer>(
    group: string,
    request: (connection: BrokerConnection) => Promise<readonly Answer[]>,
    signal: AbortSignal,
  ): Promise<readonly Answer[]> {
    for (let attempt = 1; ; attempt++) {
      const asked = cluster.coordinator(group, lane, signal).then(request);
      const answers = await ifAnswered(abortable(asked, signal));
      const code = answers?.find(({ error }) => error !== 0 && errorClass(error) !== "fenced")?.error;
      if (answers !== undefined && code === undefined) return answers;
      if (code !== undefined && !mustAskAgain(code)) throw kafkaError(code, `group ${JSON.stringify(group)}`);
      cluster.forgetCoordinator(group);
      await pause(attempt, signal);
    }
  }

  return {
    any: (signal) => cluster.any(lane, signal),
    fetch: (partitions, maxBytes, signal) =>
      leaders(partitions, (connection, each) => connection.fetch({ maxWaitMs: 0, maxBytes, partitions: each }), signal),
    offsetsAt: (time, partitions, signal) =>
      leaders(
        partitions,
        (connection, each) => connection.listOffsets(each.map(({ topic, partition }) => ({ topic, partition, time }))),
        signal,
      ),
    committed: (group, partitions, signal) =>
      coordinator(group, (connection) => connection.committedOffsets(group, partitions), signal),
    async commit(group, offsets, signal) {
      const nobody = { group, generation: -1, memberId: "" };
      const answers = await coordinator(group, (connection) => connection.commitOffsets(nobody, offsets), signal);
      return answers.every(({ error }) => error === 0);
    },
    pause,
  };
}

/** As error messages call it. */
export function named(topic: string): string {
  return `topic ${JSON.stringify(topic)}`;
}

/** @returns `undefined` when the connection failed */
async function ifAnswered<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ConnectionFailure) return undefined;
    throw error;
  }
}

/** Of a topic that was just created a broker may not know yet. */
function mustAskAgain(code: number): boolean {
  return errorClass(code) === "retriable" || code === errorCodes.UNKNOWN_TOPIC_OR_PARTITION;
}
