/**
 * One connection to one broker, in Kafka's own terms: requests and answers, one error code for each partition.
 *
 * This is the only module that knows kafkajs. It uses kafkajs's wire layer (sockets, SASL, the encoding of requests); a client
 * of another make takes its place by implementing {@link BrokerConnection} and {@link openConnection}.
 */
import net from "node:net";
import tls from "node:tls";
import type { PosthornError } from "@posthorn/core/transport";
import type { KafkajsLogger, KafkajsProtocol, KafkajsRequestDefinition, KafkajsSasl } from "kafkajs-wire";
import Broker from "kafkajs/src/broker/index.js";
import Connection from "kafkajs/src/network/connection.js";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import decodeRecordBatch from "kafkajs/src/protocol/recordBatch/v0/decoder.js";
import apiKeys from "kafkajs/src/protocol/requests/apiKeys.js";
import definitions from "kafkajs/src/protocol/requests/index.js";
import type { Compression } from "./compression.ts";
import { authenticationFailed } from "./errors.ts";
import type { KafkaSasl, KafkaTlsOptions } from "./options.ts";
import type { RecordBatch } from "./record-batch.ts";
import { encodeRecordBatch } from "./record-batch.ts";
import type { FetchedRecord } from "./records.ts";

/** How every connection of a transport is made. */
export interface ConnectionSettings {
  readonly clientId: string;
  readonly tls: KafkaTlsOptions | undefined;
  readonly sasl: KafkaSasl | undefined;
  readonly connectTimeoutMs: number;
  /** A request that is not answered for so long ends the connection. What may wait on the broker has its wait added. */
  readonly requestTimeoutMs: number;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** The connection ended, or never came about. */
export class ConnectionFailure extends Error {
  /** Whether the request may have reached the broker. */
  readonly sent: boolean;

