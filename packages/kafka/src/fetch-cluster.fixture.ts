/** Brokers that a consumption asks, for tests: a test gives the answers. Who leads what is known from when it was asked for last. */
import { createVirtualClock } from "@posthorn/core/testing";
import type { VirtualClock } from "@posthorn/core/testing";
import type { SlotKind } from "./assignment.ts";
import type { BrokerConnection, FetchedPartition, FetchRequest, TopicMetadata } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { closedError } from "./errors.ts";
import type { Fetching } from "./fetching.ts";
import { createFetching } from "./fetching.ts";
import { HeldSlot } from "./held-slot.ts";
import type { Settings } from "./options.ts";
import { HeldWindow } from "./places.ts";
import type { FetchedRecord } from "./records.ts";
import { readStarts } from "./starts.ts";

type Leaders = readonly (number | undefined)[];

export interface FetchCluster {
  readonly cluster: Cluster;
  /** Who leads the partitions of each topic now. A partition without a leader has `undefined`. */
  readonly leaders: Map<string, Leaders>;
  /** Every question for topics, as `orders orders.retry`. */
  readonly questions: string[];
  /** Instead of the answer to a question for topics. */
  topicsFail: Error | undefined;
  disconnect(): void;
  connect(): void;
  close(): void;
}

/**
 * @param leaders by topic
 * @param brokers what the broker of a number answers, on a lane
 */
export function createFetchCluster(
  leaders: Readonly<Record<string, Leaders>>,
  brokers: (node: number, lane: string) => Partial<BrokerConnection> = () => ({}),
): FetchCluster {
  const actual = new Map(Object.entries(leaders));
  const known = new Map(actual);
  let closed = false;
  let up: PromiseWithResolvers<void> | undefined;

  function learn(names: readonly string[]): void {
    for (const name of names) {
      const now = actual.get(name);
      if (now === undefined) known.delete(name);
      else known.set(name, now);
    }
  }

  const cluster: Pick<Cluster, "closed" | "leader" | "node" | "ready" | "topics"> = {
    get closed() {
      return closed;
    },
    leader: (topic, partition) => known.get(topic)?.[partition],
    async node(id, lane) {
      if (closed) throw closedError();
      return brokers(id, lane) as BrokerConnection;
    },
    async ready(signal) {
      signal.throwIfAborted();
      if (closed) throw closedError();
      await up?.promise;
    },
    async topics(names, signal, fresh = false) {
      if (closed) throw closedError();
      signal.throwIfAborted();
      const asked = [...names];
      const unknown = asked.filter((name) => fresh || !known.has(name));
      if (unknown.length > 0) {
        fake.questions.push(unknown.join(" "));
        if (fake.topicsFail !== undefined) throw fake.topicsFail;
        learn(unknown);
      }
      return new Map(asked.filter((name) => known.has(name)).map((name) => [name, metadata(name, known.get(name))]));
    },
  };

  const fake: FetchCluster = {
    cluster: cluster as Cluster,
    leaders: actual,
    questions: [],
    topicsFail: undefined,
    disconnect() {
      up = Promise.withResolvers();
      up.promise.catch(() => undefined);
    },
    connect() {
      up?.resolve();
      up = undefined;
    },
    close() {
      closed = true;
      up?.reject(closedError());
    },
  };
  return fake;
}

function metadata(name: string, leaders: Leaders = []): TopicMetadata {
  const partitions = leaders.map((leader, partition) => ({ error: 0, partition, leader: leader ?? -1, replicas: 1 }));
  return { name, error: 0, partitions };
}

/** Somebody who fetches. The answers are the test's: after each, what needs no time has happened. */
export interface FetchSetting {
  readonly clock: VirtualClock;
  readonly cluster: FetchCluster;
  readonly ending: AbortController;
  /** Every fetch, as `1: orders/0@5 orders/2@7`. */
  readonly asked: string[];
  readonly outOfRange: HeldWindow[];
  readonly missing: string[];
  readonly told: unknown[];
  /** How often there was an answer. */
  readonly answers: () => number;
  /** How many records are wanted of a partition; by default any number. */
  readonly wanted: Map<HeldWindow, number>;
  /** Brokers that are away: what they are asked fails at once. */
  readonly away: Set<number>;
  readonly fetching: Fetching;
  wake(): Promise<void>;
  /** What a broker has not answered yet. */
  request(node: number): FetchRequest;
  /** @param given by partition, such as `orders/0`; the others have nothing new */
  answer(node: number, given?: FetchAnswer): Promise<void>;
  fail(node: number, error: Error): Promise<void>;
}

