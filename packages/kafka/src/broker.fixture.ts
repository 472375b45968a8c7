/** A small Kafka in memory, as far as topology and admin use one, for tests. */
import type { Receipt } from "@posthorn/core/transport";
import { accepted } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import type {
  BrokerConnection,
  FetchedPartition,
  FetchRequest,
  JoinAnswer,
  NewTopic,
  PartitionAnswer,
  TopicMetadata,
  TopicPartition,
} from "./client.ts";
import { logEnd } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorCodes } from "./errors.ts";
import type { Producer } from "./producer.ts";
import type { FetchedRecord, OutgoingRecord } from "./records.ts";

export interface FakeLog {
  start: bigint;
  end: bigint;
  leader: number;
  /** By offset, perhaps with gaps. */
  records: FetchedRecord[];
}

export interface FakeTopic {
  config: Record<string, string>;
  replicas: number;
  logs: FakeLog[];
}

/** A question, before it is answered. */
export type Interceptor = (api: keyof BrokerConnection, node: number) => Promise<void> | void;

export interface FakeKafka {
  readonly cluster: Cluster;
  /** Appends, as the shared producer does. */
  readonly producer: Pick<Producer, "send">;
  readonly topics: Map<string, FakeTopic>;
  /** Committed offsets by group, then by topic and partition. */
  readonly groups: Map<string, Map<string, bigint>>;
  /** Groups with members. */
  readonly consumed: Set<string>;
  readonly nodes: Set<number>;
  /** What was asked, in order. */
  readonly asked: (keyof BrokerConnection | "topics")[];
  /** Of every fetch: partition and offset, as `t 0 5`. */
  readonly fetches: string[];
  /** May wait, or throw. */
  intercept: Interceptor;
  /** Error codes that are said next instead of an answer. */
  readonly refusals: Map<keyof BrokerConnection, number[]>;
  /** Topics that a node does not show yet. */
  readonly hidden: Map<number, Set<string>>;
  /** What a member of a group is told, one after the other; then nothing any more. */
  readonly joins: JoinAnswer[];
  readonly heartbeats: number[];
  outage: AbortController;
  /** So many fetches are answered without their partitions. */
  throttled: number;
  /** Brokers, those that are down included. */
  registered: number;
  /** Why appends fail. */
  receipt: Receipt;
  makeTopic(name: string, partitions: number, config?: Record<string, string>): FakeTopic;
  append(topic: string, partition: number, ...records: readonly Partial<FetchedRecord>[]): void;
}

