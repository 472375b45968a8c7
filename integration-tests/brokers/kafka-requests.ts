import {
  type Address,
  array,
  compactArray,
  compactNull,
  compactString,
  int16,
  int32,
  int8,
  kafkaRequest,
  noTags,
  nullArray,
  nullString,
  sized,
  string,
} from "./kafka-wire.ts";

/** The error codes of the protocol that are looked at here. */
export const kafkaErrors = {
  none: 0,
  corruptMessage: 2,
  notEnoughReplicas: 19,
  unknownMemberId: 25,
} as const;

export interface KafkaPartition {
  readonly topic: string;
  readonly partition: number;
  /** The id of its leader; -1 where it has none. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly inSync: readonly number[];
  /** Whether it is of one of the topics that the broker keeps for itself. */
  readonly isInternal: boolean;
}

/** The level of every feature of the cluster, for example of `metadata.version`. */
export async function finalizedFeatures(address: Address): Promise<ReadonlyMap<string, number>> {
  const body = Buffer.concat([compactString("posthorn-tests"), compactString("1"), noTags]);
  const response = await kafkaRequest(address, { key: 18, version: 3, flexible: true }, body);
  assertNoError("ApiVersions", response.int16());
  response.compactArray(() => {
    for (let field = 0; field < 3; field++) response.int16(); // an API, its lowest and highest version
    response.tags();
  });
  response.int32(); // throttle time
  const features = response.tags().get(2);
  return new Map(
    features?.compactArray(() => {
      const name = features.compactString();
      const level = features.int16();
      features.int16(); // the lowest level
      features.tags();
      return [name, level];
    }),
  );
}

/** Every partition of every topic. */
export async function partitions(address: Address): Promise<KafkaPartition[]> {
  const response = await kafkaRequest(address, { key: 3, version: 1, flexible: false }, nullArray);
  response.array(() => [response.int32(), response.string(), response.int32(), response.string()]); // brokers
  response.int32(); // the controller's id
  const topics = response.array(() => {
    response.int16(); // its error, which its partitions tell better
    const topic = response.string();
    const isInternal = response.int8() === 1;
    return response.array((): KafkaPartition => {
      response.int16(); // its error: no leader
      const [partition, leader] = [response.int32(), response.int32()];
      const replicas = response.array(() => response.int32());
      const inSync = response.array(() => response.int32());
      return { topic, partition, leader, replicas, inSync, isInternal };
    });
  });
  return topics.flat();
}

/** The id of a group's coordinator. To ask for it makes the topic of offsets if there is none. */
export async function findCoordinator(address: Address, group: string): Promise<number> {
  const response = await kafkaRequest(address, { key: 10, version: 0, flexible: false }, string(group));
  assertNoError("FindCoordinator", response.int16());
  return response.int32();
}

/** The id of the node that is the controller. */
export async function activeController(address: Address): Promise<number> {
  const partition = Buffer.concat([int32(0), noTags]);
  const topic = Buffer.concat([compactString("__cluster_metadata"), compactArray([partition]), noTags]);
  const body = Buffer.concat([compactArray([topic]), noTags]);
  const response = await kafkaRequest(address, { key: 55, version: 0, flexible: true }, body);
  assertNoError("DescribeQuorum", response.int16());
  const [leader] = response.compactArray(() => {
    response.compactString(); // the topic
    const [first] = response.compactArray(() => {
      response.int32(); // the partition
      assertNoError("DescribeQuorum", response.int16());
      const id = response.int32();
      response.int32(); // its epoch
      response.int64(); // high watermark
      for (let list = 0; list < 2; list++)
        response.compactArray(() => {
          response.int32(); // a voter, an observer
          response.int64();
          response.tags();
        });
      response.tags();
      return id;
    });
    response.tags();
    return first;
  });
  if (leader === undefined) throw new Error(`${address.host}:${address.port} knows no quorum`);
  return leader;
}

/** The error code that a coordinator answers to the heartbeat of a stranger: `unknownMemberId` when it is at work. */
export async function strangeHeartbeat(address: Address, group: string): Promise<number> {
  const body = Buffer.concat([string(group), int32(0), string("stranger")]);
  const response = await kafkaRequest(address, { key: 12, version: 0, flexible: false }, body);
  return response.int16();
}

