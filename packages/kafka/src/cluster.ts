/**
 * The brokers of one cluster: who leads what, who can be asked, and whether the way to them works.
 *
 * A broker that ends a connection, or takes none, is **silent**: its connections are ended, and the others are asked who leads
 * what it led. That is no **outage** as long as one of them answers.
 */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type {
  BrokerConnection,
  ClusterMetadata,
  ConnectionSettings,
  Endpoint,
  OpenConnection,
  TopicMetadata,
} from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import {
  closedError,
  connectionFailed,
  errorClass,
  errorCodes,
  isAuthenticationFailure,
  kafkaError,
} from "./errors.ts";
import { openConnection } from "./kafkajs-connection.ts";
import { addressOf, createLanes } from "./lanes.ts";
import { createRoster } from "./roster.ts";

export interface ClusterOptions extends ConnectionSettings {
  readonly brokers: readonly Endpoint[];
  readonly environment: TransportEnvironment;
  /** So often topics are asked for anew, in milliseconds. */
  readonly metadataMaxAgeMs: number;
  /** By default over kafkajs. */
  readonly openConnection?: OpenConnection;
  readonly onConnected: () => void;
  /** Once for an outage: no broker answers. */
  readonly onDisconnected: (error: Error) => void;
  /** The credentials that were good once are refused. It goes on trying. */
  readonly onRefused: (error: unknown) => void;
}

export interface Cluster {
  readonly connected: boolean;
  readonly closed: boolean;
  /** How many brokers there are. */
  readonly size: number;
  /** Fires when no broker answers any more, or it is closed. A new one afterwards. */
  readonly outage: AbortSignal;

  /** @throws AUTHENTICATION_FAILED at once; CONNECTION_FAILED when the signal fires first */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves as soon as some broker answers: not every one does. @throws CLOSED; the signal's reason */
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
   * What is known of topics, asked for where it is not, or with `fresh`. Topics that do not exist are not in the result; those that
   * have no leaders yet are waited for.
   *
   * @throws ConnectionFailure
   */
  topics(names: Iterable<string>, signal: AbortSignal, fresh?: boolean): Promise<ReadonlyMap<string, TopicMetadata>>;
  /** From what is known; `undefined` when it must be asked for. */
  leader(topic: string, partition: number): number | undefined;

  close(): void;
}

/** What a silent broker did. */
interface Trouble {
  readonly address: string;
  readonly error: Error;
}

const backoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.5 } as const;
const controlLane = "control";
/** So often it is asked who leads instead of a broker that is gone: half a minute, some partitions have no other replica. */
const settlingRounds = 30;

/** Two rounds of it tell a silent way. */
function pingInterval(settings: ConnectionSettings): number {
  return Math.min(settings.requestTimeoutMs / 2, 5_000);
}

