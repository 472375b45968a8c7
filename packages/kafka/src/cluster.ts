/**
 * The brokers of one cluster: who leads what, connections to them, and whether the way to them works.
 *
 * A **lane** is a line of work with connections of its own, one for each broker, because a broker answers the requests of
 * one connection one after the other: a fetch that waits would hold up a heartbeat.
 */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type {
  BrokerConnection,
  ClusterMetadata,
  ConnectionSettings,
  Endpoint,
  PartitionMetadata,
  TopicMetadata,
} from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import { closedError, connectionFailed, errorCodes, isAuthenticationFailure, kafkaError } from "./errors.ts";
import { openConnection } from "./kafkajs-connection.ts";

export interface ClusterOptions extends ConnectionSettings {
  readonly brokers: readonly Endpoint[];
  readonly environment: TransportEnvironment;
  /** So often topics are asked for anew, in milliseconds. */
  readonly metadataMaxAgeMs: number;
  readonly onConnected: () => void;
  /** Once for an outage. */
  readonly onDisconnected: (error: Error) => void;
  /** The credentials that were good once are refused. It goes on trying. */
  readonly onRefused: (error: unknown) => void;
}

export interface Cluster {
  readonly connected: boolean;
  readonly closed: boolean;
  /** How many brokers there are. */
  readonly size: number;
  /** Fires when the present way to the cluster is lost, or closed. A new one afterwards. */
  readonly outage: AbortSignal;

  /** @throws AUTHENTICATION_FAILED at once; CONNECTION_FAILED when the signal fires first */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves as soon as there is a way to the cluster. @throws CLOSED; the signal's reason */
  ready(signal: AbortSignal): Promise<void>;

  /** @throws ConnectionFailure */
  node(id: number, lane: string, signal: AbortSignal): Promise<BrokerConnection>;
  /** To any broker. @throws ConnectionFailure */
  any(lane: string, signal: AbortSignal): Promise<BrokerConnection>;
  /** To the broker that creates topics. @throws ConnectionFailure */
  controller(lane: string, signal: AbortSignal): Promise<BrokerConnection>;
  /** To the broker that keeps the group. Waits until there is one. @throws ConnectionFailure */
  coordinator(group: string, lane: string, signal: AbortSignal): Promise<BrokerConnection>;
  /** After an answer that says it is another one. */
  forgetCoordinator(group: string): void;
  /** Ends a line of work. */
  closeLane(lane: string): void;

  /**
   * What is known of topics, asked for where it is not, or with `fresh`. Topics that do not exist are not in the result.
   *
   * @throws ConnectionFailure
   */
  topics(names: Iterable<string>, signal: AbortSignal, fresh?: boolean): Promise<ReadonlyMap<string, TopicMetadata>>;
  /** From what is known; `undefined` when it must be asked for. */
  leader(topic: string, partition: number): number | undefined;

  close(): void;
}

const backoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.5 } as const;
const controlLane = "control";

/** Two rounds of it tell a silent way. */
function pingInterval(settings: ConnectionSettings): number {
  return Math.min(settings.requestTimeoutMs / 2, 5_000);
}