  constructor(message: string, sent: boolean, options?: ErrorOptions) {
    super(message, options);
    this.name = "ConnectionFailure";
    this.sent = sent;
  }
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** What was answered for one partition. `error` is the protocol's code, 0 for none. */
export interface PartitionAnswer extends TopicPartition {
  readonly error: number;
}

export interface ClusterMetadata {
  readonly nodes: readonly (Endpoint & { readonly id: number })[];
  readonly controller: number;
  readonly topics: readonly TopicMetadata[];
}

export interface TopicMetadata {
  readonly name: string;
  readonly error: number;
  /** By partition number. */
  readonly partitions: readonly PartitionMetadata[];
}

export interface PartitionMetadata {
  readonly error: number;
  readonly partition: number;
  /** -1 when there is none at present. */
  readonly leader: number;
  readonly replicas: number;
}

export interface ProduceRequest {
  /** How long the broker waits for its replicas, in milliseconds. */
  readonly timeoutMs: number;
  readonly compression: Compression;
  /** At most one for each partition. */
  readonly batches: readonly ProduceBatch[];
}

export interface ProduceBatch extends TopicPartition, RecordBatch {}

export interface FetchRequest {
  /** How long the broker waits when nothing is there, in milliseconds. */
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly partitions: readonly (TopicPartition & { readonly offset: bigint; readonly maxBytes: number })[];
}

export interface FetchedPartition extends PartitionAnswer {
  readonly highWatermark: bigint;
  readonly logStart: bigint;
  /** From the asked offset on; without control records and what belongs to aborted transactions. */
  readonly records: readonly FetchedRecord[];
  /** Where to go on: behind everything that was read, also what is no record for us. */
  readonly next: bigint;
  /** Why the records at `next` could not be read: their codec is missing, or they are damaged. */
  readonly undecodable: Error | undefined;
}

export interface GroupMember {
  readonly id: string;
  readonly metadata: Uint8Array;
}

export interface JoinRequest {
  readonly group: string;
  /** Empty at first; the answer names one. */
  readonly memberId: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocol: string;
  readonly metadata: Uint8Array;
}

export interface JoinAnswer {
  readonly error: number;
  readonly generation: number;
  readonly leader: string;
  readonly memberId: string;
  /** Told to the leader only. */
  readonly members: readonly GroupMember[];
}

export interface GroupSession {
  readonly group: string;
  /** -1 with an empty member id: somebody who is no member. */
  readonly generation: number;
  readonly memberId: string;
}

export interface OffsetCommit extends TopicPartition {
  readonly offset: bigint;
  readonly metadata: string;
}

export interface CommittedOffset extends PartitionAnswer {
  /** -1 when nothing is committed. */
  readonly offset: bigint;
  readonly metadata: string;
}

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

export interface TopicConfig {
  readonly topic: string;
  readonly error: number;
  readonly config: Readonly<Record<string, string>>;
}

/** In `listOffsets`, instead of a time. */
export const logEnd = -1;
export const logStart = -2;

/** Every call rejects with {@link ConnectionFailure} when the connection ends before its answer; then all later calls do. */
export interface BrokerConnection {
  readonly open: boolean;
  /** With an empty list only the brokers are told. */
  metadata(topics: readonly string[]): Promise<ClusterMetadata>;
  initProducerId(): Promise<{ readonly error: number; readonly producerId: bigint; readonly epoch: number }>;
  produce(request: ProduceRequest): Promise<readonly (PartitionAnswer & { readonly offset: bigint })[]>;
  fetch(request: FetchRequest): Promise<readonly FetchedPartition[]>;
  /** `time` in milliseconds since the Unix epoch: the first offset appended then or later; or {@link logEnd}, {@link logStart}. */
  listOffsets(
    partitions: readonly (TopicPartition & { readonly time: number })[],
  ): Promise<readonly (PartitionAnswer & { readonly offset: bigint })[]>;
  findCoordinator(group: string): Promise<{ readonly error: number; readonly node: number }>;
  joinGroup(request: JoinRequest): Promise<JoinAnswer>;
  syncGroup(
    session: GroupSession,
    assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[],
  ): Promise<{ readonly error: number; readonly assignment: Uint8Array }>;
  heartbeat(session: GroupSession): Promise<number>;
  leaveGroup(session: GroupSession): Promise<number>;
  commitOffsets(session: GroupSession, offsets: readonly OffsetCommit[]): Promise<readonly PartitionAnswer[]>;
  committedOffsets(group: string, partitions: readonly TopicPartition[]): Promise<readonly CommittedOffset[]>;
  createTopics(
    topics: readonly NewTopic[],
    timeoutMs: number,
  ): Promise<readonly { readonly topic: string; readonly error: number; readonly message: string }[]>;
  topicConfigs(topics: readonly string[]): Promise<readonly TopicConfig[]>;
  /** Removes what lies before the offsets. */
  deleteRecords(partitions: readonly (TopicPartition & { readonly offset: bigint })[]): Promise<readonly PartitionAnswer[]>;
  /** At once: what is unanswered rejects. `onEnd` is not called. */
  close(): void;
}

/**
 * Connects and authenticates.
 *
 * @param onEnd called once when the connection ends otherwise than by `close`; `idle` when the broker closed in good order what
 * nobody was using, as it does after ten minutes
 * @throws ConnectionFailure, AUTHENTICATION_FAILED; the signal's reason when it fires first
 */
export async function openConnection(
  endpoint: Endpoint,
  settings: ConnectionSettings,
  onEnd: (error: Error, idle: boolean) => void,
  signal: AbortSignal,
): Promise<BrokerConnection> {
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
}

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

class KafkajsConnection implements BrokerConnection {
  readonly #endpoint: Endpoint;
  readonly #settings: ConnectionSettings;
  readonly #onEnd: (error: Error, idle: boolean) => void;
  readonly #connection: Connection;
  readonly #broker: Broker;
  #socket: net.Socket | undefined;
  #connected = false;
  #ended: Error | undefined;

