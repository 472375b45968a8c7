/**
 * A connection to a broker over kafkajs's wire layer: its sockets, SASL and requests, but not its records.
 *
 * This is the only module that knows kafkajs.
 */
import net from "node:net";
import tls from "node:tls";
import type { PosthornError } from "@posthorn/core/transport";
import type { KafkajsLogger, KafkajsRequestDefinition, KafkajsSasl, KafkajsSaslAuthenticate } from "kafkajs/wire";
import Broker from "kafkajs/src/broker/index.js";
import Connection from "kafkajs/src/network/connection.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import apiKeys from "kafkajs/src/protocol/requests/apiKeys.js";
import definitions from "kafkajs/src/protocol/requests/index.js";
import type {
  BrokerConnection,
  ClusterMetadata,
  CommittedOffset,
  ConnectionSettings,
  Endpoint,
  FetchedPartition,
  FetchRequest,
  GroupSession,
  JoinAnswer,
  JoinRequest,
  NewTopic,
  OffsetCommit,
  OpenConnection,
  PartitionAnswer,
  ProduceRequest,
  TopicConfig,
  TopicPartition,
} from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { BatchCodecs } from "./compression.ts";
import { createCodecs } from "./compression.ts";
import { authenticationFailed } from "./errors.ts";
import { decodeFetchAnswer } from "./fetch-answer.ts";
import type { KafkaSasl, KafkaTokenLogin } from "./options.ts";
import { encodeRecordBatch } from "./record-batch.ts";

