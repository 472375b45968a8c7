import { kafkaErrors, reassign, registerBroker, setClusterSetting } from "./kafka-requests.ts";
import { appendErrors, userPartitions } from "./kafka-ready.ts";
import { absentBrokerId, brokerId } from "./kafka-settings.ts";
import type { Address } from "./kafka-wire.ts";
import { poll } from "./poll.ts";

// The controller answers before the broker has heard of it, and topics may come and go meanwhile.
const untilEffective = { deadlineMs: 10_000 } as const;

/**
 * Makes it possible to block publishers. `min.insync.replicas` alone does nothing on a single broker: it counts no more
 * than the replicas that a partition has. So there is a second broker, in name only, that can be a replica and never is
 * in sync.
 */
export async function registerAbsentBroker(controller: Address, clusterId: string): Promise<void> {
  await registerBroker(controller, absentBrokerId, clusterId);
}

/** See `KafkaControl.blockPublishers`. The broker's own topics keep their one replica, so offsets can be committed. */
export async function blockPublishers(address: Address): Promise<void> {
  await setClusterSetting(address, "min.insync.replicas", "2");
  await poll(
    "the block of publishers",
    async () => {
      const alone = (await userPartitions(address)).filter(({ replicas }) => replicas.length === 1);
      if (alone.length > 0) await reassign(address, alone, [brokerId, absentBrokerId]);
      return allAnswer(address, kafkaErrors.notEnoughReplicas);
    },
    untilEffective,
  );
}

export async function unblockPublishers(address: Address): Promise<void> {
  await setClusterSetting(address, "min.insync.replicas", "1");
  await poll(
    "the end of the block of publishers",
    () => allAnswer(address, kafkaErrors.corruptMessage),
    untilEffective,
  );
}

async function allAnswer(address: Address, code: number): Promise<true | undefined> {
  return (await appendErrors(address)).every((answer) => answer === code) ? true : undefined;
}
