import type { Address, ChannelInfo, DeadLetterAddress, InletAddress } from "@posthorn/core/transport";
import { PosthornError } from "@posthorn/core/transport";

/** Where a message is published. */
export interface Route {
  /** The empty name is the default exchange, which routes to the queue that the key names. */
  readonly exchange: string;
  /** `undefined`: each message's type. */
  readonly routingKey: string | undefined;
  /** The broker is to give back what no queue takes. */
  readonly mandatory: boolean;
}

/** The queue a group of a channel consumes. Names hold no dot but ours, so no two of these are ever equal. */
export function inletQueue(channel: ChannelInfo, group: string): string {
  return channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
}

export function deadLetterQueue(channel: ChannelInfo, group: string): string {
  return `${inletQueue(channel, group)}.dlq`;
}

export function queueOf(source: InletAddress | DeadLetterAddress): string {
  return source.kind === "inlet"
    ? inletQueue(source.channel, source.group)
    : deadLetterQueue(source.channel, source.group);
}

/** @throws UNSUPPORTED_CAPABILITY for reply inboxes */
export function routeOf(address: Address): Route {
  switch (address.kind) {
    case "channel":
      // A topic without groups is fine, so its messages may go nowhere.
      if (address.channel.kind === "topic")
        return { exchange: address.channel.name, routingKey: undefined, mandatory: false };
      return { exchange: "", routingKey: address.channel.name, mandatory: true };
    case "inlet":
    case "dead-letters":
      return { exchange: "", routingKey: queueOf(address), mandatory: true };
    case "reply":
      break;
  }
  throw noReplies();
}

export function noReplies(): PosthornError {
  return new PosthornError("UNSUPPORTED_CAPABILITY", "The RabbitMQ transport has no reply inboxes.");
}
