/** One message's life in: understand it, handle it as often as the policy allows, and say what the broker is to do with it. */
import type { DeadLetterAddress } from "./address.ts";
import { deadLetterAddress } from "./address.ts";
import { runHandling } from "./ambient.ts";
import type { Backoff } from "./backoff.ts";
import { backoffDelay } from "./backoff.ts";
import type { Context, Received } from "./handler.ts";
import { sleep } from "./clock.ts";
import type { ContextEnvironment } from "./context.ts";
import { HandlingContext } from "./context.ts";
import { isStructured, messageFromStructured } from "./cloudevents.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import { toDeadLetter } from "./dead-letter.ts";
import type { Registration } from "./declarations.ts";
import { handlerKey } from "./declarations.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { isPosthornError, PosthornError } from "./errors.ts";
import { readPayload, ReceivedMessage } from "./incoming.ts";
import type { Limiter } from "./limiter.ts";
import type { Message } from "./message.ts";
import type { AroundHandling } from "./middleware.ts";
import type { MessageFacts } from "./observe.ts";
import { outcomeOf } from "./outcome.ts";
import type { Prefetch } from "./prefetch.ts";
import type { Settings } from "./settings.ts";
import type { Delivery, Settlement } from "./transport.ts";

/** Between tries of a dead letter that the broker does not take. The message is kept meanwhile. */
const deadLetterBackoff: Backoff = { initialMs: 500, maxMs: 30_000 };

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

/** Handles a delivery; the limiter says when. Never throws. */
export type Handle = (delivery: Delivery) => Promise<Settlement>;

export function createHandling(environment: HandlingEnvironment): Handle {
  const { settings, intake, limiter, prefetch, dispatcher, around, closing, stopped } = environment;
  const { clock, observe, random } = settings;
  const deadLetters: DeadLetterAddress = deadLetterAddress(intake.channel, intake.group);

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

  /** The original is accepted only once its copy is durable. Until then it is kept. */
  const giveUp = async (
    delivery: Delivery,
    message: Message,
    reason: DeadLetterReason,
    error: unknown,
    attempts: number,
    firstFailedAt: number,
  ): Promise<Settlement> => {
    const dead = toDeadLetter(message, {
      reason,
      error,
      attempts,
      firstFailedAt,
      lastFailedAt: clock.now(),
      channel: intake.channel.name,
      group: intake.group,
      service: settings.service,
      serviceVersion: settings.serviceVersion,
    });
    for (let failure = 1; ; failure++) {
      try {
        await dispatcher.dispatch(deadLetters, dead, settings.publishTimeoutMs, stopped);
        observe({ name: "message.dead-lettered", level: "warn", message: facts(message, attempts), reason, error });
        return "accept";
      } catch (failed) {
        if (stopped.aborted) return release(message, attempts, "the bus closed before the dead letter was accepted");
        const retryInMs = backoffDelay(deadLetterBackoff, failure, random());
        observe({
          name: "message.dead-letter-failed",
          level: "error",
          message: facts(message, attempts),
          error: failed,
          retryInMs,
        });
        if (!(await pause(delivery, retryInMs))) return release(message, attempts, "its dead letter was not accepted");
      }
    }
  };

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
      data = read instanceof Promise ? await read : read;
    } catch (error) {
      return { error, unreadable: unreadableReason(error) };
    }
    try {
      const received = new ReceivedMessage(message, data);
      const context = new HandlingContext(delivery, message, attempt, environment);
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
    }
  };

  return async (delivery) => {
    let message = delivery.message;
    const arrivedAt = clock.now();
    if (delivery.defect !== undefined)
      return giveUp(
        delivery,
        message,
        "UNDECODABLE",
        new PosthornError("DECODE_FAILED", delivery.defect),
        0,
        arrivedAt,
      );
    if (isStructured(message.contentType)) {
      try {
        message = messageFromStructured(message);
      } catch (error) {
        return giveUp(delivery, message, "UNDECODABLE", error, 0, arrivedAt);
      }
    }
    const registration = find(message);
    if (registration === undefined) {
      if (intake.channel.kind === "topic" && message.type !== "" && !intake.types.has(message.type)) {
        observe({ name: "message.ignored", level: "debug", message: facts(message, message.attempt) });
        return "accept";
      }
      return giveUp(delivery, message, "NO_HANDLER", noHandler(message, intake), 0, arrivedAt);
    }

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
      const failure = await attemptOnce(delivery, message, registration, attempt);
      limiter.release();
      const now = clock.now();
      prefetch.handled(now - startedAt);
      if (failure === undefined) {
        observe({
          name: "message.handled",
          level: "debug",
          message: facts(message, attempt),
          durationMs: now - startedAt,
        });
        return "accept";
      }
      // A handler that was told to stop has not failed.
      if (stopped.aborted) return release(message, attempt, "the bus closed while it was handled");
      if (delivery.lost.aborted) return release(message, attempt, "its lease was lost while it was handled");

      const { error, unreadable } = failure;
      if (firstFailedAt === 0) firstFailedAt = startedAt;
      if (unreadable !== undefined) return giveUp(delivery, message, unreadable, error, 0, startedAt);
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
      if (outcome?.outcome === "dead-letter")
        return giveUp(delivery, message, "DEAD_LETTERED", outcome, attempt, firstFailedAt);
      if (attempt >= policy.attempts)
        return giveUp(delivery, message, "ATTEMPTS_EXHAUSTED", error, attempt, firstFailedAt);
      const retryInMs = outcome?.delayMs ?? backoffDelay(policy.backoff, attempt, random());
      observe({ name: "message.failed", level: "info", message: facts(message, attempt), error, retryInMs });
      if (!(await pause(delivery, retryInMs)))
        return release(
          message,
          attempt,
          closing.aborted ? "the bus closed between two attempts" : "its lease was lost",
        );
    }
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