/** As {@link OpenConnection} says. */
export const openConnection: OpenConnection = async (endpoint, settings, onEnd, signal) => {
  signal.throwIfAborted();
  const connection = new KafkajsConnection(endpoint, settings, onEnd);
  const giveUp = (): void => connection.close();
  signal.addEventListener("abort", giveUp);
  try {
    await connection.connect();
    return connection;
  } catch (error) {
    connection.close();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
};

/** Everything that matters comes as an error; kafkajs's own log would go past the application's. */
const silent: KafkajsLogger = {
  info: () => undefined,
  error: () => undefined,
  warn: () => undefined,
  debug: () => undefined,
  namespace: () => silent,
};

/** Beyond what a request waits on the broker. */
const keepAliveMs = 60_000;

/** What of a request is not left to kafkajs. */
interface OwnWork<Answer> {
  /** How long the broker may wait before it answers, in milliseconds; default 0. */
  readonly waitsMs?: number;
  readonly body?: Encoder;
  readonly decode?: (payload: Buffer) => Promise<Answer>;
}

class KafkajsConnection implements BrokerConnection {
  readonly #endpoint: Endpoint;
  readonly #settings: ConnectionSettings;
  readonly #onEnd: (error: Error, idle: boolean) => void;
  readonly #connection: Connection;
  readonly #broker: Broker;
  readonly #codecs: BatchCodecs;
  #socket: net.Socket | undefined;
  #connected = false;
  #ended: Error | undefined;
  /** While it connects. */
  #failConnect: ((error: Error) => void) | undefined;

  constructor(endpoint: Endpoint, settings: ConnectionSettings, onEnd: (error: Error, idle: boolean) => void) {
    this.#endpoint = endpoint;
    this.#settings = settings;
    this.#onEnd = onEnd;
    this.#codecs = createCodecs(settings.codecs);
    const connection = new Connection({
      host: endpoint.host,
      port: endpoint.port,
      logger: silent,
      requestTimeout: settings.requestTimeoutMs,
      connectionTimeout: settings.connectTimeoutMs,
      ssl: settings.tls,
      sasl: kafkajsSasl(settings.sasl),
      clientId: settings.clientId,
      socketFactory: ({ onConnect }) => this.#openSocket(onConnect),
    });
    // It sets a timer into the past after every answer, of which Node.js warns (kafkajs issue 1751). Only what waits needs it.
    const { requestQueue } = connection;
    const schedule = requestQueue.scheduleCheckPendingRequests.bind(requestQueue);
    requestQueue.scheduleCheckPendingRequests = () => {
      if (requestQueue.pending.length > 0) schedule();
    };
    this.#connection = connection;
    this.#broker = new Broker({
      logger: silent,
      allowAutoTopicCreation: false,
      connectionPool: {
        host: endpoint.host,
        port: endpoint.port,
        connectionTimeout: connection.connectionTimeout,
        sasl: connection.sasl,
        isConnected: () => connection.isConnected(),
        isAuthenticated: () => connection.isAuthenticated(),
        getConnection: async () => {
          if (!connection.isConnected()) await connection.connect();
          return connection;
        },
        setVersions: (versions) => connection.setVersions(versions),
        setSupportAuthenticationProtocol: (isSupported) => connection.setSupportAuthenticationProtocol(isSupported),
        send: (protocol) => connection.send(protocol),
      },
    });
  }

  get open(): boolean {
    return this.#connected && this.#ended === undefined;
  }

  async connect(): Promise<void> {
    const closed = Promise.withResolvers<never>();
    this.#failConnect = closed.reject;
    try {
      await Promise.race([this.#broker.connect(), closed.promise]);
    } catch (error) {
      throw this.#connectError(error);
    } finally {
      this.#failConnect = undefined;
      // Nobody may be left to hear of it.
      closed.promise.catch(() => undefined);
    }
    this.#connected = true;
  }

  #connectError(error: unknown): Error | PosthornError {
    const { name, type } = error as { name?: unknown; type?: unknown };
    const text = error instanceof Error ? error.message : String(error);
    if (name === "KafkaJSSASLAuthenticationError" || type === "SASL_AUTHENTICATION_FAILED")
      return authenticationFailed(`${this.#endpoint.host}:${this.#endpoint.port}`, text);
    return new ConnectionFailure(`${this.#endpoint.host}:${this.#endpoint.port}: ${text}`, false, { cause: error });
  }

  #openSocket(onConnect: () => void): net.Socket {
    const { host, port } = this.#endpoint;
    const secure = this.#settings.tls !== undefined;
    const name = net.isIP(host) === 0 ? { servername: host } : {};
    const socket = secure
      ? tls.connect({ host, port, ...name, ...(this.#settings.tls as tls.ConnectionOptions) }, onConnect)
      : net.connect({ host, port }, onConnect);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    let reason: Error | undefined;
    socket.on("error", (error) => (reason = error));
    socket.on("close", () =>
      this.#end(new ConnectionFailure(`The connection to ${host}:${port} was closed.`, true, { cause: reason })),
    );
    this.#socket = socket;
    return socket;
  }

  /** What ends the connection is told once. */
  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    const wasOpen = this.#connected;
    const idle = error.cause === undefined && this.#connection.requestQueue.inflight.size === 0;
    this.#ended = error;
    this.#failConnect?.(error);
    this.#destroy();
    if (wasOpen) this.#onEnd(error, idle);
  }

  close(): void {
    if (this.#ended !== undefined) return;
    this.#ended = new ConnectionFailure("The connection was closed on this side.", true);
    this.#failConnect?.(this.#ended);
    this.#destroy();
  }

  #destroy(): void {
    this.#connection.rejectRequests(this.#ended ?? new ConnectionFailure("The connection was closed.", true));
    this.#connection.requestQueue.destroy();
    this.#socket?.destroy();
  }

  /** The answer as it was decoded: kafkajs's own reading of it makes one error of all partitions'. */
  async #request<Answer>(api: string, fields: object, own: OwnWork<Answer> = {}): Promise<Answer> {
    if (this.#ended !== undefined) throw new ConnectionFailure(this.#ended.message, false, { cause: this.#ended });
    const definition = definitions.requests[api] as unknown as KafkajsRequestDefinition<Answer>;
    const { request, response } = this.#broker.lookupRequest(apiKeys[api] ?? -1, definition)(fields);
    const { body, decode = response.decode, waitsMs = 0 } = own;
    try {
      return await this.#connection.send<Answer>({
        request: body === undefined ? request : { ...request, encode: async () => body },
        response: { decode, parse: async (decoded) => decoded },
        requestTimeout: this.#settings.requestTimeoutMs + waitsMs,
      });
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** A connection that leaves a request unanswered, or whose answer nobody can read, is worth no more requests. */
  #failure(error: unknown): Error {
    const { name } = error as { name?: unknown };
    if (this.#ended === undefined) {
      const text = error instanceof Error ? error.message : String(error);
      const what =
        name === "KafkaJSRequestTimeoutError"
          ? `The broker at ${this.#endpoint.host}:${this.#endpoint.port} did not answer within ${this.#settings.requestTimeoutMs} ms`
          : `A request to ${this.#endpoint.host}:${this.#endpoint.port} failed: ${text}`;
      this.#end(new ConnectionFailure(what, true, { cause: error }));
    }
    return this.#ended instanceof Error ? this.#ended : new ConnectionFailure("The connection was closed.", true);
  }

  async metadata(topics: readonly string[]): Promise<ClusterMetadata> {
    interface Answer {
      readonly brokers: readonly { nodeId: number; host: string; port: number }[];
      readonly controllerId: number;
      readonly topicMetadata: readonly {
        readonly topicErrorCode: number;
        readonly topic: string;
        readonly partitionMetadata: readonly {
          partitionErrorCode: number;
          partitionId: number;
          leader: number;
          replicas: readonly number[];
        }[];
      }[];
    }
    // No topics at all would ask for every one of the cluster.
    const asked = topics.length === 0 ? ["__consumer_offsets"] : topics;
    const answer = await this.#request<Answer>("Metadata", { topics: asked, allowAutoTopicCreation: false });
    return {
      nodes: answer.brokers.map(({ nodeId, host, port }) => ({ id: nodeId, host, port })),
      controller: answer.controllerId,
      topics: answer.topicMetadata.map(({ topic, topicErrorCode, partitionMetadata }) => ({
        name: topic,
        error: topicErrorCode,
        partitions: partitionMetadata
          .map(({ partitionId, partitionErrorCode, leader, replicas }) => ({
            partition: partitionId,
            error: partitionErrorCode,
            leader,
            replicas: replicas.length,
          }))
          .toSorted((a, b) => a.partition - b.partition),
      })),
    };
  }

  async initProducerId(): Promise<{ error: number; producerId: bigint; epoch: number }> {
    const answer = await this.#request<{ errorCode: number; producerId: string; producerEpoch: number }>(
      "InitProducerId",
      { transactionalId: null },
    );
    return { error: answer.errorCode, producerId: BigInt(answer.producerId), epoch: answer.producerEpoch };
  }

  async produce({
    batches,
    compression,
    timeoutMs,
    timestamp,
  }: ProduceRequest): Promise<(PartitionAnswer & { offset: bigint })[]> {
    const encoded = await Promise.all(
      batches.map(async (batch) => ({
        topic: batch.topic,
        partition: batch.partition,
        records: await encodeRecordBatch(batch, compression, timestamp, this.#codecs),
      })),
    );
    const body = encodeProduce(byTopic(encoded), timeoutMs);
    const answer = await this.#request<{
      topics: readonly {
        topicName: string;
        partitions: readonly { partition: number; errorCode: number; baseOffset: string }[];
      }[];
    }>("Produce", { acks, timeout: timeoutMs, topicData: [] }, { waitsMs: timeoutMs, body });
    return answer.topics.flatMap(({ topicName, partitions }) =>
      partitions.map(({ partition, errorCode, baseOffset }) => ({
        topic: topicName,
        partition,
        error: errorCode,
        offset: BigInt(baseOffset),
      })),
    );
  }

  async fetch({ partitions, maxBytes, maxWaitMs }: FetchRequest): Promise<FetchedPartition[]> {
    return this.#request<FetchedPartition[]>(
      "Fetch",
      {
        replicaId: -1,
        maxWaitTime: maxWaitMs,
        minBytes: 1,
        maxBytes,
        topics: byTopic(partitions).map(([topic, each]) => ({
          topic,
          partitions: each.map(({ partition, offset, maxBytes }) => ({ partition, fetchOffset: offset, maxBytes })),
        })),
      },
      { waitsMs: maxWaitMs, decode: (payload) => decodeFetchAnswer(payload, partitions, this.#codecs) },
    );
  }

  async listOffsets(
    partitions: readonly (TopicPartition & { readonly time: number })[],
  ): Promise<(PartitionAnswer & { offset: bigint })[]> {
    const answer = await this.#request<{
      responses: readonly {
        topic: string;
        partitions: readonly { partition: number; errorCode: number; offset: string }[];
      }[];
    }>("ListOffsets", {
      topics: byTopic(partitions).map(([topic, each]) => ({
        topic,
        partitions: each.map(({ partition, time }) => ({ partition, timestamp: time })),
      })),
    });
    return answer.responses.flatMap(({ topic, partitions: each }) =>
      each.map(({ partition, errorCode, offset }) => ({ topic, partition, error: errorCode, offset: BigInt(offset) })),
    );
  }

  async findCoordinator(group: string): Promise<{ error: number; node: number }> {
    const answer = await this.#request<{ errorCode: number; coordinator: { nodeId: number } }>("GroupCoordinator", {
      groupId: group,
    });
    return { error: answer.errorCode, node: answer.coordinator.nodeId };
  }

  async joinGroup(request: JoinRequest): Promise<JoinAnswer> {
    const answer = await this.#request<{
      errorCode: number;
      generationId: number;
      leaderId: string;
      memberId: string;
      members: readonly { memberId: string; memberMetadata: Uint8Array }[];
    }>(
      "JoinGroup",
      {
        groupId: request.group,
        sessionTimeout: request.sessionTimeoutMs,
        rebalanceTimeout: request.rebalanceTimeoutMs,
        memberId: request.memberId,
        protocolType: "consumer",
        groupProtocols: [{ name: request.protocol, metadata: asBuffer(request.metadata) }],
      },
      { waitsMs: request.rebalanceTimeoutMs },
    );
    return {
      error: answer.errorCode,
      generation: answer.generationId,
      leader: answer.leaderId,
      memberId: answer.memberId,
      members: answer.members.map(({ memberId, memberMetadata }) => ({ id: memberId, metadata: memberMetadata })),
    };
  }

  async syncGroup(
    session: GroupSession,
    assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[],
  ): Promise<{ error: number; assignment: Uint8Array }> {
    const answer = await this.#request<{ errorCode: number; memberAssignment: Uint8Array | null }>("SyncGroup", {
      groupId: session.group,
      generationId: session.generation,
      memberId: session.memberId,
      groupAssignment: assignments.map(({ memberId, assignment }) => ({
        memberId,
        memberAssignment: asBuffer(assignment),
      })),
    });
    return { error: answer.errorCode, assignment: answer.memberAssignment ?? new Uint8Array() };
  }

  async heartbeat(session: GroupSession): Promise<number> {
    const { errorCode } = await this.#request<{ errorCode: number }>("Heartbeat", kafkajsSession(session));
    return errorCode;
  }

  async leaveGroup(session: GroupSession): Promise<number> {
    const { errorCode } = await this.#request<{ errorCode: number }>("LeaveGroup", kafkajsSession(session));
    return errorCode;
  }

  async commitOffsets(session: GroupSession, offsets: readonly OffsetCommit[]): Promise<PartitionAnswer[]> {
    const answer = await this.#request<{
      responses: readonly { topic: string; partitions: readonly { partition: number; errorCode: number }[] }[];
    }>("OffsetCommit", {
      ...kafkajsSession(session),
      topics: byTopic(offsets).map(([topic, each]) => ({
        topic,
        partitions: each.map(({ partition, offset, metadata }) => ({ partition, offset, metadata })),
      })),
    });
    return answer.responses.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, errorCode }) => ({ topic, partition, error: errorCode })),
    );
  }

  async committedOffsets(group: string, partitions: readonly TopicPartition[]): Promise<CommittedOffset[]> {
    const answer = await this.#request<{
      errorCode?: number;
      responses: readonly {
        topic: string;
        partitions: readonly { partition: number; errorCode: number; offset: string; metadata: string | null }[];
      }[];
    }>("OffsetFetch", {
      groupId: group,
      topics: byTopic(partitions).map(([topic, each]) => ({
        topic,
        partitions: each.map(({ partition }) => ({ partition })),
      })),
    });
    // An error of the whole answer comes without partitions.
    if (answer.errorCode !== undefined && answer.errorCode !== 0) {
      const error = answer.errorCode;
      return partitions.map(({ topic, partition }) => ({ topic, partition, error, offset: -1n, metadata: "" }));
    }
    return answer.responses.flatMap(({ topic, partitions: each }) =>
      each.map(({ partition, errorCode, offset, metadata }) => ({
        topic,
        partition,
        error: errorCode,
        offset: BigInt(offset),
        metadata: metadata ?? "",
      })),
    );
  }

  async createTopics(
    topics: readonly NewTopic[],
    timeoutMs: number,
  ): Promise<{ topic: string; error: number; message: string }[]> {
    const answer = await this.#request<{
      topicErrors: readonly { topic: string; errorCode: number; errorMessage?: string | null }[];
    }>(
      "CreateTopics",
      {
        timeout: timeoutMs,
        topics: topics.map(({ name, partitions, replicationFactor, config }) => ({
          topic: name,
          numPartitions: partitions,
          replicationFactor,
          configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
        })),
      },
      { waitsMs: timeoutMs },
    );
    return answer.topicErrors.map(({ topic, errorCode, errorMessage }) => ({
      topic,
      error: errorCode,
      message: errorMessage ?? "",
    }));
  }

  async topicConfigs(topics: readonly string[]): Promise<TopicConfig[]> {
    const topicResource = 2;
    const answer = await this.#request<{
      resources: readonly {
        errorCode: number;
        resourceName: string;
        configEntries: readonly { configName: string; configValue: string | null }[];
      }[];
    }>("DescribeConfigs", { resources: topics.map((name) => ({ type: topicResource, name })) });
    return answer.resources.map(({ resourceName, errorCode, configEntries }) => ({
      topic: resourceName,
      error: errorCode,
      config: Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue ?? ""])),
    }));
  }

  async deleteRecords(
    partitions: readonly (TopicPartition & { readonly offset: bigint })[],
  ): Promise<PartitionAnswer[]> {
    const answer = await this.#request<{
      topics: readonly { topic: string; partitions: readonly { partition: number; errorCode: number }[] }[];
    }>("DeleteRecords", {
      topics: byTopic(partitions).map(([topic, each]) => ({
        topic,
        partitions: each.map(({ partition, offset }) => ({ partition, offset })),
      })),
    });
    return answer.topics.flatMap(({ topic, partitions: each }) =>
      each.map(({ partition, errorCode }) => ({ topic, partition, error: errorCode })),
    );
  }
}

