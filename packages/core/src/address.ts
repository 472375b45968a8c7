/** What a transport knows of a channel. */
export interface ChannelInfo {
  /** `queue`: each message to one consumer. `topic`: each message to every group. */
  readonly kind: "queue" | "topic";
  readonly name: string;
  /** Messages of one key are handled one at a time, in the order in which they were published. */
  readonly ordered: boolean;
}

/**
 * Where a message can go. Adapters map addresses to broker names; nothing else does.
 *
 * `id` is unique among all addresses and stable: compare and cache by it.
 */
export type Address = ChannelAddress | InletAddress | DeadLetterAddress | ReplyAddress;

/** The channel itself: its one queue, or every group of a topic that asked for the message's type. */
export interface ChannelAddress {
  readonly kind: "channel";
  readonly id: string;
  readonly channel: ChannelInfo;
}

/**
 * One group's inlet of a channel: only that group receives what is sent here.
 * A queue has exactly one group, named after the queue.
 */
export interface InletAddress {
  readonly kind: "inlet";
  readonly id: string;
  readonly channel: ChannelInfo;
  readonly group: string;
}

/** The dead-letter channel of one group of a channel. */
export interface DeadLetterAddress {
  readonly kind: "dead-letters";
  readonly id: string;
  readonly channel: ChannelInfo;
  readonly group: string;
}

/** The reply inbox of one instance of a service. */
export interface ReplyAddress {
  readonly kind: "reply";
  readonly id: string;
  readonly inbox: string;
}

/** What can be consumed. An inlet as a source is everything its group receives: from the channel and sent to the inlet. */
export type Source = InletAddress | DeadLetterAddress | ReplyAddress;

export function channelAddress(channel: ChannelInfo): ChannelAddress {
  return { kind: "channel", id: `channel:${channel.kind}:${channel.name}`, channel };
}

export function inletAddress(channel: ChannelInfo, group: string): InletAddress {
  return { kind: "inlet", id: `inlet:${channel.kind}:${channel.name}:${group}`, channel, group };
}

export function deadLetterAddress(channel: ChannelInfo, group: string): DeadLetterAddress {
  return { kind: "dead-letters", id: `dead-letters:${channel.kind}:${channel.name}:${group}`, channel, group };
}
