import type { ChannelInfo, Topology } from "@posthorn/core";

/** A queue with its one group. */
export function queueTopology(...queues: readonly ChannelInfo[]): Topology {
  const channels = queues.map(plain);
  return { channels, groups: channels.map((channel) => ({ channel, name: channel.name, types: [] })) };
}

/** A topic with groups that take one type. */
export function topicTopology(channel: ChannelInfo, type: string, ...groups: readonly string[]): Topology {
  const info = plain(channel);
  return { channels: [info], groups: groups.map((name) => ({ channel: info, name, types: [type] })) };
}

/** What a transport is told of a channel, and no more. */
export function plain({ kind, name, ordered }: ChannelInfo): ChannelInfo {
  return { kind, name, ordered };
}