export function createCluster(options: ClusterOptions): Cluster {
  const { environment } = options;
  const { clock } = environment;
  const closing = new AbortController();
  /** By node id; of the last answer. */
  let nodes: ReadonlyMap<number, Endpoint> = new Map();
  let controllerId = -1;
  const topicsKnown = new Map<string, TopicMetadata>();
  const coordinators = new Map<string, number>();
  const connections = new Map<
    string,
    { readonly endpoint: string; readonly lane: string; readonly opening: Promise<BrokerConnection> }
  >();
  let connected = false;
  let up = Promise.withResolvers<void>();
  up.promise.catch(() => undefined);
  let outage = new AbortController();
  let nextSeed = 0;
  /** Fires with what broke the way. */
  let trouble = new AbortController();
  /** When everything that is known was asked for last. */
  let refreshedAt = environment.clock.monotonic();

  /** The connection of a lane to an endpoint. */
  function open(endpoint: Endpoint, lane: string, signal: AbortSignal): Promise<BrokerConnection> {
    if (closing.signal.aborted) return Promise.reject(closedError());
    const address = `${endpoint.host}:${endpoint.port}`;
    const key = `${lane} ${address}`;
    const existing = connections.get(key);
    if (existing !== undefined) return abortable(existing.opening, signal);
    const forget = (): void => {
      if (connections.get(key) === entry) connections.delete(key);
    };
    const opening = openConnection(
      endpoint,
      options,
      (error, idle) => {
        forget();
        if (!idle || lane === controlLane) onBroken(address, error);
      },
      closing.signal,
    );
    const entry = { endpoint: address, lane, opening };
    connections.set(key, entry);
    opening.catch(forget);
    return abortable(opening, signal);
  }

  /** What broke one connection to a broker has mostly broken the others, too, which only do not know it yet. */
  function onBroken(address: string, error: Error): void {
    if (closing.signal.aborted) return;
    closeWhere(({ endpoint }) => endpoint === address);
    trouble.abort(error);
  }

  function closeWhere(which: (entry: { endpoint: string; lane: string }) => boolean): void {
    for (const [key, entry] of connections) {
      if (!which(entry)) continue;
      connections.delete(key);
      entry.opening.then(
        (connection) => connection.close(),
        () => undefined,
      );
    }
  }

  function learn(answer: ClusterMetadata): void {
    if (answer.nodes.length > 0) nodes = new Map(answer.nodes.map((node) => [node.id, node]));
    controllerId = answer.controller;
    for (const topic of answer.topics) {
      if (usable(topic)) topicsKnown.set(topic.name, topic);
      else topicsKnown.delete(topic.name);
    }
  }

  /** Any broker that answers; every one is tried before it fails. */
  async function control(names: readonly string[] = []): Promise<void> {
    const endpoints = [...nodes.values(), ...options.brokers];
    let last: unknown = new ConnectionFailure("No broker is known.", false);
    for (let tried = 0; tried < endpoints.length; tried++) {
      const endpoint = endpoints[nextSeed++ % endpoints.length];
      if (endpoint === undefined) break;
      try {
        const connection = await open(endpoint, controlLane, closing.signal);
        const answer = await connection.metadata(names);
        if (answer.nodes.length === 0)
          throw new ConnectionFailure(`${endpoint.host}:${endpoint.port} knows no brokers.`, true);
        learn(answer);
        return;
      } catch (error) {
        if (closing.signal.aborted || isAuthenticationFailure(error)) throw error;
        closeWhere(({ lane }) => lane === controlLane);
        last = error;
      }
    }
    throw last;
  }

  function setConnected(): void {
    connected = true;
    trouble = new AbortController();
    outage = new AbortController();
    up.resolve();
    options.onConnected();
  }

  function setDisconnected(reason: Error): void {
    connected = false;
    up = Promise.withResolvers();
    up.promise.catch(() => undefined);
    coordinators.clear();
    topicsKnown.clear();
    outage.abort(reason);
    options.onDisconnected(reason);
  }

  /** Keeps the way up until it is closed. */
  async function keep(): Promise<void> {
    while (!closing.signal.aborted) {
      const error = await watch();
      if (closing.signal.aborted) return;
      setDisconnected(error);
      closeWhere(({ lane }) => lane === controlLane);
      await reconnect();
    }
  }

  /** Resolves with what broke the way. */
  async function watch(): Promise<Error> {
    const { signal } = trouble;
    while (!signal.aborted) {
      await sleep(clock, pingInterval(options), signal).catch(() => undefined);
      const due = clock.monotonic() - refreshedAt >= options.metadataMaxAgeMs;
      if (due) refreshedAt = clock.monotonic();
      try {
        // Partitions may have been added, which nobody is told.
        await abortable(control(due ? [...topicsKnown.keys()] : []), signal);
      } catch (error) {
        if (!signal.aborted) return error instanceof Error ? error : new Error(String(error));
      }
    }
    return signal.reason as Error;
  }

  async function reconnect(): Promise<void> {
    let refused = false;
    for (let attempt = 1; !closing.signal.aborted; attempt++) {
      try {
        await control();
        if (!closing.signal.aborted) setConnected();
        return;
      } catch (error) {
        // All else is the outage, which was told.
        if (isAuthenticationFailure(error) && !refused) options.onRefused(error);
        refused ||= isAuthenticationFailure(error);
        await sleep(clock, backoffDelay(backoff, attempt, environment.random()), closing.signal).catch(() => undefined);
      }
    }
  }

  async function topics(
    names: Iterable<string>,
    signal: AbortSignal,
    fresh = false,
  ): Promise<ReadonlyMap<string, TopicMetadata>> {
    const asked = new Set(names);
    const unknown = fresh ? [...asked] : [...asked].filter((name) => !topicsKnown.has(name));
    if (unknown.length > 0) {
      const connection = await any(controlLane, signal);
      const answer = await abortable(connection.metadata(unknown), signal);
      learn(answer);
      for (const { name, error } of answer.topics)
        if (error === errorCodes.TOPIC_AUTHORIZATION_FAILED) throw kafkaError(error, `topic ${JSON.stringify(name)}`);
    }
    const found = new Map<string, TopicMetadata>();
    for (const name of asked) {
      const topic = topicsKnown.get(name);
      if (topic !== undefined) found.set(name, topic);
    }
    return found;
  }

  async function any(lane: string, signal: AbortSignal): Promise<BrokerConnection> {
    const control = [...connections.values()].find((entry) => entry.lane === controlLane);
    if (control !== undefined && lane === controlLane) return abortable(control.opening, signal);
    const [host, port] = splitEndpoint(control?.endpoint);
    const endpoint = host === undefined ? ([...nodes.values()][0] ?? options.brokers[0]) : { host, port };
    if (endpoint === undefined) throw new ConnectionFailure("No broker is known.", false);
    return open(endpoint, lane, signal);
  }

  async function node(id: number, lane: string, signal: AbortSignal): Promise<BrokerConnection> {
    const endpoint = nodes.get(id);
    if (endpoint === undefined) throw new ConnectionFailure(`The broker ${id} is not known.`, false);
    return open(endpoint, lane, signal);
  }

  return {
    get connected() {
      return connected;
    },
    get closed() {
      return closing.signal.aborted;
    },
    get size() {
      return nodes.size;
    },
    get outage() {
      return outage.signal;
    },

    async start(signal) {
      let last: unknown;
      for (let attempt = 1; ; attempt++) {
        try {
          await abortable(control(), signal);
          break;
        } catch (error) {
          if (closing.signal.aborted) throw closedError();
          if (isAuthenticationFailure(error)) throw error;
          if (!signal.aborted) {
            last = error;
            await sleep(clock, backoffDelay(backoff, attempt, environment.random()), signal).catch(() => undefined);
          }
          if (signal.aborted) throw connectionFailed(options.brokers, last ?? signal.reason);
        }
      }
      setConnected();
      void keep();
    },

    async ready(signal) {
      signal.throwIfAborted();
      if (closing.signal.aborted) throw closedError();
      if (!connected) await abortable(up.promise, signal);
    },

    node,
    any,
    controller: (lane, signal) => (nodes.has(controllerId) ? node(controllerId, lane, signal) : any(lane, signal)),

    async coordinator(group, lane, signal) {
      for (let attempt = 1; ; attempt++) {
        const known = coordinators.get(group);
        if (known !== undefined && nodes.has(known)) return node(known, lane, signal);
        const asked = await any(controlLane, signal);
        const { error, node: id } = await abortable(asked.findCoordinator(group), signal);
        if (error === 0) {
          coordinators.set(group, id);
          if (!nodes.has(id)) learn(await abortable(asked.metadata([]), signal));
        } else if (
          error !== errorCodes.COORDINATOR_NOT_AVAILABLE &&
          error !== errorCodes.COORDINATOR_LOAD_IN_PROGRESS
        ) {
          throw kafkaError(error, `group ${JSON.stringify(group)}`);
        }
        if (error !== 0) await sleep(clock, backoffDelay(backoff, attempt, environment.random()), signal);
      }
    },
    forgetCoordinator: (group) => void coordinators.delete(group),
    closeLane: (lane) => closeWhere((entry) => entry.lane === lane),

    topics,
    leader(topic, partition) {
      const found = topicsKnown.get(topic)?.partitions[partition];
      return found === undefined || !hasLeader(found) ? undefined : found.leader;
    },

    close() {
      if (closing.signal.aborted) return;
      connected = false;
      closing.abort(closedError());
      outage.abort(closedError());
      up.reject(closedError());
      trouble.abort(closedError());
      closeWhere(() => true);
    },
  };
}

/** A topic in the making has an error of its own, or partitions without leaders. */
function usable(topic: TopicMetadata): boolean {
  return topic.error === 0 && topic.partitions.length > 0;
}

function hasLeader({ leader }: PartitionMetadata): boolean {
  return leader >= 0;
}

function splitEndpoint(address: string | undefined): [host: string | undefined, port: number] {
  if (address === undefined) return [undefined, 0];
  const colon = address.lastIndexOf(":");
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}