  constructor(endpoint: Endpoint, settings: ConnectionSettings, onEnd: (error: Error, idle: boolean) => void) {
    this.#endpoint = endpoint;
    this.#settings = settings;
    this.#onEnd = onEnd;
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

  #failConnect: ((error: Error) => void) | undefined;

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
    socket.on("close", () => this.#end(new ConnectionFailure(`The connection to ${host}:${port} was closed.`, true, { cause: reason })));
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
  async #request<Fields, Answer>(api: string, fields: Fields, waitsMs = 0, body?: Encoder): Promise<Answer> {
    if (this.#ended !== undefined) throw new ConnectionFailure(this.#ended.message, false, { cause: this.#ended });
    const definition = definitions.requests[api] as unknown as KafkajsRequestDefinition<Fields, Answer>;
    const protocol = this.#broker.lookupRequest(apiKeys[api] ?? -1, definition)(fields);
    const request = body === undefined ? protocol.request : { ...protocol.request, encode: async () => body };
    return this.#send({ ...protocol, request, requestTimeout: this.#settings.requestTimeoutMs + waitsMs });
  }

  async #send<Answer>(protocol: KafkajsProtocol<Answer>): Promise<Answer> {
    const { request, response, requestTimeout } = protocol;
    try {
      return await this.#connection.send({
        request,
        response: { decode: response.decode, parse: async (decoded) => decoded },
        ...(requestTimeout === undefined ? {} : { requestTimeout }),
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
    const answer = await this.#request<object, Answer>("Metadata", { topics: asked, allowAutoTopicCreation: false });
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
    const answer = await this.#request<object, { errorCode: number; producerId: string; producerEpoch: number }>(
      "InitProducerId",
      { transactionalId: null },
    );
    return { error: answer.errorCode, producerId: BigInt(answer.producerId), epoch: answer.producerEpoch };
  }

  async produce({ batches, compression, timeoutMs }: ProduceRequest): Promise<(PartitionAnswer & { offset: bigint })[]> {
    const timestamp = Date.now();
    const encoded = await Promise.all(
      batches.map(async (batch) => ({
        topic: batch.topic,
        partition: batch.partition,
        records: await encodeRecordBatch(batch, compression, timestamp),
      })),
    );
    const body = encodeProduce(byTopic(encoded), timeoutMs);
    const answer = await this.#request<
      object,
      { topics: readonly { topicName: string; partitions: readonly { partition: number; errorCode: number; baseOffset: string }[] }[] }
    >("Produce", { acks, timeout: timeoutMs, topicData: [] }, timeoutMs, body);
    return answer.topics.flatMap(({ topicName, partitions }) =>
      partitions.map(({ partition, errorCode, baseOffset }) => ({
        topic: topicName,
        partition,
        error: errorCode,
        offset: BigInt(baseOffset),
      })),
    );
  }

  async fetch(request: FetchRequest): Promise<FetchedPartition[]> {
    const definition = definitions.requests["Fetch"] as unknown as KafkajsRequestDefinition<object, FetchedPartition[]>;
    const asked = new Map(request.partitions.map((each) => [`${each.topic} ${each.partition}`, each.offset]));
    const protocol = this.#broker.lookupRequest(
      apiKeys["Fetch"] ?? -1,
      definition,
    )({
      replicaId: -1,
      maxWaitTime: request.maxWaitMs,
      minBytes: 1,
      maxBytes: request.maxBytes,
      topics: byTopic(request.partitions).map(([topic, partitions]) => ({
        topic,
        partitions: partitions.map(({ partition, offset, maxBytes }) => ({ partition, fetchOffset: offset, maxBytes })),
      })),
    });
    return this.#send({
      request: protocol.request,
      response: { decode: (payload) => decodeFetch(payload, asked), parse: protocol.response.parse },
      requestTimeout: this.#settings.requestTimeoutMs + request.maxWaitMs,
    });
  }

  async listOffsets(
    partitions: readonly (TopicPartition & { readonly time: number })[],
  ): Promise<(PartitionAnswer & { offset: bigint })[]> {
    const answer = await this.#request<
      object,
      { responses: readonly { topic: string; partitions: readonly { partition: number; errorCode: number; offset: string }[] }[] }
    >("ListOffsets", {
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
    const answer = await this.#request<object, { errorCode: number; coordinator: { nodeId: number } }>("GroupCoordinator", {
      groupId: group,
    });
    return { error: answer.errorCode, node: answer.coordinator.nodeId };
  }

