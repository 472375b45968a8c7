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
}

/**
 * Resolves true once the copy is durable, so that the original can be accepted; false when the bus stopped or the lease was lost
 * before. Tries again as long as it takes.
 */
export type HandOver = (handover: Handover) => Promise<boolean>;

export function createHandingOver(
  settings: Pick<Settings, "observe" | "random" | "publishTimeoutMs">,
  dispatcher: Dispatcher,
  stopped: AbortSignal,
): HandOver {
  const { observe, random, publishTimeoutMs } = settings;
  return async ({ address, copies, facts, wait }) => {
    for (let failure = 1, copy = 0; ; failure++) {
      const message = copies[copy]?.();
      if (message === undefined) throw new RangeError("Nothing to hand over.");
      try {
        await dispatcher.dispatch(address, message, publishTimeoutMs, stopped);
        return true;
      } catch (error) {
        if (stopped.aborted) return false;
        const tooMuch = isPosthornError(error, "MESSAGE_TOO_LARGE") || isPosthornError(error, "INVALID_HEADER");
        if (tooMuch && copy < copies.length - 1) {
          copy++;
          continue;
        }
        const retryInMs = backoffDelay(handoverBackoff, failure, random());
        const name = "message.handover-failed";
        observe({ name, level: "error", message: facts, to: address.kind, error, retryInMs });
        if (!(await wait(retryInMs))) return false;
      }
    }
  };
}
