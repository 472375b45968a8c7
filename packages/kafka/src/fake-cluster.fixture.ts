/** A cluster whose connections do what a test says, for tests. */
import type { PartitionAnswer, ProduceBatch, ProduceRequest, TopicMetadata } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { closedError } from "./errors.ts";
import { PartitionLog } from "./partition-log.fixture.ts";
import type { ProduceConnections } from "./produce-requests.ts";

type Answers = readonly (PartitionAnswer & { readonly offset: bigint })[];

export interface FakeCluster
  extends ProduceConnections, Pick<Cluster, "closed" | "closeLane" | "leader" | "ready" | "topics"> {
  /** Every produce request so far. */
  readonly requests: { readonly node: number; readonly request: ProduceRequest }[];
  /** The leaders by topic. A partition without one has `undefined`. */
  readonly leaders: Map<string, (number | undefined)[]>;
  /** How often topics were asked for afresh. */
  asked: number;
  connected: boolean;
  /** Instead of the answer to the next questions for topics. */
  topicsFail: Error | undefined;
  /** Instead of connections. */
  nodeFails: Error | undefined;
  producerIdError: number;
  producerIds: bigint;
  /** What becomes of a request; by default everything is appended. */
  answer: (request: ProduceRequest, node: number) => Promise<Answers>;
  /** Connects again. */
  connect(): void;
  log(topic: string, partition?: number): PartitionLog;
  /** Appends to the logs. */
  append(request: ProduceRequest): Answers;
}

/** @param leaders by topic */
export function createFakeCluster(leaders: Readonly<Record<string, (number | undefined)[]>>): FakeCluster {
  const logs = new Map<string, PartitionLog>();
  let connecting = Promise.withResolvers<void>();
  const fake: FakeCluster = {
    requests: [],
    leaders: new Map(Object.entries(leaders)),
    asked: 0,
    connected: true,
    closed: false,
    topicsFail: undefined,
    nodeFails: undefined,
    producerIdError: 0,
    producerIds: 100n,
    answer: async (request) => fake.append(request),
    connect() {
      fake.connected = true;
      connecting.resolve();
      connecting = Promise.withResolvers();
    },
    log(topic, partition = 0) {
      const key = `${topic} ${partition}`;
      let log = logs.get(key);
      if (log === undefined) logs.set(key, (log = new PartitionLog()));
      return log;
    },
    append: ({ batches }) =>
      batches.map((batch) => answerTo(batch, fake.log(batch.topic, batch.partition).append(batch))),
    async ready(signal) {
      while (!fake.connected) {
        const aborted = Promise.withResolvers<never>();
        const abort = (): void => aborted.reject(signal.reason);
        if (signal.aborted) abort();
        signal.addEventListener("abort", abort, { once: true });
        await Promise.race([connecting.promise, aborted.promise]);
      }
      signal.throwIfAborted();
    },
    async topics(names, signal) {
      fake.asked++;
      signal.throwIfAborted();
      if (fake.topicsFail !== undefined) throw fake.topicsFail;
      return new Map(
        Array.from(names, (name) => [name, metadataOf(name, fake.leaders.get(name))] as const).filter(isFound),
      );
    },
    leader: (topic, partition) => fake.leaders.get(topic)?.[partition],
    async any() {
      if (fake.nodeFails !== undefined) throw fake.nodeFails;
      return {
        async initProducerId() {
          const error = fake.producerIdError;
          return { error, producerId: error === 0 ? fake.producerIds++ : -1n, epoch: 0 };
        },
      };
    },
    async node(id) {
      if (fake.nodeFails !== undefined) throw fake.nodeFails;
      if (fake.closed) throw closedError();
      return {
        produce(request) {
          fake.requests.push({ node: id, request });
          return fake.answer(request, id);
        },
      };
    },
    closeLane: () => undefined,
  };
  return fake;
}

export function answerTo({ topic, partition }: ProduceBatch, error: number): Answers[number] {
  return { topic, partition, error, offset: 0n };
}

/** Answers all batches of a request with a code; nothing is appended. */
export function refusal({ batches }: ProduceRequest, error: number): Answers {
  return batches.map((batch) => answerTo(batch, error));
}

export function cut(sent: boolean): ConnectionFailure {
  return new ConnectionFailure("The connection was cut.", sent);
}

function metadataOf(name: string, leaders: readonly (number | undefined)[] | undefined): TopicMetadata | undefined {
  if (leaders === undefined) return undefined;
  const partitions = leaders.map((leader, partition) => ({ error: 0, partition, leader: leader ?? -1, replicas: 1 }));
  return { name, error: 0, partitions };
}

function isFound(entry: readonly [string, TopicMetadata | undefined]): entry is readonly [string, TopicMetadata] {
  return entry[1] !== undefined;
}
