/** From a message that cannot be handled to its group's dead-letter channel. */
import { deadLetterAddress } from "./address.ts";
import type { Backoff } from "./backoff.ts";
import { backoffDelay } from "./backoff.ts";
import type { Death } from "./dead-letter.ts";
import { toDeadLetter, toMeagreDeadLetter } from "./dead-letter.ts";
import { isPosthornError } from "./errors.ts";
import type { HandlingEnvironment } from "./handling.ts";
import type { Message } from "./message.ts";
import type { MessageFacts } from "./observe.ts";

/** Between tries of a dead letter that the broker does not take. The message is kept meanwhile. */
const deadLetterBackoff: Backoff = { initialMs: 500, maxMs: 30_000 };

/** What is wrong with a message. */
export type Diagnosis = Pick<Death, "reason" | "error" | "attempts" | "firstFailedAt">;

/**
 * Resolves true once the dead letter is durable, so that the original can be accepted; false when the bus stopped or the lease
 * was lost before. Tries again as long as it takes.
 *
 * @param original the message as it came
 * @param wait waits; false when there is no more waiting
 */
export type GiveUp = (
  original: Message,
  diagnosis: Diagnosis,
  facts: MessageFacts,
  wait: (delayMs: number) => Promise<boolean>,
) => Promise<boolean>;

export function createGivingUp({ settings, intake, dispatcher, stopped }: HandlingEnvironment): GiveUp {
  const { clock, observe, random, publishTimeoutMs } = settings;
  const address = deadLetterAddress(intake.channel, intake.group);

  return async (original, diagnosis, facts, wait) => {
    const death: Death = {
      ...diagnosis,
      lastFailedAt: clock.now(),
      channel: intake.channel.name,
      group: intake.group,
      service: settings.service,
      serviceVersion: settings.serviceVersion,
    };
    // A foreign message may be so large that only a smaller copy fits.
    const copies = [
      () => toDeadLetter(original, death),
      () => toMeagreDeadLetter(original, death, true),
      () => toMeagreDeadLetter(original, death, false),
    ];
    for (let failure = 1, copy = 0; ; failure++) {
      const dead = copies[copy]?.() ?? toDeadLetter(original, death);
      try {
        await dispatcher.dispatch(address, dead, publishTimeoutMs, stopped);
        observe({
          name: "message.dead-lettered",
          level: "warn",
          message: facts,
          reason: death.reason,
          error: death.error,
        });
        return true;
      } catch (error) {
        if (stopped.aborted) return false;
        const tooMuch = isPosthornError(error, "MESSAGE_TOO_LARGE") || isPosthornError(error, "INVALID_HEADER");
        if (tooMuch && copy < copies.length - 1) {
          copy++;
          continue;
        }
        const retryInMs = backoffDelay(deadLetterBackoff, failure, random());
        observe({ name: "message.dead-letter-failed", level: "error", message: facts, error, retryInMs });
        if (!(await wait(retryInMs))) return false;
      }
    }
  };
}
