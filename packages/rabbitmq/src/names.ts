import type { Address, ChannelInfo, DeadLetterAddress, InletAddress, Message } from "@posthorn/core/transport";
import { PosthornError } from "@posthorn/core/transport";
import { shardOf, shardQueue, shards } from "./shards.ts";

/** Where the messages of an address are published. */
export interface Route {
  /** The empty name is the default exchange, which routes to the queue that the key names. */
  readonly exchange: string;
  readonly routingKey: (message: Message) => string;
  /** The broker is to give back what no queue takes. */
  readonly mandatory: boolean;
  /** Bytes of headers that the broker adds on the way to a message with this routing key. */
  readonly addedHeaderBytes?: (routingKey: string) => number;
}

/**
 * The queue a group of a channel consumes; of an ordered channel what the names of its shards begin with. Names hold no dot
 * but ours, so no two of these are ever equal.
 */
export function inletQueue(channel: ChannelInfo, group: string): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

export function deadLetterQueue(channel: ChannelInfo, group: string): string {
  return `${inletQueue(channel, group)}.dlq`;
}

/** All queues of an inlet: one, or a shard each. */
export function inletQueues(channel: ChannelInfo, group: string): readonly string[] {
  const inlet = inletQueue(channel, group);
  return channel.ordered ? shards.map((shard) => shardQueue(inlet, shard)) : [inlet];
}

export function queuesOf(source: InletAddress | DeadLetterAddress): readonly string[] {
  return source.kind === "inlet"
    ? inletQueues(source.channel, source.group)
    : [deadLetterQueue(source.channel, source.group)];
}

/** @throws UNSUPPORTED_CAPABILITY for reply inboxes */
export function routeOf(address: Address): Route {
  switch (address.kind) {
    case "channel":
      if (address.channel.kind === "topic") return toTopic(address.channel);
      return toInlet(address.channel, address.channel.name);
    case "inlet":
      return toInlet(address.channel, address.group);
    case "dead-letters": {
      const queue = deadLetterQueue(address.channel, address.group);
      return toQueue(() => queue);
    }
    case "reply":
      break;
  }
  throw noReplies();
}

function toTopic({ name, ordered }: ChannelInfo): Route {
  return {
    exchange: name,
    routingKey: ordered ? (message) => `${shardOf(message)}.${message.type}` : ({ type }) => type,
    // A topic without groups is fine, so its messages may go nowhere.
    mandatory: false,
  };
}

function toInlet(channel: ChannelInfo, group: string): Route {
  const inlet = inletQueue(channel, group);
  return toQueue(channel.ordered ? (message) => shardQueue(inlet, shardOf(message)) : () => inlet);
}

function toQueue(routingKey: Route["routingKey"]): Route {
  return { exchange: "", routingKey, mandatory: true };
}

export function noReplies(): PosthornError {
  return new PosthornError("UNSUPPORTED_CAPABILITY", "The RabbitMQ transport has no reply inboxes.");
}
