/** One message's life in: understand it, handle it as often as the policy allows, and say what the broker is to do with it. */
import { runHandling } from "./ambient.ts";
import { backoffDelay } from "./backoff.ts";
import { sleep } from "./clock.ts";
import { isStructured, messageFromStructured } from "./cloudevents.ts";
import type { ContextEnvironment } from "./context.ts";
import { HandlingContext } from "./context.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import type { Registration } from "./declarations.ts";
import { handlerKey } from "./declarations.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { isPosthornError, PosthornError } from "./errors.ts";
import type { Diagnosis } from "./giving-up.ts";
import { createGivingUp } from "./giving-up.ts";
import type { Context, Received } from "./handler.ts";
import { readPayload, ReceivedMessage } from "./incoming.ts";
import type { Limiter } from "./limiter.ts";
import type { Message } from "./message.ts";
import type { AroundHandling } from "./middleware.ts";
import type { MessageFacts } from "./observe.ts";
import { outcomeOf } from "./outcome.ts";
import type { Prefetch } from "./prefetch.ts";
import type { Settings } from "./settings.ts";
import type { Delivery, Settlement } from "./transport.ts";
import { isThenable } from "./validation.ts";

/** What a subscription's messages are handled with. */
export interface HandlingEnvironment extends ContextEnvironment {
  readonly settings: Settings;
  readonly limiter: Limiter;
  readonly prefetch: Prefetch;
  readonly dispatcher: Dispatcher;
  readonly around: AroundHandling | undefined;
  /** Fires when the bus begins to close: waits end, what runs may finish. */
  readonly closing: AbortSignal;
}

interface Failure {
  readonly error: unknown;
  /** Why the message never reached its handler. */
  readonly unreadable: DeadLetterReason | undefined;
}

/** Handles a delivery; the limiter says when. */
export type Handle = (delivery: Delivery) => Promise<Settlement>;

