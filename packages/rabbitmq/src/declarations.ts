/** Queues, exchanges and bindings as data. */

/** One thing to declare. Its `id` is unique. */
export type Declaration = QueueDeclaration | ExchangeDeclaration | BindingDeclaration;

export type Arguments = Readonly<Record<string, string | number | boolean>>;

export interface QueueDeclaration {
  readonly kind: "queue";
  readonly id: string;
  readonly name: string;
  readonly arguments: Arguments;
}

export interface ExchangeDeclaration {
  readonly kind: "exchange";
  readonly id: string;
  readonly name: string;
  readonly arguments: Arguments;
}

/** From an exchange to a queue or another exchange. */
export interface BindingDeclaration {
  readonly kind: "binding";
  readonly id: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly to: "queue" | "exchange";
  readonly destination: string;
}

export function queueDeclaration(name: string, args: Arguments): QueueDeclaration {
  return { kind: "queue", id: `queue ${name}`, name, arguments: args };
}

export function exchangeDeclaration(name: string, args: Arguments = {}): ExchangeDeclaration {
  return { kind: "exchange", id: `exchange ${name}`, name, arguments: args };
}

export function bindingDeclaration(
  exchange: string,
  routingKey: string,
  to: "queue" | "exchange",
  destination: string,
): BindingDeclaration {
  return {
    kind: "binding",
    id: `binding ${exchange} ${routingKey} ${destination}`,
    exchange,
    routingKey,
    to,
    destination,
  };
}

export function nameOf(declaration: Declaration): string {
  return declaration.kind === "binding"
    ? `${declaration.exchange} -> ${declaration.destination} (${declaration.routingKey})`
    : declaration.name;
}

/**
 * Practically none: a dead letter may be looked at without end. Not -1, which says so only since RabbitMQ 4.0: 3.10 drops
 * the message when it comes back for the second time. No limit at all means 20 since 4.0. And the same on every version,
 * since a queue's arguments must still be equal when it is declared again after an upgrade.
 */
export const noDeliveryLimit = 1_000_000_000;

export const deadLetterArgument = "x-dead-letter-routing-key";
