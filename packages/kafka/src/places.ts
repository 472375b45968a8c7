/** Where a group has come to in its partitions, and where their logs begin and end. */
import type { TopicPartition } from "./client.ts";
import { ConnectionFailure, logEnd, logStart, placeOf } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { isPassing, kafkaError } from "./errors.ts";
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
   * @param partly those of which nothing can be told at present may be left out; otherwise they all wait for each other
   * @returns those that have them now; none when the group has moved on meanwhile
   * @throws ConnectionFailure when it is to be tried again
   */
  open(
    slots: readonly HeldSlot[],
    partitionsOf: (slot: HeldSlot) => readonly TopicPartition[],
    partly: boolean,
  ): Promise<readonly HeldSlot[]>;
  /** The oldest offset that is still there. */
  startOf(partition: TopicPartition): Promise<number>;
}

export function createPlaces(options: PlacesOptions): Places {
  const { cluster, membership, lane, instance, ending } = options;

  /** By partition. Of those that nobody leads at present, or whose leader does not answer, nothing is known; who leads them is asked. */
  async function offsets(
    partitions: readonly TopicPartition[],
    time: typeof logStart | typeof logEnd,
  ): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    const stale = new Set<string>();
    const ask = async (leader: number, places: readonly TopicPartition[]): Promise<void> => {
      const connection = await cluster.node(leader, lane, ending);
      for (const { topic, partition, error, offset } of await connection.listOffsets(
        places.map((place) => ({ ...place, time })),
      )) {
        if (error === 0) found.set(placeOf({ topic, partition }), Number(offset));
        else if (isPassing(error)) stale.add(topic);
        else throw kafkaError(error, `topic ${JSON.stringify(topic)}`);
      }
    };
    for (const [leader, places] of Map.groupBy(partitions, (place) => cluster.leader(place.topic, place.partition))) {
      try {
        if (leader === undefined) throw new ConnectionFailure("Some partitions have no leader at present.", false);
        await ask(leader, places);
      } catch (error) {
        if (!(error instanceof ConnectionFailure)) throw error;
        for (const { topic } of places) stale.add(topic);
      }
    }
    if (stale.size > 0) await cluster.topics(stale, ending, true);
    return found;
  }

  return {
    async open(slots, partitionsOf, partly) {
      const partitions = slots.flatMap(partitionsOf);
      const answers = await membership.committed(partitions, ending);
      const committed = new Map(answers.map((answer) => [placeOf(answer), answer]));
      const [logStarts, ends] = await Promise.all([offsets(partitions, logStart), offsets(partitions, logEnd)]);
      const isFound = (place: TopicPartition): boolean => logStarts.has(placeOf(place)) && ends.has(placeOf(place));
      // What was lost meanwhile may be somebody else's by now.
      const ours = slots.filter((slot) => !slot.lost.aborted);
      const present = ours.filter((slot) => partitionsOf(slot).every(isFound));
      if (!partly && present.length < ours.length) return [];
      const opened = present.map((slot) =>
        partitionsOf(slot).map((place) => {
          const known = committed.get(placeOf(place));
          const [start, end] = [logStarts.get(placeOf(place)) ?? 0, ends.get(placeOf(place)) ?? 0];
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
      if (!outcomes.every((outcome) => outcome === "done")) return [];
      present.forEach((slot, index) => (slot.windows = opened[index] ?? []));
      return present;
    },

    async startOf(partition) {
      const start = (await offsets([partition], logStart)).get(placeOf(partition));
      if (start === undefined)
        throw new ConnectionFailure(`The leader of ${placeOf(partition)} does not answer.`, true);
      return start;
    },
  };
}
