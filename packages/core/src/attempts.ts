/** One message's attempts in this process, as many as the policy allows, and what becomes of it. */
import { runHandling } from "./ambient.ts";
import { backoffDelay } from "./backoff.ts";
import type { ContextEnvironment } from "./context.ts";
import { HandlingContext } from "./context.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import { firstFailureOf } from "./dead-letter.ts";
import type { Registration } from "./declarations.ts";
import { isPosthornError, PosthornError } from "./errors.ts";
import type { Context, Received } from "./handler.ts";
import { readPayload, ReceivedMessage } from "./incoming.ts";
import type { Limiter } from "./limiter.ts";
import type { Message } from "./message.ts";
import type { AroundHandling } from "./middleware.ts";
import { outcomeOf } from "./outcome.ts";
import { createOverdue } from "./overdue.ts";
import { defaultHoldMs } from "./retry.ts";
import type { NextAttempt, Settling, SettlingEnvironment } from "./settling.ts";
import type { Delivery, Settlement } from "./transport.ts";
import { isThenable } from "./validation.ts";

export interface AttemptsEnvironment extends ContextEnvironment, SettlingEnvironment {
  readonly limiter: Limiter;
  readonly around: AroundHandling | undefined;
  readonly maxHandlingMs: number;
}

/** Handles a message for which there is a handler; the limiter says when. */
export type Attempts = (delivery: Delivery, message: Message, registration: Registration) => Promise<Settlement>;

interface Failure {
  readonly error: unknown;
  /** Why the message never reached its handler. */
  readonly unreadable: DeadLetterReason | undefined;
}

/** One run of a handler. */
interface Run {
  readonly context: HandlingContext;
  readonly message: Message;
  /** Ends the attempt before its handler has ended. */
  readonly fail: (failure: Failure) => void;
}

