import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AwsError,
  type AwsRequest,
  type AwsTrouble,
  emptyBatchAnswer,
  errorAnswer,
  errorOf,
  type HttpAnswer,
  withEntries,
  withFailed,
} from "./sqs-wire.ts";

/** What happens to a request. `before`: the broker never hears of it. `after`: it has done what was asked. */
export type HttpFault =
  /** Answered with an error, and not passed on. */
  | { readonly kind: "error"; readonly error: AwsTrouble | AwsError }
  /** The connection is reset. */
  | { readonly kind: "reset"; readonly when: "before" | "after" }
  /** There never is an answer; the connection stays. */
  | { readonly kind: "silence"; readonly when: "before" | "after" }
  /** The connection is reset in the middle of the answer. */
  | { readonly kind: "cut-answer" }
  /** The answer comes that much later. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Waits until the fault is lifted, then is passed on as if nothing had been. */
  | { readonly kind: "hold" }
  | FailEntries;

/** Entries of a batch, by their index, are not passed on, and answered as `Failed`. What is no batch passes. */
export interface FailEntries {
  readonly kind: "fail-entries";
  readonly fails: (index: number) => boolean;
  readonly error: AwsTrouble | AwsError;
}

/** Which requests a fault is for; every one, where nothing is said. */
export interface FaultScope {
  /** For example `["SendMessage", "SendMessageBatch"]`. */
  readonly actions?: readonly string[];
  /** How the queue's URL or the topic's ARN ends. */
  readonly resource?: string;
  /** How many requests have it, before it lifts itself; without end if absent. */
  readonly times?: number;
}

export interface InjectedFault extends Disposable {
  /** How many requests have had it. */
  readonly hits: number;
  /** May be called more than once. */
  lift(): void;
}

/** A request on its way. */
export interface Exchange extends AwsRequest {
  readonly body: Buffer;
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal;
}

/** What the client of a request gets to see. */
export type Outcome = HttpAnswer | HalfAnswer | "reset" | "silence";

export interface HalfAnswer {
  readonly half: HttpAnswer;
}

export interface HttpFaults {
  /** From now on, requests that fit have the fault; where several faults fit, the one that was injected last. */
  readonly inject: (fault: HttpFault, scope?: FaultScope) => InjectedFault;
  /** @param forward asks the broker */
  outcomeOf(exchange: Exchange, forward: (body: Buffer) => Promise<HttpAnswer>): Promise<Outcome>;
}

interface ActiveFault {
  readonly fault: HttpFault;
  readonly lifted: Promise<void>;
  fits(request: AwsRequest): boolean;
  /** Counts a request. */
  hit(): void;
}

export function httpFaults(): HttpFaults {
  const active: ActiveFault[] = []; // the last one first
  return {
    inject(fault, { actions, resource = "", times = Infinity } = {}) {
      const { promise: lifted, resolve: release } = Promise.withResolvers<void>();
      let hits = 0;
      const own: ActiveFault = {
        fault,
        lifted,
        fits: (request) =>
          (actions === undefined || actions.includes(request.action)) && request.resource.endsWith(resource),
        hit() {
          hits++;
          if (hits === times) remove();
        },
      };
      const remove = (): void => {
        if (active.includes(own)) active.splice(active.indexOf(own), 1);
      };
      const lift = (): void => {
        remove();
        release();
      };
      active.unshift(own);
      return {
        get hits() {
          return hits;
        },
        lift,
        [Symbol.dispose]: lift,
      };
    },
    async outcomeOf(exchange, forward) {
      const own = active.find((fault) => fault.fits(exchange));
      own?.hit();
      return own === undefined ? forward(exchange.body) : suffer(own, exchange, forward);
    },
  };
}

async function suffer(
  { fault, lifted }: ActiveFault,
  exchange: Exchange,
  forward: (body: Buffer) => Promise<HttpAnswer>,
): Promise<Outcome> {
  const { body, gone } = exchange;
  switch (fault.kind) {
    case "error":
      return errorAnswer(exchange, fault.error);
    case "reset":
    case "silence":
      if (fault.when === "after") await forward(body);
      return fault.kind;
    case "cut-answer":
      return { half: await forward(body) };
    case "delay": {
      const answer = await forward(body);
      await sleep(fault.ms, undefined, { signal: gone });
      return answer;
    }
    case "hold":
      await Promise.race([lifted, once(gone, "abort")]);
      return gone.aborted ? "silence" : forward(body);
    default:
      return failEntries(fault, exchange, forward);
  }
}

async function failEntries(
  { fails, error }: FailEntries,
  exchange: Exchange,
  forward: (body: Buffer) => Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  const indices = exchange.entries.map((_, index) => index);
  const failed = indices.filter(fails);
  if (failed.length === 0) return forward(exchange.body);
  const passed = indices.filter((index) => !failed.includes(index));
  const answer =
    passed.length === 0 ? emptyBatchAnswer(exchange) : await forward(withEntries(exchange, exchange.body, passed));
  // A batch that failed as a whole has no entries.
  return answer.status === 200 ? withFailed(exchange, answer, failed, errorOf(exchange.service, error)) : answer;
}
