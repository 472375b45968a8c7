/** What a topology is on RabbitMQ. */
import type { Group, Topology } from "@posthorn/core/transport";
import type { Arguments, Declaration } from "./declarations.ts";
import {
  bindingDeclaration,
  deadLetterArgument,
  exchangeDeclaration,
  noDeliveryLimit,
  queueDeclaration,
} from "./declarations.ts";
import { dueExchange, dueKeyOfQueue, dueKeyOfTopic } from "./ladder.ts";
import { deadLetterQueue, inletQueue } from "./names.ts";
import { shardQueue, shards } from "./shards.ts";

/** How long a handler may take before the broker takes its message back. Core's own limit is what should end it. Unknown to RabbitMQ 3. */
const consumerTimeoutMs = 43_200_000;

/** A walk through dead letters may take as long as a handler. */
const deadLetterArguments: Arguments = {
  "x-queue-type": "quorum",
  "x-delivery-limit": noDeliveryLimit,
  "x-consumer-timeout": consumerTimeoutMs,
};

/** In the order of declaration: a dead-letter queue before the queue that points to it, a binding last. */
export function declarationsOf(topology: Topology, deliveryLimit: number): readonly Declaration[] {
  const exchanges: Declaration[] = [];
  const queues: Declaration[] = [];
  const bindings: Declaration[] = [];
  for (const channel of topology.channels) {
    if (channel.kind === "topic") exchanges.push(exchangeDeclaration(channel.name));
  }
  for (const group of topology.groups) {
    const { channel, name, types } = group;
    const deadLetters = deadLetterQueue(channel, name);
    queues.push(queueDeclaration(deadLetters, deadLetterArguments));
    for (const { queue, typePrefix } of queuesOfGroup(group)) {
      queues.push(queueDeclaration(queue, inletArguments(deadLetters, deliveryLimit, channel.ordered)));
      bindings.push(bindingDeclaration(dueExchange, dueKeyOfQueue(queue), "queue", queue));
      if (channel.kind === "queue") continue;
      for (const type of types) {
        const key = typePrefix + type;
        bindings.push(bindingDeclaration(channel.name, key, "queue", queue));
        bindings.push(bindingDeclaration(dueExchange, dueKeyOfTopic(channel.name, key), "queue", queue));
      }
    }
  }
  return [...exchanges, ...queues, ...bindings];
}

/** A group's queues, and what stands before the types by which a topic gives to each. */
function queuesOfGroup({ channel, name }: Group): readonly { readonly queue: string; readonly typePrefix: string }[] {
  const inlet = inletQueue(channel, name);
  if (!channel.ordered) return [{ queue: inlet, typePrefix: "" }];
  return shards.map((shard) => ({ queue: shardQueue(inlet, shard), typePrefix: `${shard}.` }));
}

function inletArguments(deadLetters: string, deliveryLimit: number, ordered: boolean): Arguments {
  return {
    "x-queue-type": "quorum",
    "x-delivery-limit": deliveryLimit,
    "x-dead-letter-exchange": "",
    [deadLetterArgument]: deadLetters,
    // Without reject-publish the strategy silently falls back to at-most-once.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-consumer-timeout": consumerTimeoutMs,
    ...(ordered ? { "x-single-active-consumer": true } : {}),
  };
}