export function createAttempts(environment: AttemptsEnvironment, settling: Settling): Attempts {
  const { settings, intake, limiter, prefetch, around, maxHandlingMs, stopped } = environment;
  const { clock, observe, random } = settings;
  const { facts, release } = settling;
  const { ordered } = intake.channel;
  /** Behind a message that went away to come back, the next of its key would be handled first. */
  const redelivers = settings.transport.capabilities.delayedDelivery && !ordered;

  const overdue = createOverdue<Run>(clock, maxHandlingMs, ({ context, message, fail }) => {
    const error = new PosthornError("HANDLING_TIMEOUT", `The handler took longer than ${maxHandlingMs} ms.`);
    observe({ name: "message.overdue", level: "error", message: facts(message, context.attempt), maxHandlingMs });
    context.expire(error);
    // On an ordered channel nobody else may begin before it has ended.
    if (!ordered) fail({ error, unreadable: undefined });
  });

  /** Resolves when the handler has ended, and only then gives its place back; `fail` may be called before. */
  const run = async (
    message: Message,
    registration: Registration,
    context: HandlingContext,
    fail: Run["fail"],
  ): Promise<Failure | undefined> => {
    const handler = registration.handler as (message: Received<unknown>, context: Context) => unknown;
    const running: Run = { context, message, fail };
    overdue.began(running);
    let reached = false;
    try {
      const payload = readPayload(registration.contract, message);
      const received = new ReceivedMessage(message, isThenable(payload) ? await payload : payload);
      reached = true;
      await runHandling(message, () =>
        around === undefined
          ? handler(received, context)
          : around({ message: received, context }, async () => {
              await handler(received, context);
            }),
      );
      return context.expired === undefined ? undefined : { error: context.expired, unreadable: undefined };
    } catch (error) {
      const unreadable = reached ? undefined : unreadableReason(error);
      return unreadable === undefined ? { error: context.expired ?? error, unreadable } : { error, unreadable };
    } finally {
      overdue.ended(running);
      context.end();
      limiter.release();
    }
  };

  const attemptOnce = (
    delivery: Delivery,
    message: Message,
    registration: Registration,
    attempt: number,
  ): Promise<Failure | undefined> => {
    const context = new HandlingContext(delivery, message, attempt, environment);
    const { promise, resolve } = Promise.withResolvers<Failure | undefined>();
    void run(message, registration, context, resolve).then(resolve);
    return promise;
  };

  /** What is known of a message that has failed here goes with it to whoever gets it next. */
  const handOn = async (
    delivery: Delivery,
    message: Message,
    next: NextAttempt,
    reason: string,
  ): Promise<Settlement> => {
    const known = redelivers && next.attempt > message.attempt && !delivery.lost.aborted;
    const settlement = known ? await settling.redeliver(delivery, message, next) : undefined;
    return settlement ?? release(message, next.attempt, reason);
  };

  return async (delivery, message, registration) => {
    const { attempts, backoff, holdMs = defaultHoldMs } = registration.retry;
    let firstFailedAt = firstFailureOf(delivery.message);
    for (let attempt = message.attempt; ; attempt++) {
      const slot = limiter.acquire();
      if (slot !== true) {
        if (slot === false || !(await slot)) {
          const next = { attempt, notBefore: clock.now(), firstFailedAt: firstFailedAt ?? clock.now() };
          return handOn(delivery, message, next, "the subscription stopped");
        }
        if (delivery.lost.aborted) {
          limiter.release();
          return release(message, attempt, "its lease was lost");
        }
      }
      const startedAt = clock.now();
      const begun = clock.monotonic();
      const failure = await attemptOnce(delivery, message, registration, attempt);
      const durationMs = clock.monotonic() - begun;
      prefetch.handled(durationMs);
      // The settlement is void already, and a handler that was told to stop has not failed.
      if (stopped.aborted) return release(message, attempt, "the bus closed while it was handled");
      if (delivery.lost.aborted) return release(message, attempt, "its lease was lost while it was handled");
      if (failure === undefined) {
        observe({ name: "message.handled", level: "debug", message: facts(message, attempt), durationMs });
        return "accept";
      }

      const { error, unreadable } = failure;
      firstFailedAt ??= startedAt;
      if (unreadable !== undefined) {
        return settling.deadLetter(delivery, message, { reason: unreadable, error, attempts: 0, firstFailedAt });
      }
      const outcome = outcomeOf(error);
      if (outcome?.outcome === "discard") {
        const { message: reason } = outcome;
        observe({ name: "message.discarded", level: "info", message: facts(message, attempt), reason });
        return "accept";
      }
      if (outcome?.outcome === "dead-letter" || attempt >= attempts) {
        return settling.deadLetter(delivery, message, {
          reason: outcome?.outcome === "dead-letter" ? "DEAD_LETTERED" : "ATTEMPTS_EXHAUSTED",
          error: outcome?.outcome === "dead-letter" ? outcome : error,
          attempts: attempt,
          firstFailedAt,
        });
      }
      const retryInMs = outcome?.delayMs ?? backoffDelay(backoff, attempt, random());
      const next = { attempt: attempt + 1, notBefore: timeAfter(clock.now(), retryInMs), firstFailedAt };
      // One that was overdue has had its lease for long, and its handler may still run here.
      const leaves = redelivers && (retryInMs >= holdMs || prefetch.full || isPosthornError(error, "HANDLING_TIMEOUT"));
      const waits = leaves ? "broker" : "process";
      observe({ name: "message.failed", level: "info", message: facts(message, attempt), error, retryInMs, waits });
      const settlement = leaves ? await settling.redeliver(delivery, message, next) : undefined;
      if (settlement !== undefined) return settlement;
      if (await settling.pause(delivery, retryInMs)) continue;
      if (delivery.lost.aborted) return release(message, attempt, "its lease was lost");
      return handOn(delivery, message, next, "the bus closed between two attempts");
    }
  };
}

/** The last moment that a date can hold. */
const latestTime = 8.64e15;

/** Whole milliseconds: what waits may be any number. */
function timeAfter(now: number, delayMs: number): number {
  return Math.min(Math.ceil(now + delayMs), latestTime);
}

/** A schema that throws, rather than reports issues, may heal: that is a failure like a handler's. */
function unreadableReason(error: unknown): DeadLetterReason | undefined {
  if (isPosthornError(error, "SCHEMA_VIOLATION")) return "SCHEMA_VIOLATION";
  return isPosthornError(error, "DECODE_FAILED") ? "UNDECODABLE" : undefined;
}