export type FetchAnswer = Readonly<Record<string, Partial<FetchedPartition>>>;

interface UnderWay {
  readonly request: FetchRequest;
  readonly answered: PromiseWithResolvers<readonly FetchedPartition[]>;
}

export const fetchMaxBytes = 80_000;
export const fetchMaxWaitMs = 500;

const nothing = { error: 0, highWatermark: 0n, logStart: 0n, records: [], undecodable: undefined };

export function createFetchSetting(
  leaders: Readonly<Record<string, Leaders>>,
  windows: readonly HeldWindow[],
): FetchSetting {
  const clock = createVirtualClock();
  const ending = new AbortController();
  const underWay = new Map<number, UnderWay>();
  let answers = 0;

  const cluster = createFetchCluster(leaders, (node) => ({
    async fetch(request) {
      const places = request.partitions.map(({ topic, partition, offset }) => `${topic}/${partition}@${offset}`);
      setting.asked.push(`${node}: ${places.join(" ")}`);
      if (setting.away.has(node)) throw cut();
      const answered = Promise.withResolvers<readonly FetchedPartition[]>();
      underWay.set(node, { request, answered });
      return answered.promise;
    },
  }));

  function ofBroker(node: number): UnderWay {
    const found = underWay.get(node);
    if (found === undefined) throw new Error(`The broker ${node} is not asked.`);
    return found;
  }

  const setting: FetchSetting = {
    clock,
    cluster,
    ending,
    asked: [],
    outOfRange: [],
    missing: [],
    told: [],
    answers: () => answers,
    wanted: new Map(),
    away: new Set(),
    fetching: createFetching({
      cluster: cluster.cluster,
      environment: { clock, random: () => 0 },
      settings: { fetchMaxBytes, fetchMaxWaitMs } as Settings,
      lane: "fetch-0",
      ending: ending.signal,
      windows: () => windows,
      wanted: (window) => setting.wanted.get(window) ?? Infinity,
      onRecords: () => void answers++,
      onOutOfRange: (window) => void setting.outOfRange.push(window),
      onMissing: (topic) => void setting.missing.push(topic),
      onFailed: (error) => void setting.told.push(error),
    }),
    async wake() {
      setting.fetching.wake();
      await clock.advance(0);
    },
    request: (node) => ofBroker(node).request,
    async answer(node, given = {}) {
      const { request, answered } = ofBroker(node);
      underWay.delete(node);
      answered.resolve(
        request.partitions.map(({ topic, partition, offset }) => {
          const answer: FetchedPartition = { ...nothing, topic, partition, next: offset };
          return { ...answer, ...given[`${topic}/${partition}`] };
        }),
      );
      await clock.advance(0);
    },
    async fail(node, error) {
      const { answered } = ofBroker(node);
      underWay.delete(node);
      answered.reject(error);
      await clock.advance(0);
    },
  };
  return setting;
}

export function cut(): ConnectionFailure {
  return new ConnectionFailure("The connection was cut.", true);
}

/** A partition that is read from its beginning. */
export function heldWindow(topic: string, partition: number, kind: SlotKind = "messages"): HeldWindow {
  const slot = new HeldSlot({ kind, number: partition });
  return new HeldWindow(slot, { topic, partition }, 0, readStarts(undefined, "me", 0, 0));
}

/** The records of these offsets, the last one not among them. */
export function fetchedRecords(from: number, to: number, bytes = 0): FetchedRecord[] {
  const record = { topic: "orders", partition: 0, timestamp: 0, key: null, value: Buffer.alloc(bytes), headers: [] };
  return Array.from({ length: to - from }, (_, index) => ({ ...record, offset: BigInt(from + index) }));
}
