import {
  appendBroken,
  finalizedFeatures,
  findCoordinator,
  kafkaErrors,
  partitions,
  strangeHeartbeat,
} from "./kafka-requests.ts";
import { coordinatorPartitions } from "./kafka-settings.ts";
import { type Address, at } from "./kafka-wire.ts";
import { poll, type PollOptions } from "./poll.ts";

/** The metadata level that each release begins with: a broker does not tell its version, but what it can do. */
const levels: readonly (readonly [level: number, version: string])[] = [
  [33, "4.4"],
  [30, "4.3"],
  [29, "4.2"],
  [27, "4.1"],
  [25, "4.0"],
  [21, "3.9"],
  [20, "3.8"],
  [19, "3.7"],
  [14, "3.6"],
  [11, "3.5"],
];

/** Resolves to the version of the broker, as far as it tells: that which its cluster has been brought to. */
export async function probeKafka(address: Address): Promise<string> {
  const level = (await finalizedFeatures(address)).get("metadata.version") ?? 0;
  const version = levels.find(([lowest]) => level >= lowest)?.[1];
  if (version === undefined) throw new Error(`${at(address)} is a Kafka older than 3.5, or with ZooKeeper`);
  return version;
}

/**
 * Resolves when the broker is at work: every partition of every topic can be appended to, and every coordinator answers
 * the members of its groups. The first time that takes the making of the broker's own topic of offsets.
 */
export async function awaitKafka(address: Address, options: PollOptions): Promise<void> {
  await poll(
    `the partitions and coordinators of ${at(address)}`,
    async () => {
      const leaderless = (await partitions(address)).filter(({ leader }) => leader === -1);
      if (leaderless.length > 0) throw new Error(`${leaderless.length} partitions have no leader`);
      // The hash of a group's name says which coordinator is its own: numbers that follow one another reach them all.
      for (let number = 0; number < coordinatorPartitions; number++) {
        const group = `posthorn-tests-${number}`;
        await findCoordinator(address, group);
        const code = await strangeHeartbeat(address, group);
        if (code !== kafkaErrors.unknownMemberId) throw new Error(`a coordinator answers with error code ${code}`);
      }
      const codes = await appendErrors(address);
      const broken = codes.find(
        (code) => code !== kafkaErrors.corruptMessage && code !== kafkaErrors.notEnoughReplicas,
      );
      if (broken !== undefined) throw new Error(`a partition answers with error code ${broken}`);
      return true;
    },
    options,
  );
}

/** What each partition of the users' topics answers to a batch that is broken. */
export async function appendErrors(address: Address): Promise<number[]> {
  return appendBroken(address, await userPartitions(address));
}

export async function userPartitions(address: Address): ReturnType<typeof partitions> {
  return (await partitions(address)).filter(({ isInternal }) => !isInternal);
}
