/** From a delivery to its copy: durable first, then the original can be accepted. */
import type { DeadLetterAddress, InletAddress } from "./address.ts";
import type { Backoff } from "./backoff.ts";
import { backoffDelay } from "./backoff.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { isPosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { MessageFacts } from "./observe.ts";
import type { Settings } from "./settings.ts";

/** Between tries of a copy that the broker does not take. The original is kept meanwhile. */
const handoverBackoff: Backoff = { initialMs: 500, maxMs: 30_000 };

export interface Handover {
  readonly address: InletAddress | DeadLetterAddress;
  /** What to send; where the broker cannot carry one, the next, smaller one. */
  readonly copies: readonly (() => Message)[];
  readonly facts: MessageFacts;
  /** Waits; false when there is no more waiting. */
  readonly wait: (delayMs: number) => Promise<boolean>;
  /** There is another way where the broker cannot carry any of the copies. Default false: it is tried again. */
  readonly optional?: boolean;
}

/** `durable`: the original can be accepted. `given-up`: the bus stopped or the lease was lost before. */
export type HandoverResult = "durable" | "given-up" | "too-large";

/** Tries as long as it takes. */
export type HandOver = (handover: Handover) => Promise<HandoverResult>;

export function createHandingOver(
  settings: Pick<Settings, "observe" | "random" | "publishTimeoutMs">,
  dispatcher: Dispatcher,
  stopped: AbortSignal,
): HandOver {
  const { observe, random, publishTimeoutMs } = settings;
  return async ({ address, copies, facts, wait, optional = false }) => {
    for (let failure = 1, copy = 0; ; failure++) {
      const message = copies[copy]?.();
      if (message === undefined) throw new RangeError("Nothing to hand over.");
      try {
        await dispatcher.dispatch(address, message, publishTimeoutMs, stopped);
        return "durable";
      } catch (error) {
        if (stopped.aborted) return "given-up";
        const tooMuch = isPosthornError(error, "MESSAGE_TOO_LARGE") || isPosthornError(error, "INVALID_HEADER");
        if (tooMuch && copy < copies.length - 1) {
          copy++;
          continue;
        }
        if (tooMuch && optional) return "too-large";
        const retryInMs = backoffDelay(handoverBackoff, failure, random());
        const name = "message.handover-failed";
        observe({ name, level: "error", message: facts, to: address.kind, error, retryInMs });
        if (!(await wait(retryInMs))) return "given-up";
      }
    }
  };
}
