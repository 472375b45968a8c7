import type { ChannelInfo } from "./address.ts";
import type { MakeContract } from "./contract.ts";
import { contractMaker } from "./contract.ts";
import { checkName } from "./names.ts";

/** Settings of a channel. They are part of what all services share: every service declares the same. */
export interface ChannelOptions<Ordered extends boolean = false> {
  /** Messages of one key are handled one at a time, in the order in which they were published. Default false. */
  readonly ordered?: Ordered;
}

/** A point-to-point channel: each message goes to one consumer. It carries commands and documents. */
export interface Queue<Ordered extends boolean = false> extends ChannelInfo {
  readonly kind: "queue";
  /** Declares a message that asks the queue's owner to act. */
  readonly command: MakeContract<"command", "queue", Ordered>;
  /** Declares a message that is pure data. */
  readonly document: MakeContract<"document", "queue", Ordered>;
}

/** A publish-subscribe channel: each message goes to every group. It carries events and documents. */
export interface Topic<Ordered extends boolean = false> extends ChannelInfo {
  readonly kind: "topic";
  /** Declares a message that says that something happened. */
  readonly event: MakeContract<"event", "topic", Ordered>;
  /** Declares a message that is pure data. */
  readonly document: MakeContract<"document", "topic", Ordered>;
}

/**
 * Names a point-to-point channel.
 *
 * @param name letters, digits, `-` and `_`, at most 100
 * @throws INVALID_NAME
 */
export function queue<const Ordered extends boolean = false>(
  name: string,
  options: ChannelOptions<Ordered> = {},
): Queue<Ordered> {
  checkName("queue", name);
  const channel = { kind: "queue" as const, name, ordered: options.ordered === true };
  return Object.freeze({
    ...channel,
    command: contractMaker<"command", "queue", Ordered>("command", channel),
    document: contractMaker<"document", "queue", Ordered>("document", channel),
  });
}

/**
 * Names a publish-subscribe channel.
 *
 * @param name letters, digits, `-` and `_`, at most 100
 * @throws INVALID_NAME
 */
export function topic<const Ordered extends boolean = false>(
  name: string,
  options: ChannelOptions<Ordered> = {},
): Topic<Ordered> {
  checkName("topic", name);
  const channel = { kind: "topic" as const, name, ordered: options.ordered === true };
  return Object.freeze({
    ...channel,
    event: contractMaker<"event", "topic", Ordered>("event", channel),
    document: contractMaker<"document", "topic", Ordered>("document", channel),
  });
}