/** Grouped as requests want it, in the order of first mention. */
function byTopic<Item extends TopicPartition>(items: readonly Item[]): [topic: string, items: Item[]][] {
  return [...Map.groupBy(items, ({ topic }) => topic)];
}

function asBuffer(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** From all replicas that are in sync. */
const acks = -1;

/** The body of a produce request, version 3 to 8. */
function encodeProduce(
  topics: readonly [topic: string, batches: readonly { readonly partition: number; readonly records: Buffer }[]][],
  timeoutMs: number,
): Encoder {
  let bytes = 16;
  for (const [topic, batches] of topics) {
    bytes += 6 + Buffer.byteLength(topic);
    for (const { records } of batches) bytes += 8 + records.length;
  }
  // No transaction.
  const encoder = new Encoder(bytes).writeString(null).writeInt16(acks).writeInt32(timeoutMs).writeInt32(topics.length);
  for (const [topic, batches] of topics) {
    encoder.writeString(topic).writeInt32(batches.length);
    for (const { partition, records } of batches) encoder.writeInt32(partition).writeBytes(records);
  }
  return encoder;
}

function kafkajsSession({ group, generation, memberId }: GroupSession): object {
  return { groupId: group, groupGenerationId: generation, memberId };
}

function kafkajsSasl(sasl: KafkaSasl | undefined): KafkajsSasl | undefined {
  if (sasl === undefined) return undefined;
  if (sasl.mechanism !== "oauthbearer")
    return { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password };
  return {
    mechanism: "oauthbearer",
    authenticationProvider: ({ saslAuthenticate }) => ({ authenticate: () => login(sasl, saslAuthenticate) }),
  };
}

/** What stands between the parts of a token's message. Source: RFC 7628, section 3.1. */
const separator = "\u0001";

/**
 * kafkajs's own does not look at the answer: to a token that it refuses the broker says so with a challenge, and no error.
 *
 * Source: RFC 7628, section 3.2.2.
 */
async function login({ token }: KafkaTokenLogin, saslAuthenticate: KafkajsSaslAuthenticate): Promise<void> {
  const message = Buffer.from(`n,,${separator}auth=Bearer ${await token()}${separator}${separator}`);
  // Either way the length goes first, in four bytes.
  const length = Buffer.alloc(4);
  length.writeInt32BE(message.length);
  const challenge = await saslAuthenticate({
    request: { encode: async () => Buffer.concat([length, message]) },
    response: { decode: async (answer) => answer.toString("utf8", length.length), parse: async (text) => text },
  });
  if (challenge !== "") throw new RefusedToken(`The token was refused: ${challenge}`);
}

class RefusedToken extends Error {
  override readonly name = "KafkaJSSASLAuthenticationError";
}