export function createCluster(options: ClusterOptions): Cluster {
  const { environment } = options;
  const { clock } = environment;
  const closing = new AbortController();
  const roster = createRoster(options.brokers);
  let controllerId = -1;
  const topicsKnown = new Map<string, TopicMetadata>();
  const coordinators = new Map<string, number>();
  let connected = false;
  let up = Promise.withResolvers<void>();
  up.promise.catch(() => undefined);
  let outage = new AbortController();
  /** Fires with {@link Trouble}. */
  let trouble = new AbortController();
  /** When everything that is known was asked for last. */
  let refreshedAt = environment.clock.monotonic();

  const lanes = createLanes({
    settings: options,
    clock,
    openConnection: options.openConnection ?? openConnection,
    closing: closing.signal,
    onOpened: (address) => roster.setSound(address),
    onNotOpened(address, lane, error) {
      if (!(error instanceof ConnectionFailure)) return;
      const isNew = !roster.isSilent(address);
      setSilent(address);
      if (isNew && roster.size > 1 && lane !== controlLane) trouble.abort({ address, error } satisfies Trouble);
    },
    onEnded(address, lane, error, idle) {
      if (idle && lane !== controlLane) return;
      // What broke one connection to a broker has mostly broken the others, too, which only do not know it yet.
      lanes.closeWhere((other) => other === address);
      setSilent(address);
      trouble.abort({ address, error } satisfies Trouble);
    },
  });

  function setSilent(address: string): void {
    roster.setSilent(address);
    for (const [group, id] of coordinators) {
      if (!roster.answers(id)) coordinators.delete(group);
    }
  }

  function learn(answer: ClusterMetadata): void {
    if (answer.nodes.length > 0) {
      const gone = roster.learn(answer.nodes);
      // The cluster has given them up: nobody waits for their answers any longer.
      if (gone.size > 0) lanes.closeWhere((address, lane) => gone.has(address) && lane !== controlLane);
    }
    controllerId = answer.controller;
    for (const topic of answer.topics) {
      if (topic.error === 0 && topic.partitions.length > 0) topicsKnown.set(topic.name, topic);
      else if (!isElecting(topic)) topicsKnown.delete(topic.name);
    }
  }

  /** Asks any broker, or any but one; each is tried before it fails. */
  async function control(names: readonly string[] = [], except?: string): Promise<void> {
    let last: unknown = new ConnectionFailure("No broker is known.", false);
    for (const endpoint of roster.inTurn()) {
      const address = addressOf(endpoint);
      if (address === except) continue;
      try {
        const connection = await lanes.open(endpoint, controlLane, closing.signal);
        const answer = await connection.metadata(names);
        if (answer.nodes.length === 0) throw new ConnectionFailure(`${address} knows no brokers.`, true);
        roster.setAnswered(address);
        learn(answer);
        return;
      } catch (error) {
        if (closing.signal.aborted || isAuthenticationFailure(error)) throw error;
        lanes.closeWhere((other, lane) => other === address && lane === controlLane);
        setSilent(address);
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
      lanes.closeWhere((_, lane) => lane === controlLane);
      await reconnect();
    }
  }

  /** Resolves with what broke the way, when no broker answers any more. */
  async function watch(): Promise<Error> {
    let rounds = 0;
    for (;;) {
      rounds = isSettled() ? 0 : rounds + 1;
      const settling = rounds > 0 && rounds <= settlingRounds;
      const restMs = settling ? backoffDelay(backoff, rounds, environment.random()) : pingInterval(options);
      await sleep(clock, restMs, trouble.signal).catch(() => undefined);
      if (closing.signal.aborted) return closedError();
      const struck = trouble.signal.aborted ? (trouble.signal.reason as Trouble) : undefined;
      if (struck !== undefined) {
        // The address may be another one's by which the only broker is known.
        if (roster.size <= 1) return struck.error;
        trouble = new AbortController();
        rounds = 0;
      }
      // Partitions may have been added, which nobody is told.
      const due = struck !== undefined || settling || clock.monotonic() - refreshedAt >= options.metadataMaxAgeMs;
      if (due) refreshedAt = clock.monotonic();
      try {
        await abortable(control(due ? [...topicsKnown.keys()] : [], struck?.address), trouble.signal);
      } catch (error) {
        // Then the next round looks at it.
        if (trouble.signal.aborted) continue;
        return struck?.error ?? (error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  /** Whether every partition is led by somebody who answers. */
  function isSettled(): boolean {
    return [...topicsKnown.values()].every(({ partitions }) =>
      partitions.every(({ leader }) => roster.answers(leader)),
    );
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
        await pause(attempt, closing.signal).catch(() => undefined);
      }
    }
  }

  async function topics(
    names: Iterable<string>,
    signal: AbortSignal,
    fresh = false,
  ): Promise<ReadonlyMap<string, TopicMetadata>> {
    const asked = new Set(names);
    let unknown = fresh ? [...asked] : [...asked].filter((name) => !topicsKnown.has(name));
    for (let attempt = 1; unknown.length > 0; attempt++) {
      const answer = await ask((connection) => connection.metadata(unknown), signal);
      learn(answer);
      for (const { name, error } of answer.topics)
        if (error === errorCodes.TOPIC_AUTHORIZATION_FAILED) throw kafkaError(error, `topic ${JSON.stringify(name)}`);
      unknown = answer.topics.filter(isElecting).map(({ name }) => name);
      if (unknown.length > 0) await pause(attempt, signal);
    }
    const found = new Map<string, TopicMetadata>();
    for (const name of asked) {
      const topic = topicsKnown.get(name);
      if (topic !== undefined) found.set(name, topic);
    }
    return found;
  }

  function pause(attempt: number, signal: AbortSignal): Promise<void> {
    return sleep(clock, backoffDelay(backoff, attempt, environment.random()), signal);
  }

  /** Each broker is asked before it fails. */
  async function ask<Answer>(
    question: (connection: BrokerConnection) => Promise<Answer>,
    signal: AbortSignal,
  ): Promise<Answer> {
    for (let left = roster.size; ; left--) {
      try {
        const connection = await any(controlLane, signal);
        return await abortable(question(connection), signal);
      } catch (error) {
        if (left <= 1 || !(error instanceof ConnectionFailure)) throw error;
      }
    }
  }

  async function any(lane: string, signal: AbortSignal): Promise<BrokerConnection> {
    const [endpoint] = roster.inTurn();
    if (endpoint === undefined) throw new ConnectionFailure("No broker is known.", false);
    return lanes.open(endpoint, lane, signal);
  }

  async function node(id: number, lane: string, signal: AbortSignal): Promise<BrokerConnection> {
    const endpoint = roster.endpoint(id);
    if (endpoint === undefined) throw new ConnectionFailure(`The broker ${id} is not known.`, false);
    return lanes.open(endpoint, lane, signal);
  }

  return {
    get connected() {
      return connected;
    },
    get closed() {
      return closing.signal.aborted;
    },
    get size() {
      return roster.size;
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
            await pause(attempt, signal).catch(() => undefined);
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
    controller: (lane, signal) => (roster.answers(controllerId) ? node(controllerId, lane, signal) : any(lane, signal)),

    async coordinator(group, lane, signal) {
      for (let attempt = 1; ; attempt++) {
        const known = coordinators.get(group);
        if (known !== undefined && roster.endpoint(known) !== undefined) return node(known, lane, signal);
        if (attempt > 1) await pause(attempt - 1, signal);
        const { error, node: id } = await ask((connection) => connection.findCoordinator(group), signal);
        if (error === 0) {
          if (roster.endpoint(id) === undefined) learn(await ask((connection) => connection.metadata([]), signal));
          coordinators.set(group, id);
        } else if (
          error !== errorCodes.COORDINATOR_NOT_AVAILABLE &&
          error !== errorCodes.COORDINATOR_LOAD_IN_PROGRESS
        ) {
          throw kafkaError(error, `group ${JSON.stringify(group)}`);
        }
      }
    },
    forgetCoordinator: (group) => void coordinators.delete(group),
    closeLane: (lane) => lanes.closeWhere((_, other) => other === lane),

    topics,
    leader(topic, partition) {
      const id = topicsKnown.get(topic)?.partitions[partition]?.leader ?? -1;
      return id < 0 ? undefined : id;
    },

    close() {
      if (closing.signal.aborted) return;
      connected = false;
      closing.abort(closedError());
      outage.abort(closedError());
      up.reject(closedError());
      trouble.abort();
      lanes.closeWhere(() => true);
    },
  };
}

/** It will have leaders soon: whoever asks again hears of them. */
function isElecting({ error }: TopicMetadata): boolean {
  return errorClass(error) === "retriable";
}
