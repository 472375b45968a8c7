/** Brokers of one cluster that can be reached or not, for tests. */
import type { BrokerConnection, ClusterMetadata, Endpoint, OpenConnection, TopicMetadata } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import { authenticationFailed, errorCodes } from "./errors.ts";
import { addressOf } from "./lanes.ts";

/**
 * - `up`: it answers.
 * - `down`: nobody listens.
 * - `silent`: nothing comes back, not even that nobody listens.
 * - `refusing`: it refuses the credentials.
 */
export type BrokerState = "up" | "down" | "silent" | "refusing";

/** One connection, as its broker sees it. */
export interface FakeConnection {
  readonly broker: number;
  /** Ends it from the broker's side. */
  end(idle?: boolean): void;
  readonly closed: boolean;
}

export interface FakeBrokers {
  readonly openConnection: OpenConnection;
  /** By id. */
  readonly states: Map<number, BrokerState>;
  /** Those that the metadata shows. */
  readonly shown: Set<number>;
  /** By topic: an error, or its partitions' leaders, -1 for none. */
  readonly topics: Map<string, number | readonly number[]>;
  readonly coordinators: Map<string, number>;
  /** Every try to connect, by address. */
  readonly tries: string[];
  /** Those that are open. */
  readonly connections: Set<FakeConnection>;
  /** What was asked, as `1 metadata orders`. */
  readonly asked: string[];
  /** Ends all of its connections; it is in that state from then on. */
  strike(id: number, state: BrokerState): void;
  connectionsTo(id: number): readonly FakeConnection[];
}

export function endpointOf(id: number): Endpoint {
  return { host: "broker", port: id };
}

/** @param aliases other addresses of brokers */
export function createFakeBrokers(ids: readonly number[], aliases: Readonly<Record<string, number>> = {}): FakeBrokers {
  const fake: FakeBrokers = {
    states: new Map(ids.map((id) => [id, "up"])),
    shown: new Set(ids),
    topics: new Map(),
    coordinators: new Map(),
    tries: [],
    connections: new Set(),
    asked: [],
    async openConnection(endpoint, _settings, onEnd, signal) {
      signal.throwIfAborted();
      const address = addressOf(endpoint);
      fake.tries.push(address);
      const id = aliases[address] ?? endpoint.port;
      const state = fake.states.get(id);
      if (state === "down") throw new ConnectionFailure(`${address} is down.`, false);
      if (state === "refusing") throw authenticationFailed(address, "wrong password");
      if (state === "silent") await new Promise((_, reject) => onAbort(signal, reject));
      return connect(id, onEnd);
    },
    strike(id, state) {
      fake.states.set(id, state);
      if (state !== "silent") for (const connection of fake.connectionsTo(id)) connection.end();
    },
    connectionsTo: (id) => [...fake.connections].filter(({ broker }) => broker === id),
  };

  function connect(broker: number, onEnd: (error: Error, idle: boolean) => void): BrokerConnection {
    const broken = Promise.withResolvers<never>();
    broken.promise.catch(() => undefined);
    let ended = false;
    const stop = (why: string): Error => {
      ended = true;
      fake.connections.delete(own);
      const error = new ConnectionFailure(why, true);
      broken.reject(error);
      return error;
    };
    const own: FakeConnection = {
      broker,
      get closed() {
        return ended;
      },
      end(idle = false) {
        if (!ended) onEnd(stop(`Broker ${broker} ended the connection.`), idle);
      },
    };
    fake.connections.add(own);
    const ask = async <Answer>(what: string, answer: () => Answer): Promise<Answer> => {
      if (ended) throw new ConnectionFailure("The connection has ended.", false);
      fake.asked.push(`${broker} ${what}`);
      if (fake.states.get(broker) === "silent") return broken.promise;
      return answer();
    };
    const refuse = async (): Promise<never> => Promise.reject(new Error("no part of this fake"));
    return {
      get open() {
        return !ended;
      },
      metadata: (names) => ask(["metadata", ...names].join(" "), () => metadataOf(names)),
      findCoordinator: (group) =>
        ask(`coordinator ${group}`, () => {
          const node = fake.coordinators.get(group);
          return node === undefined ? { error: errorCodes.COORDINATOR_NOT_AVAILABLE, node: -1 } : { error: 0, node };
        }),
      heartbeat: () => ask("heartbeat", () => 0),
      initProducerId: refuse,
      produce: refuse,
      fetch: refuse,
      listOffsets: refuse,
      joinGroup: refuse,
      syncGroup: refuse,
      leaveGroup: refuse,
      commitOffsets: refuse,
      committedOffsets: refuse,
      createTopics: refuse,
      topicConfigs: refuse,
      deleteRecords: refuse,
      close: () => void stop("The connection was closed on this side."),
    };
  }

  function metadataOf(names: readonly string[]): ClusterMetadata {
    const nodes = Array.from(fake.shown, (id) => ({ id, ...endpointOf(id) }));
    return { nodes, controller: nodes[0]?.id ?? -1, topics: names.map(topicOf) };
  }

  function topicOf(name: string): TopicMetadata {
    const topic = fake.topics.get(name) ?? errorCodes.UNKNOWN_TOPIC_OR_PARTITION;
    if (typeof topic === "number") return { name, error: topic, partitions: [] };
    const partitions = topic.map((leader, partition) => ({
      error: leader < 0 ? errorCodes.LEADER_NOT_AVAILABLE : 0,
      partition,
      leader,
      replicas: 3,
    }));
    return { name, error: 0, partitions };
  }

  return fake;
}

function onAbort(signal: AbortSignal, reject: (reason: unknown) => void): void {
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
}
