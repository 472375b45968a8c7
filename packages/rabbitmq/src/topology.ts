/** What a topology is on RabbitMQ, and how it comes to exist. */
import type { Backoff, ProvisionMode, Topology, TopologyChange, TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import type { Channel } from "amqplib";
import { abortable } from "./abort.ts";
import type { Connection } from "./connection.ts";
import { withChannel } from "./connection.ts";
import { differenceOf, operationError, replyCode, replyCodes } from "./errors.ts";
import { deadLetterQueue, inletQueue } from "./names.ts";

/** One thing to declare. Its `id` is unique. */
export type Declaration = QueueDeclaration | ExchangeDeclaration | BindingDeclaration;

interface QueueDeclaration {
  readonly kind: "queue";
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, string | number>>;
}

interface ExchangeDeclaration {
  readonly kind: "exchange";
  readonly id: string;
  readonly name: string;
}

interface BindingDeclaration {
  readonly kind: "binding";
  readonly id: string;
  readonly exchange: string;
  readonly queue: string;
  readonly routingKey: string;
}

/**
 * Practically none: a dead letter may be looked at without end. Not -1, which says so only since RabbitMQ 4.0: 3.10 drops
 * the message when it comes back for the second time. No limit at all means 20 since 4.0. And the same on every version,
 * since a queue's arguments must still be equal when it is declared again after an upgrade.
 */
const noDeliveryLimit = 1_000_000_000;

/** Between tries to declare what the broker says is not there. */
const declareBackoff: Backoff = { initialMs: 50, maxMs: 1_000 };
const mostTries = 8;

const deadLetterArgument = "x-dead-letter-routing-key";

/** In the order of declaration: a dead-letter queue before the queue that points to it, a binding last. */
export function declarationsOf(topology: Topology, deliveryLimit: number): readonly Declaration[] {
  const exchanges: Declaration[] = [];
  const queues: Declaration[] = [];
  const bindings: Declaration[] = [];
  for (const channel of topology.channels) {
    if (channel.kind === "topic")
      exchanges.push({ kind: "exchange", id: `exchange ${channel.name}`, name: channel.name });
  }
  for (const { channel, name, types } of topology.groups) {
    const inlet = inletQueue(channel, name);
    const deadLetters = deadLetterQueue(channel, name);
    queues.push(queueDeclaration(deadLetters, { "x-queue-type": "quorum", "x-delivery-limit": noDeliveryLimit }));
    queues.push(
      queueDeclaration(inlet, {
        "x-queue-type": "quorum",
        "x-delivery-limit": deliveryLimit,
        "x-dead-letter-exchange": "",
        [deadLetterArgument]: deadLetters,
        // Without reject-publish the strategy silently falls back to at-most-once.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      }),
    );
    if (channel.kind === "queue") continue;
    for (const type of types) {
      bindings.push({
        kind: "binding",
        id: `binding ${channel.name} ${type} ${inlet}`,
        exchange: channel.name,
        queue: inlet,
        routingKey: type,
      });
    }
  }
  return [...exchanges, ...queues, ...bindings];
}

function queueDeclaration(name: string, args: Readonly<Record<string, string | number>>): Declaration {
  return { kind: "queue", id: `queue ${name}`, name, arguments: args };
}

/**
 * @returns what cannot be applied; in the other modes whatever is missing or different. Bindings are an exception: AMQP
 * has no way to look at one, so those of an existing queue and exchange are taken to exist.
 */
export async function provision(
  connection: Connection,
  declarations: readonly Declaration[],
  mode: ProvisionMode,
  signal: AbortSignal,
  environment: TransportEnvironment,
): Promise<readonly TopologyChange[]> {
  const changes: TopologyChange[] = [];
  const missing = new Set<string>();
  let next = 0;
  let failures = 0;
  const work = async (channel: Channel): Promise<void> => {
    while (next < declarations.length) {
      const declaration = declarations[next++];
      if (declaration === undefined) return;
      if (mode === "apply") await declare(channel, declaration);
      else if (declaration.kind !== "binding") await inspect(channel, declaration);
      else if (missing.has(`queue ${declaration.queue}`) || missing.has(`exchange ${declaration.exchange}`)) {
        changes.push(missingChange(declaration));
      }
    }
  };
  while (next < declarations.length) {
    try {
      await withChannel(connection, signal, work);
    } catch (error) {
      // The refused declaration took the channel with it; a new one goes on with the next.
      const declaration = declarations[next - 1];
      if (declaration === undefined || isPosthornError(error)) throw error;
      const change = changeOf(error, declaration);
      // What is being declared by many at once, or deleted meanwhile, can be missing for a moment.
      if (mode === "apply" && change?.problem === "missing" && ++failures < mostTries) {
        next--;
        const delayMs = backoffDelay(declareBackoff, failures, environment.random());
        await abortable(sleep(environment.clock, delayMs, signal), signal);
        continue;
      }
      if (change !== undefined) {
        changes.push(change);
        if (change.problem === "missing") missing.add(declaration.id);
      } else if (mode === "apply" || replyCode(error) !== replyCodes.accessRefused) {
        throw operationError(error, `${declaration.kind} ${JSON.stringify(nameOf(declaration))}`);
      }
      // Who may not declare may not compare either: in the other modes all that can be known is that it exists.
    }
  }
  return changes;
}

async function declare(channel: Channel, declaration: Declaration): Promise<void> {
  switch (declaration.kind) {
    case "queue":
      await channel.assertQueue(declaration.name, { durable: true, arguments: declaration.arguments });
      return;
    case "exchange":
      await channel.assertExchange(declaration.name, "topic", { durable: true });
      return;
    case "binding":
      await channel.bindQueue(declaration.queue, declaration.exchange, declaration.routingKey);
      return;
  }
}

/** Existence first, by a passive declaration; only what exists is then declared, which compares it. */
async function inspect(channel: Channel, declaration: QueueDeclaration | ExchangeDeclaration): Promise<void> {
  if (declaration.kind === "queue") await channel.checkQueue(declaration.name);
  else await channel.checkExchange(declaration.name);
  await declare(channel, declaration);
}

function changeOf(error: unknown, declaration: Declaration): TopologyChange | undefined {
  if (replyCode(error) === replyCodes.notFound) return missingChange(declaration);
  return differenceOf(error, declaration.kind, nameOf(declaration));
}

function missingChange(declaration: Declaration): TopologyChange {
  return { problem: "missing", object: declaration.kind, name: nameOf(declaration) };
}

function nameOf(declaration: Declaration): string {
  return declaration.kind === "binding"
    ? `${declaration.exchange} -> ${declaration.queue} (${declaration.routingKey})`
    : declaration.name;
}

/** What was applied, to make it exist again where the broker has lost it. */
export interface AppliedTopology {
  remember(declarations: readonly Declaration[]): void;
  hasQueue(name: string): boolean;
  /** Makes a queue exist again, with its dead letters and bindings. */
  restore(connection: Connection, queue: string, signal: AbortSignal): Promise<void>;
}

export function createAppliedTopology(environment: TransportEnvironment): AppliedTopology {
  const applied = new Map<string, Declaration>();
  const belongsTo = (queue: string): ((declaration: Declaration) => boolean) => {
    const names = new Set([queue]);
    for (const declaration of applied.values()) {
      if (declaration.kind === "binding" && declaration.queue === queue) names.add(declaration.exchange);
      if (declaration.kind === "queue" && declaration.name === queue)
        names.add(String(declaration.arguments[deadLetterArgument]));
    }
    return (declaration) => names.has(declaration.kind === "binding" ? declaration.queue : declaration.name);
  };
  return {
    remember(declarations) {
      for (const declaration of declarations) applied.set(declaration.id, declaration);
    },
    hasQueue(name) {
      return applied.has(`queue ${name}`);
    },
    async restore(connection, queue, signal) {
      const order = { exchange: 0, queue: 1, binding: 2 };
      const declarations = [...applied.values()].filter(belongsTo(queue)).sort((a, b) => order[a.kind] - order[b.kind]);
      await provision(connection, declarations, "apply", signal, environment);
    },
  };
}
