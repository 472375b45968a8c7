/**
 * One connection to one broker, in Kafka's own terms: requests and answers, one error code for each partition.
 *
 * What the rest of the adapter knows of a Kafka client: a client of another make takes kafkajs's place by implementing
 * {@link BrokerConnection}, as `kafkajs-connection.ts` does.
 */
import type { Codecs, Compression } from "./compression.ts";
import type { KafkaSasl, KafkaTlsOptions } from "./options.ts";
import type { RecordBatch } from "./record-batch.ts";
import type { FetchedRecord } from "./records.ts";

/** How every connection of a transport is made. */
export interface ConnectionSettings {
  readonly clientId: string;
  readonly tls: KafkaTlsOptions | undefined;
  readonly sasl: KafkaSasl | undefined;
  readonly connectTimeoutMs: number;
  /** A request that is not answered for so long ends the connection. What may wait on the broker has its wait added. */
  readonly requestTimeoutMs: number;
  /** Beyond those that Node.js has. */
  readonly codecs: Codecs;
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

/** Tells partitions apart. */
export function placeOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
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
  /** Of all records, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
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

/**
 * Connects and authenticates.
 *
 * @param onEnd called once when the connection ends otherwise than by `close`; `idle` when the broker closed in good order what
 * nobody was using, as it does after ten minutes
 * @throws ConnectionFailure, AUTHENTICATION_FAILED; the signal's reason when it fires first
 */
export type OpenConnection = (
  endpoint: Endpoint,
  settings: ConnectionSettings,
  onEnd: (error: Error, idle: boolean) => void,
  signal: AbortSignal,
) => Promise<BrokerConnection>;

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
  deleteRecords(
    partitions: readonly (TopicPartition & { readonly offset: bigint })[],
  ): Promise<readonly PartitionAnswer[]>;
  /** At once: what is unanswered rejects. `onEnd` is not called. */
  close(): void;
}
