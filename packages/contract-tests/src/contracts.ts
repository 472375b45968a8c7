import type { Queue, QueueContract, Topic, TopicContract } from "@posthorn/core";
import { bytes } from "@posthorn/core";
import type { Numbered } from "./schema.ts";
import { anything } from "./schema.ts";

/** The contracts that most cases use. */
export function workOf(channel: Queue<false>): QueueContract<Numbered, Numbered> {
  return channel.command("work", { schema: anything<Numbered>() });
}

export function happenedOn(channel: Topic<false>): TopicContract<Numbered, Numbered> {
  return channel.event("happened", { schema: anything<Numbered>() });
}

export function blobOf(channel: Queue<false>): QueueContract<Uint8Array, Uint8Array> {
  return channel.document("blob", { codec: bytes });
}

/** 0, 1, … count - 1 */
export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}

export function ascending(list: readonly number[]): number[] {
  return list.toSorted((one, other) => one - other);
}

/** What was handled, in ascending order. */
export function handledNumbers(calls: readonly { readonly data: Numbered }[]): number[] {
  return ascending(calls.map((call) => call.data.n));
}

/** A payload with its place among those of its key. */
export interface Keyed {
  readonly key: string;
  /** 0, 1, … for each key. */
  readonly seq: number;
}

const keyOf = ({ key }: Keyed): string => key;

/** Commands that are handled in order, key by key. */
export function keyedWorkOf(channel: Queue<true>): QueueContract<Keyed, Keyed> {
  return channel.command("work", { schema: anything<Keyed>(), key: keyOf });
}

export function keyedHappenedOn(channel: Topic<true>): TopicContract<Keyed, Keyed> {
  return channel.event("happened", { schema: anything<Keyed>(), key: keyOf });
}