export function createHandling(environment: HandlingEnvironment): Handle {
  const { settings, intake, limiter, prefetch, around, closing, stopped } = environment;
  const { clock, observe, random } = settings;
  const giveUp = createGivingUp(environment);

  const facts = (message: Message, attempt: number): MessageFacts => ({
    id: message.id,
    type: message.type,
    channel: intake.channel,
    group: intake.group,
    attempt,
  });

  const release = (message: Message, attempt: number, reason: string): Settlement => {
    observe({ name: "message.released", level: "info", message: facts(message, attempt), reason });
    return "release";
  };

  /** Waits, unless the bus closes or the lease is lost: then false. */
  const pause = async (delivery: Delivery, delayMs: number): Promise<boolean> => {
    const signal = AbortSignal.any([closing, delivery.lost]);
    prefetch.waits(1);
    try {
      await sleep(clock, delayMs, signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    } finally {
      prefetch.waits(-1);
    }
  };

  /** What goes to the dead letters is the message as it came, whatever `message` was read from it. */
  const deadLetter = async (delivery: Delivery, message: Message, diagnosis: Diagnosis): Promise<Settlement> => {
    const told = facts(message, diagnosis.attempts);
    const durable = await giveUp(delivery.message, diagnosis, told, (delayMs) => pause(delivery, delayMs));
    return durable ? "accept" : release(message, diagnosis.attempts, "its dead letter was not accepted in time");
  };

  const unhandled = (
    delivery: Delivery,
    message: Message,
    reason: DeadLetterReason,
    error: unknown,
  ): Promise<Settlement> => deadLetter(delivery, message, { reason, error, attempts: 0, firstFailedAt: clock.now() });

  const find = (message: Message): Registration | undefined =>
    message.type === "" ? intake.untyped : intake.handlers.get(handlerKey(message.type, message.version));

  const attemptOnce = async (
    delivery: Delivery,
    message: Message,
    registration: Registration,
    attempt: number,
  ): Promise<Failure | undefined> => {
    let data: unknown;
    try {
      const read = readPayload(registration.contract, message);
      data = isThenable(read) ? await read : read;
    } catch (error) {
      return { error, unreadable: unreadableReason(error) };
    }
    const context = new HandlingContext(delivery, message, attempt, environment);
    try {
      const received = new ReceivedMessage(message, data);
      const handler = registration.handler as (message: Received<unknown>, context: Context) => unknown;
      await runHandling(message, () =>
        around === undefined
          ? handler(received, context)
          : around({ message: received, context }, async () => {
              await handler(received, context);
            }),
      );
      return undefined;
    } catch (error) {
      return { error, unreadable: undefined };
    } finally {
      context.end();
    }
  };

  const handle = async (delivery: Delivery, message: Message, registration: Registration): Promise<Settlement> => {
    const policy = registration.retry;
    let firstFailedAt = 0;
    for (let attempt = message.attempt; ; attempt++) {
      const slot = limiter.acquire();
      if (slot !== true) {
        if (slot === false || !(await slot)) return release(message, attempt, "the subscription stopped");
        if (delivery.lost.aborted) {
          limiter.release();
          return release(message, attempt, "its lease was lost");
        }
      }
      const startedAt = clock.now();
      const begun = clock.monotonic();
      const failure = await attemptOnce(delivery, message, registration, attempt);
      limiter.release();
      const durationMs = clock.monotonic() - begun;
      prefetch.handled(durationMs);
      // The settlement is void already, and a handler that was told to stop has not failed.
      if (stopped.aborted) return release(message, attempt, "the bus closed while it was handled");
      if (failure === undefined) {
        observe({ name: "message.handled", level: "debug", message: facts(message, attempt), durationMs });
        return "accept";
      }
      if (delivery.lost.aborted) return release(message, attempt, "its lease was lost while it was handled");

      const { error, unreadable } = failure;
      if (firstFailedAt === 0) firstFailedAt = startedAt;
      if (unreadable !== undefined) return unhandled(delivery, message, unreadable, error);
      const outcome = outcomeOf(error);
      if (outcome?.outcome === "discard") {
        observe({
          name: "message.discarded",
          level: "info",
          message: facts(message, attempt),
          reason: outcome.message,
        });
        return "accept";
      }
      if (outcome?.outcome === "dead-letter") {
        return deadLetter(delivery, message, {
          reason: "DEAD_LETTERED",
          error: outcome,
          attempts: attempt,
          firstFailedAt,
        });
      }
      if (attempt >= policy.attempts) {
        return deadLetter(delivery, message, { reason: "ATTEMPTS_EXHAUSTED", error, attempts: attempt, firstFailedAt });
      }
      const retryInMs = outcome?.delayMs ?? backoffDelay(policy.backoff, attempt, random());
      observe({ name: "message.failed", level: "info", message: facts(message, attempt), error, retryInMs });
      if (!(await pause(delivery, retryInMs))) {
        const why = closing.aborted ? "the bus closed between two attempts" : "its lease was lost";
        return release(message, attempt, why);
      }
    }
  };

  return async (delivery) => {
    let { message } = delivery;
    if (delivery.defect !== undefined) {
      return unhandled(delivery, message, "UNDECODABLE", new PosthornError("DECODE_FAILED", delivery.defect));
    }
    if (isStructured(message.contentType)) {
      try {
        message = messageFromStructured(message);
      } catch (error) {
        return unhandled(delivery, message, "UNDECODABLE", error);
      }
    }
    const registration = find(message);
    if (registration !== undefined) return handle(delivery, message, registration);
    if (intake.channel.kind === "topic" && message.type !== "" && !intake.types.has(message.type)) {
      observe({ name: "message.ignored", level: "debug", message: facts(message, message.attempt) });
      return "accept";
    }
    return unhandled(delivery, message, "NO_HANDLER", noHandler(message, intake));
  };
}

/** A schema that throws, rather than reports issues, may heal: that is a failure like a handler's. */
function unreadableReason(error: unknown): DeadLetterReason | undefined {
  if (isPosthornError(error, "SCHEMA_VIOLATION")) return "SCHEMA_VIOLATION";
  return isPosthornError(error, "DECODE_FAILED") ? "UNDECODABLE" : undefined;
}

function noHandler(message: Message, intake: ContextEnvironment["intake"]): PosthornError {
  const what =
    message.type === ""
      ? "Messages without a type have"
      : `The type ${JSON.stringify(message.type)} version ${message.version} has`;
  return new PosthornError(
    "UNDECLARED_CONTRACT",
    `${what} no handler in the group ${JSON.stringify(intake.group)} of ${JSON.stringify(intake.channel.name)}.`,
  );
}