export function createFakeKafka(clock: VirtualClock): FakeKafka {
  let closed = false;
  const placeOf = ({ topic, partition }: TopicPartition): string => `${topic} ${partition}`;

  const fake: FakeKafka = {
    topics: new Map(),
    groups: new Map(),
    consumed: new Set(),
    nodes: new Set([1]),
    asked: [],
    fetches: [],
    intercept: () => undefined,
    refusals: new Map(),
    hidden: new Map(),
    joins: [],
    heartbeats: [],
    outage: new AbortController(),
    throttled: 0,
    registered: 0,
    receipt: accepted,
    makeTopic(name, partitions, config = {}) {
      const logs = Array.from({ length: partitions }, (): FakeLog => ({ start: 0n, end: 0n, leader: 1, records: [] }));
      const topic = { config, logs, replicas: 1 };
      fake.topics.set(name, topic);
      return topic;
    },
    append(topic, partition, ...records) {
      const log = fake.topics.get(topic)?.logs[partition];
      if (log === undefined) throw new Error(`no ${topic} ${partition}`);
      for (const record of records)
        log.records.push({
          topic,
          partition,
          timestamp: clock.now(),
          key: null,
          value: Buffer.from(""),
          headers: [],
          ...record,
          offset: log.end++,
        });
    },
    producer: {
      async send(appends) {
        await Promise.resolve();
        if (!fake.receipt.accepted) return appends.map(() => fake.receipt);
        for (const { topic, partition, record } of appends) fake.append(topic, partition, asFetched(record));
        return appends.map(() => accepted);
      },
    },
    cluster: {
      get connected() {
        return true;
      },
      get closed() {
        return closed;
      },
      get size() {
        return fake.nodes.size;
      },
      get outage() {
        return fake.outage.signal;
      },
      start: async () => undefined,
      async ready(signal) {
        signal.throwIfAborted();
      },
      async node(id) {
        return connection(id);
      },
      any: async () => connection(1),
      controller: async () => connection(1),
      coordinator: async () => connection(1),
      forgetCoordinator: () => undefined,
      closeLane: () => undefined,
      async topics(names) {
        fake.asked.push("topics");
        const found = Array.from(names, (name) => [name, metadataOf(name, 1)] as const);
        return new Map(found.filter(([, { error }]) => error === 0));
      },
      leader: (topic, partition) => fake.topics.get(topic)?.logs[partition]?.leader,
      close() {
        closed = true;
      },
    },
  };

  function metadataOf(name: string, node: number): TopicMetadata {
    const topic = fake.hidden.get(node)?.has(name) === true ? undefined : fake.topics.get(name);
    if (topic === undefined) return { name, error: errorCodes.UNKNOWN_TOPIC_OR_PARTITION, partitions: [] };
    const { logs, replicas } = topic;
    return {
      name,
      error: 0,
      partitions: logs.map(({ leader }, partition) => ({ error: 0, partition, leader, replicas })),
    };
  }

  function connection(node: number): BrokerConnection {
    /** @returns the code that is to be said instead of the answer */
    const ask = async (api: keyof BrokerConnection): Promise<number> => {
      fake.asked.push(api);
      await fake.intercept(api, node);
      return fake.refusals.get(api)?.shift() ?? 0;
    };
    const logOf = ({ topic, partition }: TopicPartition): FakeLog | undefined =>
      fake.topics.get(topic)?.logs[partition];
    const each = <Answer extends PartitionAnswer>(
      places: readonly TopicPartition[],
      error: number,
      answer: (log: FakeLog, index: number) => Omit<Answer, keyof PartitionAnswer>,
    ): (PartitionAnswer & Omit<Answer, keyof PartitionAnswer>)[] =>
      places.map(({ topic, partition }, index) => {
        const log = logOf({ topic, partition });
        const code = error !== 0 || log !== undefined ? error : errorCodes.UNKNOWN_TOPIC_OR_PARTITION;
        const empty: FakeLog = { start: -1n, end: -1n, leader: -1, records: [] };
        return { topic, partition, error: code, ...answer(log ?? empty, index) };
      });
    const refuse = async (): Promise<never> => Promise.reject(new Error("no part of this fake"));
    return {
      open: true,
      async metadata(names) {
        await ask("metadata");
        const nodes = [...fake.nodes].map((id) => ({ id, host: "fake", port: id }));
        return { nodes, controller: 1, topics: names.map((name) => metadataOf(name, node)) };
      },
      async fetch(request) {
        const error = await ask("fetch");
        if (fake.throttled > 0) {
          fake.throttled--;
          return [];
        }
        return fetchFrom(request, error);
      },
      async listOffsets(partitions) {
        const error = await ask("listOffsets");
        return each<PartitionAnswer & { offset: bigint }>(partitions, error, ({ start, end }, index) => ({
          offset: partitions[index]?.time === logEnd ? end : start,
        }));
      },
      async committedOffsets(group, partitions) {
        const error = await ask("committedOffsets");
        const committed = fake.groups.get(group);
        return partitions.map((place) => ({
          ...place,
          error,
          offset: committed?.get(placeOf(place)) ?? -1n,
          metadata: "",
        }));
      },
      async commitOffsets({ group }, offsets) {
        const refused = await ask("commitOffsets");
        const error = fake.consumed.has(group) ? errorCodes.UNKNOWN_MEMBER_ID : refused;
        const committed = fake.groups.get(group) ?? new Map<string, bigint>();
        if (error === 0) fake.groups.set(group, committed);
        for (const place of offsets) if (error === 0) committed.set(placeOf(place), place.offset);
        return offsets.map(({ topic, partition }) => ({ topic, partition, error }));
      },
      async createTopics(topics) {
        const refused = await ask("createTopics");
        return topics.map((wanted) => ({ topic: wanted.name, ...created(wanted, refused) }));
      },
      async topicConfigs(names) {
        const error = await ask("topicConfigs");
        return names.map((topic) => ({
          topic,
          error,
          config: error === 0 ? (fake.topics.get(topic)?.config ?? {}) : {},
        }));
      },
      async joinGroup() {
        await ask("joinGroup");
        return fake.joins.shift() ?? new Promise<never>(() => undefined);
      },
      async syncGroup() {
        return { error: await ask("syncGroup"), assignment: new Uint8Array() };
      },
      async heartbeat() {
        await ask("heartbeat");
        return fake.heartbeats.shift() ?? 0;
      },
      leaveGroup: () => ask("leaveGroup"),
      initProducerId: refuse,
      produce: refuse,
      findCoordinator: refuse,
      deleteRecords: refuse,
      close: () => undefined,
    };
  }

  function created(
    { name, partitions, config, replicationFactor }: NewTopic,
    error: number,
  ): { error: number; message: string } {
    if (error !== 0) return { error, message: "So says the broker." };
    if (fake.topics.has(name)) return { error: errorCodes.TOPIC_ALREADY_EXISTS, message: "It exists." };
    if (replicationFactor > Math.max(fake.nodes.size, fake.registered))
      return { error: errorCodes.INVALID_REPLICATION_FACTOR, message: "There are fewer brokers." };
    fake.makeTopic(name, partitions, { ...config }).replicas = replicationFactor;
    return { error: 0, message: "" };
  }

  /** A record's size is that of its value; every record is a batch. */
  function fetchFrom({ partitions, maxBytes }: FetchRequest, error: number): FetchedPartition[] {
    let room = maxBytes;
    let isFirst = true;
    return partitions.map(({ topic, partition, offset, maxBytes: partitionBytes }) => {
      fake.fetches.push(`${topic} ${partition} ${offset}`);
      const log = fake.topics.get(topic)?.logs[partition];
      const nothing = { topic, partition, records: [], next: offset, undecodable: undefined };
      if (log === undefined || error !== 0)
        return {
          ...nothing,
          error: error === 0 ? errorCodes.UNKNOWN_TOPIC_OR_PARTITION : error,
          highWatermark: -1n,
          logStart: -1n,
        };
      const { start: logStart, end: highWatermark } = log;
      if (offset < logStart || offset > highWatermark)
        return { ...nothing, error: errorCodes.OFFSET_OUT_OF_RANGE, highWatermark: -1n, logStart: -1n };
      const records: FetchedRecord[] = [];
      let own = partitionBytes;
      for (const record of log.records.filter((each) => each.offset >= offset)) {
        const bytes = record.value?.byteLength ?? 0;
        if (bytes > Math.min(room, own) && !isFirst) break;
        isFirst = false;
        room -= bytes;
        own -= bytes;
        records.push(record);
      }
      const next = (records.at(-1)?.offset ?? offset - 1n) + 1n;
      return { ...nothing, error: 0, highWatermark, logStart, records, next };
    });
  }

  return fake;
}

function asFetched({ key, value, headers }: OutgoingRecord): Partial<FetchedRecord> {
  return {
    key,
    value,
    headers: headers.map(([name, content]) => [name, typeof content === "string" ? Buffer.from(content) : content]),
  };
}

/** Lets time pass until it is settled. */
export async function during<Result>(clock: VirtualClock, work: Promise<Result>): Promise<Result> {
  let over = false;
  const end = (): void => void (over = true);
  work.then(end, end);
  for (let turn = 0; !over && turn < 10_000; turn++) await clock.advance(10);
  if (!over) throw new Error("It takes for ever.");
  return work;
}
