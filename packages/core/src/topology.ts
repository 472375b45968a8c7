import type { ChannelInfo } from "./address.ts";

/** All that must exist on the broker for an application to run, derived from what it declared. */
export interface Topology {
  readonly channels: readonly ChannelInfo[];
  /** Every group that this application consumes, and the one group of every queue in `channels`. */
  readonly groups: readonly Group[];
}

/** A group of a channel. Each has an inlet and a dead-letter channel. */
export interface Group {
  readonly channel: ChannelInfo;
  /** On a queue, the queue's name. */
  readonly name: string;
  /** On a topic, the types the group receives. Empty on a queue, which takes every type. */
  readonly types: readonly string[];
}

/** One difference between a topology and what the broker has. */
export interface TopologyChange {
  /** `missing`: it does not exist. `different`: it exists otherwise than declared, and only an operator can change that. */
  readonly problem: "missing" | "different";
  /** What the broker calls such a thing: `queue`, `exchange`, `topic`, `binding`, … */
  readonly object: string;
  /** Its name on the broker. */
  readonly name: string;
  /** Which property differs. */
  readonly field?: string;
  readonly expected?: string;
  readonly actual?: string;
}

/** `queue "orders": x-queue-type is "classic", declared is "quorum"` */
export function describeChange(change: TopologyChange): string {
  const what = `${change.object} ${JSON.stringify(change.name)}`;
  if (change.problem === "missing") return `${what} does not exist`;
  if (change.field === undefined) return `${what} differs`;
  return `${what}: ${change.field} is ${change.actual ?? "unset"}, declared is ${change.expected ?? "unset"}`;
}
