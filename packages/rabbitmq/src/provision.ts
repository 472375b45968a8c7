/** How declarations come to exist, or are compared. */
import type { Backoff, ProvisionMode, TopologyChange, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import type { Channel } from "amqplib";
import type { Connection } from "./connection.ts";
import { withChannel } from "./connection.ts";
import type { Declaration, ExchangeDeclaration, QueueDeclaration } from "./declarations.ts";
import { nameOf } from "./declarations.ts";
import { differenceOf, operationError, replyCode, replyCodes } from "./errors.ts";

/** Between tries to declare what the broker says is not there. */
const declareBackoff: Backoff = { initialMs: 50, maxMs: 1_000 };
const mostTries = 8;

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
      else if (
        missing.has(`${declaration.to} ${declaration.destination}`) ||
        missing.has(`exchange ${declaration.exchange}`)
      ) {
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
      await channel.assertExchange(declaration.name, "topic", { durable: true, arguments: declaration.arguments });
      return;
    case "binding": {
      const { exchange, routingKey, to, destination } = declaration;
      if (to === "queue") await channel.bindQueue(destination, exchange, routingKey);
      else await channel.bindExchange(destination, exchange, routingKey);
      return;
    }
  }
}

/** Existence first, by a passive declaration; only what exists is then declared, which compares it. */
async function inspect(channel: Channel, declaration: QueueDeclaration | ExchangeDeclaration): Promise<void> {
  await check(channel, declaration);
  await declare(channel, declaration);
}

async function check(channel: Channel, { kind, name }: QueueDeclaration | ExchangeDeclaration): Promise<void> {
  if (kind === "queue") await channel.checkQueue(name);
  else await channel.checkExchange(name);
}

/** Whether every queue and exchange is there, whatever its arguments: a quarter of the work of declaring them. */
export async function allExist(
  connection: Connection,
  declarations: readonly Declaration[],
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await withChannel(connection, signal, async (channel) => {
      for (const declaration of declarations) if (declaration.kind !== "binding") await check(channel, declaration);
    });
    return true;
  } catch (error) {
    if (replyCode(error) === replyCodes.notFound) return false;
    throw isPosthornError(error) ? error : operationError(error, "the delay queues");
  }
}

function changeOf(error: unknown, declaration: Declaration): TopologyChange | undefined {
  if (replyCode(error) === replyCodes.notFound) return missingChange(declaration);
  return differenceOf(error, declaration.kind, nameOf(declaration));
}

function missingChange(declaration: Declaration): TopologyChange {
  return { problem: "missing", object: declaration.kind, name: nameOf(declaration) };
}
