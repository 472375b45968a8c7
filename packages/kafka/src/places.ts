/** Where a group has come to in its partitions, and where their logs begin and end. */
import type { TopicPartition } from "./client.ts";
import { ConnectionFailure, logEnd, logStart } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, kafkaError } from "./errors.ts";
import type { HeldSlot } from "./held-slot.ts";
import type { Membership } from "./membership.ts";
import type { Starts } from "./starts.ts";
import { decodeNote, noteFor, readStarts } from "./starts.ts";
import { PartitionWindow } from "./window.ts";

/** The window of a slot, and what is known of crashes at its front. */
export class HeldWindow extends PartitionWindow {
  readonly slot: HeldSlot;
  readonly starts: Starts;
  /** The oldest offset that is there, as far as is known. */
  logStart = 0;
  /** What stands beside the committed offset is not what should. */
  stale = false;

  constructor(slot: HeldSlot, { topic, partition }: TopicPartition, position: number, starts: Starts) {
    super(topic, partition, position);
    this.slot = slot;
    this.starts = starts;
  }
}

export interface PlacesOptions {
  readonly cluster: Cluster;
  readonly membership: Membership;
  /** The line of work of its requests. */
  readonly lane: string;
  readonly instance: string;
  readonly ending: AbortSignal;
}

export interface Places {
  /**
   * Gives the slots their windows, which begin where the group has come to. That we are here is written down first: whoever
   * comes after a crash shall see it.
   *
   * @returns false when the group has moved on meanwhile
   * @throws ConnectionFailure when it is to be tried again
   */
  open(slots: readonly HeldSlot[], partitionsOf: (slot: HeldSlot) => readonly TopicPartition[]): Promise<boolean>;
  /** The oldest offset that is still there. */
  startOf(partition: TopicPartition): Promise<number>;
}

export function createPlaces(options: PlacesOptions): Places {
  const { cluster, membership, lane, instance, ending } = options;

  async function offsets(
    partitions: readonly TopicPartition[],
    time: typeof logStart | typeof logEnd,
  ): Promise<(place: TopicPartition) => number> {
    const found = new Map<string, number>();
    const byLeader = Map.groupBy(partitions, ({ topic, partition }) => cluster.leader(topic, partition) ?? -1);
    for (const [leader, places] of byLeader) {
      if (leader === -1) {
        const topics = places.map(({ topic }) => topic);
        await cluster.topics(topics, ending, true);
        throw new ConnectionFailure("Some partitions have no leader at present.", false);
      }
      const connection = await cluster.node(leader, lane, ending);
      const answers = await connection.listOffsets(places.map((place) => ({ ...place, time })));
      for (const { topic, partition, error, offset } of answers) {
        if (error !== 0) await refused(topic, error);
        found.set(id({ topic, partition }), Number(offset));
      }
    }
    return (place) => found.get(id(place)) ?? 0;
  }

  async function refused(topic: string, code: number): Promise<never> {
    await cluster.topics([topic], ending, true);
    const error = kafkaError(code, `topic ${JSON.stringify(topic)}`);
    const meaning = errorClass(code);
    // A topic that was just made is not known to every broker yet.
    if (meaning === "retriable" || meaning === "unroutable")
      throw new ConnectionFailure(error.message, true, { cause: error });
    throw error;
  }

  return {
    async open(slots, partitionsOf) {
      const partitions = slots.flatMap(partitionsOf);
      const answers = await membership.committed(partitions, ending);
      const committed = new Map(answers.map((answer) => [id(answer), answer]));
      const [logStarts, ends] = await Promise.all([offsets(partitions, logStart), offsets(partitions, logEnd)]);
      // What was lost meanwhile may be somebody else's by now.
      const present = slots.filter(({ lost }) => !lost.aborted);
      const opened = present.map((slot) =>
        partitionsOf(slot).map((place) => {
          const known = committed.get(id(place));
          const [start, end] = [logStarts(place), ends(place)];
          // What lies behind the log's end is of another log of the same name: to begin there would leave messages out.
          const isKnown = known !== undefined && known.offset >= 0n && known.offset <= end;
          const from = isKnown ? Number(known.offset) : start;
          const note = isKnown ? decodeNote(known.metadata) : undefined;
          const window = new HeldWindow(slot, place, from, readStarts(note, instance, from, end));
          window.logStart = start;
          return window;
        }),
      );
      const written = opened.flat().filter(({ slot }) => slot.slot.kind === "messages");
      const outcomes = await membership.commit(
        written.map(({ topic, partition, position, starts }) => ({
          topic,
          partition,
          offset: BigInt(position),
          metadata: noteFor(starts, instance, position),
        })),
      );
      const refusal = outcomes.find((outcome) => outcome instanceof Error);
      if (refusal !== undefined) throw refusal;
      if (!outcomes.every((outcome) => outcome === "done")) return false;
      present.forEach((slot, index) => (slot.windows = opened[index] ?? []));
      return true;
    },
    startOf: async (partition) => (await offsets([partition], logStart))(partition),
  };
}

function id({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
}
