/**
 * What a source is called on the broker: a queue by its own name, a topic's group `<topic>.<group>`, and the dead letters of
 * either with `.dlq` behind. Channel and group names hold no dot, and no group is called `dlq`: so names never collide.
 */
import type { ChannelInfo } from "@posthorn/core/transport";

export function inletName(channel: ChannelInfo, group: string): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

export function deadLetterName(channel: ChannelInfo, group: string): string {
  return `${inletName(channel, group)}.dlq`;
}
