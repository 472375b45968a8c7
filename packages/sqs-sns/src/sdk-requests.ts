/** How requests of the AWS SDK are sent, given up, and ended together. */
import { abortable } from "@posthorn/core/transport";
import { RequestFailure } from "./aws.ts";
import type { Passage } from "./sdk-failures.ts";
import { failureOf, isWrongClock } from "./sdk-failures.ts";

/** What the SDK takes with a command. */
export interface SendOptions {
  readonly abortSignal: AbortSignal;
  /** In milliseconds. */
  readonly requestTimeout: number;
}

export interface Requests {
  /**
   * @param command the one that `send` sends
   * @throws RequestFailure; the signal's reason, at once
   */
  ask<Output>(
    command: { readonly input: object },
    send: (options: SendOptions) => Promise<Output>,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<Output>;
  /** A middleware for the beginning of the step `deserialize`: between it and the network there is nothing but the reading of the answer. */
  readonly passing: <Args extends { input: object }, Result>(
    next: (args: Args) => Promise<Result>,
  ) => (args: Args) => Promise<Result>;
  /** Ends those that are under way, and refuses all others. */
  close(): void;
}

/** @param onUnanswered what broke one connection has mostly broken the idle ones, which only do not know it yet */
export function createRequests(onUnanswered: () => void): Requests {
  const running = new Set<AbortController>();
  /** By the commands' inputs. */
  const passages = new WeakMap<object, Passage>();
  let closed = false;

  async function ask<Output>(
    command: { readonly input: object },
    send: (options: SendOptions) => Promise<Output>,
    signal: AbortSignal,
    timeoutMs: number,
    isSecondTry = false,
  ): Promise<Output> {
    signal.throwIfAborted();
    if (closed) throw new RequestFailure("The transport is closed.", { sent: false });
    const passage: Passage = { handed: false, answered: false };
    passages.set(command.input, passage);
    const own = new AbortController();
    const giveUp = (): void => own.abort(signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    running.add(own);
    try {
      return await abortable(send({ abortSignal: own.signal, requestTimeout: timeoutMs }), own.signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (closed) throw new RequestFailure("The transport was closed.", { sent: passage.handed });
      if (!isWrongClock(error) || isSecondTry) {
        const failure = failureOf(error, passage);
        if (failure.httpStatus === undefined) onUnanswered();
        throw failure;
      }
    } finally {
      signal.removeEventListener("abort", giveUp);
      running.delete(own);
    }
    return ask(command, send, signal, timeoutMs, true);
  }

  return {
    ask,
    passing: (next) => async (args) => {
      const passage = passages.get(args.input);
      if (passage !== undefined) passage.handed = true;
      const result = await next(args);
      if (passage !== undefined) passage.answered = true;
      return result;
    },
    close() {
      closed = true;
      for (const request of running) request.abort();
    },
  };
}
