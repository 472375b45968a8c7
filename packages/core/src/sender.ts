/** One message's life out: the contract's address, the message, middleware, and the dispatcher. */
import type { SendOptions, Sent } from "./handler.ts";
import type { AnyContract } from "./contract.ts";
import type { Declarations } from "./declarations.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { AroundPublish } from "./middleware.ts";
import { makeMessage } from "./outgoing.ts";
import type { Settings } from "./settings.ts";
import { checkPositive } from "./settings.ts";

/** Sends or publishes; as part of the flow of `cause` where one is given. */
export type Sender = (
  contract: AnyContract,
  data: unknown,
  options: SendOptions,
  cause: Message | undefined,
) => Promise<Sent>;

export function createSender(
  settings: Settings,
  declarations: Declarations,
  dispatcher: Dispatcher,
  around: AroundPublish | undefined,
): Sender {
  const { observe, publishTimeoutMs } = settings;
  const outgoing = {
    source: settings.service,
    now: () => settings.clock.now(),
    maxMessageBytes: settings.maxMessageBytes,
    delayedDelivery: settings.transport.capabilities.delayedDelivery,
  };
  return async (contract, data, options, cause) => {
    const address = declarations.addressOf(contract);
    if (address === undefined) throw undeclared(contract);
    const timeoutMs =
      options.timeoutMs === undefined ? publishTimeoutMs : checkPositive("timeoutMs", options.timeoutMs);
    const made = makeMessage(contract, data, options, cause, outgoing);
    const message = made instanceof Promise ? await made : made;
    if (around === undefined) await dispatcher.dispatch(address, message, timeoutMs, options.signal);
    else {
      await around({ message, contract }, () => dispatcher.dispatch(address, message, timeoutMs, options.signal));
    }
    observe({ name: "message.sent", level: "debug", id: message.id, type: message.type, channel: contract.channel });
    return { id: message.id, correlationId: message.correlationId ?? message.id };
  };
}

function undeclared(contract: AnyContract): PosthornError {
  const what = `The ${contract.kind} ${JSON.stringify(contract.type)} version ${contract.version}`;
  return new PosthornError(
    "UNDECLARED_CONTRACT",
    `${what} was not declared on this bus: call bus.declare(…) with it before start().`,
    { details: { type: contract.type, version: contract.version, channel: contract.channel.name } },
  );
}