  async joinGroup(request: JoinRequest): Promise<JoinAnswer> {
    const answer = await this.#request<
      object,
      {
        errorCode: number;
        generationId: number;
        leaderId: string;
        memberId: string;
        members: readonly { memberId: string; memberMetadata: Uint8Array }[];
      }
    >(
      "JoinGroup",
      {
        groupId: request.group,
        sessionTimeout: request.sessionTimeoutMs,
        rebalanceTimeout: request.rebalanceTimeoutMs,
        memberId: request.memberId,
        protocolType: "consumer",
        groupProtocols: [{ name: request.protocol, metadata: asBuffer(request.metadata) }],
      },
      request.rebalanceTimeoutMs,
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
    const answer = await this.#request<object, { errorCode: number; memberAssignment: Uint8Array | null }>("SyncGroup", {
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
    const { errorCode } = await this.#request<object, { errorCode: number }>("Heartbeat", kafkajsSession(session));
    return errorCode;
  }

  async leaveGroup(session: GroupSession): Promise<number> {
    const { errorCode } = await this.#request<object, { errorCode: number }>("LeaveGroup", kafkajsSession(session));
    return errorCode;
  }

  async commitOffsets(session: GroupSession, offsets: readonly OffsetCommit[]): Promise<PartitionAnswer[]> {
    const answer = await this.#request<
      object,
      { responses: readonly { topic: string; partitions: readonly { partition: number; errorCode: number }[] }[] }
    >("OffsetCommit", {
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
    const answer = await this.#request<
      object,
      {
        errorCode?: number;
        responses: readonly {
          topic: string;
          partitions: readonly { partition: number; errorCode: number; offset: string; metadata: string | null }[];
        }[];
      }
    >("OffsetFetch", {
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
    const answer = await this.#request<
      object,
      { topicErrors: readonly { topic: string; errorCode: number; errorMessage?: string | null }[] }
    >(
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
      timeoutMs,
    );
    return answer.topicErrors.map(({ topic, errorCode, errorMessage }) => ({
      topic,
      error: errorCode,
      message: errorMessage ?? "",
    }));
  }

  async topicConfigs(topics: readonly string[]): Promise<TopicConfig[]> {
    const topicResource = 2;
    const answer = await this.#request<
      object,
      {
        resources: readonly {
          errorCode: number;
          resourceName: string;
          configEntries: readonly { configName: string; configValue: string | null }[];
        }[];
      }
    >("DescribeConfigs", { resources: topics.map((name) => ({ type: topicResource, name })) });
    return answer.resources.map(({ resourceName, errorCode, configEntries }) => ({
      topic: resourceName,
      error: errorCode,
      config: Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue ?? ""])),
    }));
  }

  async deleteRecords(
    partitions: readonly (TopicPartition & { readonly offset: bigint })[],
  ): Promise<PartitionAnswer[]> {
    const answer = await this.#request<
      object,
      { topics: readonly { topic: string; partitions: readonly { partition: number; errorCode: number }[] }[] }
    >("DeleteRecords", {
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

type HeaderValue = Buffer | null;

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
  return { mechanism: "oauthbearer", oauthBearerProvider: async () => ({ value: await sasl.token() }) };
}

/** What the leader and the members tell each other has the shape that other programs show: the protocol of consumers. */
export function encodeSubscription(topics: readonly string[], userData: string): Uint8Array {
  return new Encoder().writeInt16(0).writeArray(topics, "string").writeBytes(Buffer.from(userData)).buffer;
}

/** The `userData` of {@link encodeSubscription}; empty where somebody else wrote none. */
export function decodeSubscription(bytes: Uint8Array): string {
  const decoder = new Decoder(Buffer.from(bytes));
  decoder.readInt16();
  decoder.readArray((each) => each.readString());
  return decoder.readBytes()?.toString() ?? "";
}

export function encodeAssignment(partitions: readonly TopicPartition[], userData: string): Uint8Array {
  return new Encoder()
    .writeInt16(0)
    .writeArray(
      byTopic(partitions).map(([topic, each]) =>
        new Encoder().writeString(topic).writeArray(
          each.map(({ partition }) => partition),
          "int32",
        ),
      ),
    )
    .writeBytes(Buffer.from(userData)).buffer;
}

export function decodeAssignment(bytes: Uint8Array): { readonly partitions: TopicPartition[]; readonly userData: string } {
  if (bytes.length === 0) return { partitions: [], userData: "" };
  const decoder = new Decoder(Buffer.from(bytes));
  decoder.readInt16();
  const partitions = decoder
    .readArray((topic) => ({ topic: topic.readString() ?? "", partitions: topic.readArray((each) => each.readInt32()) }))
    .flatMap(({ topic, partitions: each }) => each.map((partition) => ({ topic, partition })));
  return { partitions, userData: decoder.readBytes()?.toString() ?? "" };
}

/**
 * The answer to a fetch, version 4 to 11 by its shape (kafkajs asks for 11 where it may). Read here and not by kafkajs: one partition that
 * cannot be read must not hide the others, and what holds no record for us must not be asked for again.
 */
async function decodeFetch(payload: Buffer, asked: ReadonlyMap<string, bigint>): Promise<FetchedPartition[]> {
  const decoder = new Decoder(payload);
  decoder.readInt32(); // throttle time: the connection is muted by the broker meanwhile
  const error = decoder.readInt16();
  decoder.readInt32(); // fetch session
  const headers = decoder.readArray((topic) => {
    const name = topic.readString() ?? "";
    return topic.readArray((each) => readPartition(name, each));
  });
  const found: FetchedPartition[] = [];
  for (const partition of headers.flat()) {
    const from = asked.get(`${partition.topic} ${partition.partition}`) ?? 0n;
    const { bytes, aborted, ...answer } = partition;
    found.push({ ...answer, error: answer.error === 0 ? error : answer.error, ...(await readRecords(answer, bytes, aborted, from)) });
  }
  return found;
}

interface RawPartition extends PartitionAnswer {
  readonly highWatermark: bigint;
  readonly logStart: bigint;
  readonly aborted: readonly { readonly producerId: string; readonly first: bigint }[];
  readonly bytes: Buffer;
}

function readPartition(topic: string, decoder: Decoder): RawPartition {
  const partition = decoder.readInt32();
  const error = decoder.readInt16();
  const highWatermark = decoder.readInt64();
  decoder.readInt64(); // last stable offset
  const start = decoder.readInt64();
  const aborted = decoder.readArray((each) => ({
    producerId: String(each.readInt64()),
    first: each.readInt64(),
  }));
  decoder.readInt32(); // preferred read replica
  const length = decoder.readInt32();
  return {
    topic,
    partition,
    error,
    highWatermark,
    logStart: start,
    aborted,
    bytes: length <= 0 ? Buffer.alloc(0) : (decoder.readBytes(length) ?? Buffer.alloc(0)),
  };
}

/** A batch's offset and length, before what the length counts. */
const batchPrefixBytes = 12;

async function readRecords(
  { topic, partition }: TopicPartition,
  bytes: Buffer,
  aborted: RawPartition["aborted"],
  from: bigint,
): Promise<Pick<FetchedPartition, "records" | "next" | "undecodable">> {
  const records: FetchedRecord[] = [];
  const abortedProducers = new Set<string>();
  const abortedFrom = aborted.toSorted((a, b) => (a.first < b.first ? -1 : 1));
  let next = from;
  let position = 0;
  while (bytes.length - position >= batchPrefixBytes) {
    const length = bytes.readInt32BE(position + 8) + batchPrefixBytes;
    // The broker cuts the last batch where its limit is.
    if (bytes.length - position < length) break;
    let batch;
    try {
      batch = await decodeRecordBatch(new Decoder(bytes.subarray(position, position + length)));
    } catch (error) {
      return { records, next, undecodable: error instanceof Error ? error : new Error(String(error)) };
    }
    position += length;
    const first = BigInt(batch.firstOffset);
    while (abortedFrom[0] !== undefined && abortedFrom[0].first <= first)
      abortedProducers.add(abortedFrom.shift()?.producerId ?? "");
    if (batch.isControlBatch) abortedProducers.delete(batch.producerId);
    else if (!(batch.inTransaction && abortedProducers.has(batch.producerId))) {
      for (const record of batch.records) {
        const offset = BigInt(record.offset);
        // A batch begins where it was written, not where one asked.
        if (offset < from) continue;
        const { key, value } = record;
        const timestamp = Number(record.timestamp);
        records.push({ topic, partition, offset, timestamp, key, value, headers: headerList(record.headers) });
      }
    }
    next = first + BigInt(batch.lastOffsetDelta) + 1n;
  }
  return { records, next: next < from ? from : next, undecodable: undefined };
}

function headerList(table: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>): FetchedRecord["headers"] {
  const list: (readonly [string, HeaderValue])[] = [];
  for (const name of Object.keys(table)) {
    const value = table[name] ?? null;
    if (value === null || Buffer.isBuffer(value)) list.push([name, value]);
    else for (const each of value) list.push([name, each]);
  }
  return list;
}
