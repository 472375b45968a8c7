/** Requests that only one broker can answer: a partition's leader, a group's coordinator. Whoever that is may change meanwhile. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type { BrokerConnection, FetchedPartition, FetchRequest, PartitionAnswer, TopicPartition } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, errorCodes, kafkaError } from "./errors.ts";

/** All of it rejects with ConnectionFailure when a connection is lost, and waits for whoever is responsible until the signal fires. */
export interface Asking {
  /** To whichever broker. */
  any(signal: AbortSignal): Promise<BrokerConnection>;
  /**
   * One request to each leader, again for what must be asked again.
   *
   * @returns in no order; `error` is 0 or OFFSET_OUT_OF_RANGE
   * @throws UNROUTABLE, ACCESS_REFUSED, TRANSPORT_FAILED
   */
  leaders<Item extends TopicPartition, Answer extends PartitionAnswer>(
    items: readonly Item[],
    request: (connection: BrokerConnection, items: readonly Item[]) => Promise<readonly Answer[]>,
    signal: AbortSignal,
  ): Promise<readonly Answer[]>;
  /** What is there at once, at most so much of all partitions of a leader together, but one batch. */
  fetch(
    partitions: FetchRequest["partitions"],
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<readonly FetchedPartition[]>;
  /** @returns what was answered; `error` is 0, or a reason why a member's place is gone: to others, that there are members */
  coordinator<Answer extends PartitionAnswer>(
    group: string,
    request: (connection: BrokerConnection) => Promise<readonly Answer[]>,
    signal: AbortSignal,
  ): Promise<readonly Answer[]>;
  /** Before the same is asked again. */
  pause(attempt: number, signal: AbortSignal): Promise<void>;
}

const backoff = { initialMs: 20, maxMs: 1_000 } as const;

/** @param lane the line of work of these requests */
export function createAsking(cluster: Cluster, environment: TransportEnvironment, lane: string): Asking {
  const pause = (attempt: number, signal: AbortSignal): Promise<void> =>
    abortable(sleep(environment.clock, backoffDelay(backoff, attempt, environment.random()), signal), signal);

  async function leaders<Item extends TopicPartition, Answer extends PartitionAnswer>(
    items: readonly Item[],
    request: (connection: BrokerConnection, items: readonly Item[]) => Promise<readonly Answer[]>,
    signal: AbortSignal,
  ): Promise<readonly Answer[]> {
    const settled: Answer[] = [];
    let left = items;
    for (let attempt = 0; left.length > 0; attempt++) {
      if (attempt > 0) await pause(attempt, signal);
      await learn(left, attempt > 0, signal);
      const byLeader = Map.groupBy(left, ({ topic, partition }) => cluster.leader(topic, partition));
      const asked = Array.from(byLeader, async ([leader, each]) => {
        if (leader === undefined) return [];
        const connection = await cluster.node(leader, lane, signal);
        return abortable(request(connection, each), signal);
      });
      const done = new Set<string>();
      for (const answer of (await Promise.all(asked)).flat()) {
        if (mustAskAgain(answer.error)) continue;
        if (answer.error !== 0 && answer.error !== errorCodes.OFFSET_OUT_OF_RANGE)
          throw kafkaError(answer.error, named(answer.topic));
        done.add(idOf(answer));
        settled.push(answer);
      }
      // A broker that slows a client down answers a fetch without its partitions.
      left = left.filter((item) => !done.has(idOf(item)));
    }
    return settled;
  }

  /** @throws UNROUTABLE */
  async function learn(items: readonly TopicPartition[], fresh: boolean, signal: AbortSignal): Promise<void> {
    const names = new Set(items.map(({ topic }) => topic));
    const found = await cluster.topics(names, signal, fresh);
    for (const { topic, partition } of items)
      if (found.get(topic)?.partitions[partition] === undefined)
        throw kafkaError(errorCodes.UNKNOWN_TOPIC_OR_PARTITION, named(topic));
  }

  return {
    any: (signal) => cluster.any(lane, signal),
    leaders,
    pause,
    fetch: (partitions, maxBytes, signal) =>
      leaders(
        partitions,
        (connection, each) => connection.fetch({ maxWaitMs: 0, maxBytes, partitions: each }),
        signal,
      ),
    async coordinator(group, request, signal) {
      for (let attempt = 1; ; attempt++) {
        const connection = await cluster.coordinator(group, lane, signal);
        const answers = await abortable(request(connection), signal);
        const code = answers.find(({ error }) => error !== 0 && errorClass(error) !== "fenced")?.error;
        if (code === undefined) return answers;
        // Of a topic that was just created a broker may not know yet.
        if (!mustAskAgain(code)) throw kafkaError(code, `group ${JSON.stringify(group)}`);
        cluster.forgetCoordinator(group);
        await pause(attempt, signal);
      }
    },
  };
}

/** @returns as error messages call it */
export function named(topic: string): string {
  return `topic ${JSON.stringify(topic)}`;
}

function mustAskAgain(code: number): boolean {
  return errorClass(code) === "retriable" || code === errorCodes.UNKNOWN_TOPIC_OR_PARTITION;
}

function idOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
}
