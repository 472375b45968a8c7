/** What things are called on the broker. Names of channels and groups hold no dot but ours, so no two of these are ever equal. */
import type { ChannelInfo, DeadLetterAddress, InletAddress } from "@posthorn/core/transport";
import { PosthornError } from "@posthorn/core/transport";

/** The topic of a channel: that of a queue and that of a topic alike. */
export function channelTopic(channel: ChannelInfo): string {
  return channel.name;
}

/** What all names of a group begin with. A queue has one group, which is called after it. */
export function base(channel: ChannelInfo, group: string): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

/** The consumer group, which holds the offsets of the channel's topic and of the retry topic. */
export function groupId(channel: ChannelInfo, group: string): string {
  return base(channel, group);
}

/** What is sent to one group only: retries, and what was redriven. As many partitions as the channel's topic. */
export function retryTopic(channel: ChannelInfo, group: string): string {
  return `${base(channel, group)}.retry`;
}

/** Dead letters, each under a key of its own. One partition, compacted. */
export function deadLetterTopic(channel: ChannelInfo, group: string): string {
  return `${base(channel, group)}.dlq`;
}

/** What waits for its time. One partition a tier. */
export function delayTopic(channel: ChannelInfo, group: string): string {
  return `${base(channel, group)}.delay`;
}

/** All of it, of one group. */
export interface GroupNames {
  readonly group: string;
  readonly main: string;
  readonly retry: string;
  readonly delay: string;
  readonly deadLetters: string;
}

export function groupNames({ channel, group }: Pick<InletAddress, "channel" | "group">): GroupNames {
  return {
    group: groupId(channel, group),
    main: channelTopic(channel),
    retry: retryTopic(channel, group),
    delay: delayTopic(channel, group),
    deadLetters: deadLetterTopic(channel, group),
  };
}

/** The topics a source is read from: of an inlet the channel's first, then what was sent to the inlet alone. */
export function topicsOf(source: InletAddress | DeadLetterAddress): readonly string[] {
  const { channel, group } = source;
  return source.kind === "inlet"
    ? [channelTopic(channel), retryTopic(channel, group)]
    : [deadLetterTopic(channel, group)];
}

export function noReplies(): PosthornError {
  return new PosthornError("UNSUPPORTED_CAPABILITY", "The Kafka transport has no reply inboxes.");
}