/** Sets a setting of all brokers. */
export async function setClusterSetting(address: Address, name: string, value: string): Promise<void> {
  const setting = Buffer.concat([string(name), int8(0), string(value)]);
  const allBrokers = Buffer.concat([int8(4), string(""), array([setting])]);
  const body = Buffer.concat([array([allBrokers]), int8(0)]);
  const response = await kafkaRequest(address, { key: 44, version: 0, flexible: false }, body);
  response.int32(); // throttle time
  response.array(() => {
    assertNoError(`IncrementalAlterConfigs ${name}`, response.int16(), response.string());
    response.int8();
    response.string();
  });
}

/** Asks for other replicas of partitions. That is under way when this resolves, for ever if one of them does not run. */
export async function reassign(
  address: Address,
  partitions: readonly KafkaPartition[],
  replicas: readonly number[],
): Promise<void> {
  const body = Buffer.concat([
    int32(10_000), // timeout in ms
    compactArray(
      byTopic(partitions).map(([topic, indexes]) =>
        Buffer.concat([
          compactString(topic),
          compactArray(
            indexes.map((index) => Buffer.concat([int32(index), compactArray(replicas.map(int32)), noTags])),
          ),
          noTags,
        ]),
      ),
    ),
    noTags,
  ]);
  const response = await kafkaRequest(address, { key: 45, version: 0, flexible: true }, body);
  response.int32(); // throttle time
  assertNoError("AlterPartitionReassignments", response.int16(), response.compactString());
  response.compactArray(() => {
    const topic = response.compactString();
    response.compactArray(() => {
      const partition = response.int32();
      assertNoError(`AlterPartitionReassignments of ${topic}/${partition}`, response.int16(), response.compactString());
      response.tags();
    });
    response.tags();
  });
}

/**
 * Appends a batch that is broken to each partition, and resolves to the error codes: `corruptMessage` from a partition
 * that takes batches, since that is looked at last. Nothing gets into the log.
 */
export async function appendBroken(address: Address, partitions: readonly KafkaPartition[]): Promise<number[]> {
  const body = Buffer.concat([
    nullString, // no transaction
    int16(-1), // in all in-sync replicas
    int32(10_000), // timeout in ms
    array(
      byTopic(partitions).map(([topic, indexes]) =>
        Buffer.concat([
          string(topic),
          array(indexes.map((index) => Buffer.concat([int32(index), sized(brokenBatch())]))),
        ]),
      ),
    ),
  ]);
  const response = await kafkaRequest(address, { key: 0, version: 3, flexible: false }, body);
  const codes = response.array(() => {
    response.string(); // the topic
    return response.array(() => {
      response.int32(); // the partition
      const code = response.int16();
      response.int64(); // base offset
      response.int64(); // time of append
      return code;
    });
  });
  return codes.flat();
}

/**
 * Registers a broker that does not exist, at the controller. It is fenced as long as it sends no heartbeat: no client
 * sees it, but it can be named as a replica.
 */
export async function registerBroker(controller: Address, id: number, clusterId: string): Promise<void> {
  const features = await finalizedFeatures(controller);
  const listener = [compactString("PLAIN"), compactString("127.0.0.1"), int16(1), int16(0), noTags];
  const body = Buffer.concat([
    int32(id),
    compactString(clusterId),
    Buffer.alloc(16, 0xa5), // the id of this start of it
    compactArray([Buffer.concat(listener)]),
    compactArray(
      [...features].map(([name, level]) => Buffer.concat([compactString(name), int16(level), int16(level), noTags])),
    ),
    compactNull, // rack
    int8(0), // not on its way from ZooKeeper
    compactArray([Buffer.alloc(16, 0x5a)]), // log folders
    noTags,
  ]);
  const response = await kafkaRequest(controller, { key: 62, version: 2, flexible: true }, body);
  response.int32(); // throttle time
  assertNoError("BrokerRegistration", response.int16());
}

function brokenBatch(): Buffer {
  const batch = Buffer.alloc(61);
  batch.writeInt32BE(49, 8); // length of what follows
  batch.writeInt8(2, 16); // format; the checksum, at 17, is wrong
  batch.writeBigInt64BE(-1n, 43); // no producer id
  batch.writeInt16BE(-1, 51);
  batch.writeInt32BE(-1, 53);
  return batch;
}

function byTopic(partitions: readonly KafkaPartition[]): [topic: string, partitions: number[]][] {
  const topics = Map.groupBy(partitions, ({ topic }) => topic);
  return [...topics].map(([topic, group]) => [topic, group.map(({ partition }) => partition)]);
}

function assertNoError(what: string, code: number, message = ""): void {
  if (code !== kafkaErrors.none) throw new Error(`${what} failed with error code ${code} ${message}`.trim());
}
