/** How a delivery ends that was not simply handled: given back, sent to its group again, or dead-lettered. */
import { deadLetterAddress, inletAddress } from "./address.ts";
import type { Intake } from "./declarations.ts";
import type { Death } from "./dead-letter.ts";
import { toDeadLetter, toMeagreDeadLetter, toRedelivered } from "./dead-letter.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { createHandingOver } from "./handing-over.ts";
import type { Message } from "./message.ts";
import type { MessageFacts } from "./observe.ts";
import type { Prefetch } from "./prefetch.ts";
import type { Settings } from "./settings.ts";
import type { Delivery, Settlement } from "./transport.ts";

export interface SettlingEnvironment {
  readonly settings: Settings;
  readonly intake: Intake;
  readonly prefetch: Prefetch;
  readonly dispatcher: Dispatcher;
  /** Fires when the subscription is stopped, or the bus begins to close: waits end, what runs may finish. */
  readonly closing: AbortSignal;
  /** Fires when the time to finish is over. */
  readonly stopped: AbortSignal;
}

/** What is wrong with a message. */
export type Diagnosis = Pick<Death, "reason" | "error" | "attempts" | "firstFailedAt">;

/** The next attempt at a message. */
export interface NextAttempt {
  readonly attempt: number;
  /** Milliseconds since the Unix epoch. */
  readonly notBefore: number;
  readonly firstFailedAt: number;
}

export interface Settling {
  readonly facts: (message: Message, attempt: number) => MessageFacts;
  readonly release: (message: Message, attempt: number, reason: string) => Settlement;
  /** Waits, unless the bus closes or the lease is lost: then false. */
  pause(delivery: Delivery, delayMs: number): Promise<boolean>;
  /** To the group's dead letters, as it came. */
  deadLetter(delivery: Delivery, message: Message, diagnosis: Diagnosis): Promise<Settlement>;
  /** To the group's inlet, as it came, for its next attempt. Resolves `undefined` where the broker cannot carry the copy. */
  redeliver(delivery: Delivery, message: Message, next: NextAttempt): Promise<Settlement | undefined>;
  /** To the group's inlet, because it came before its time. Resolves `undefined` where the broker cannot carry the copy. */
  sendOn(delivery: Delivery, message: Message): Promise<Settlement | undefined>;
}

export function createSettling(environment: SettlingEnvironment): Settling {
  const { settings, intake, prefetch, closing, stopped } = environment;
  const { clock, observe } = settings;
  const inlet = inletAddress(intake.channel, intake.group);
  const deadLetters = deadLetterAddress(intake.channel, intake.group);
  const handOver = createHandingOver(settings, environment.dispatcher, stopped);

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

  const pause = (delivery: Delivery, delayMs: number): Promise<boolean> =>
    new Promise((resolve) => {
      const { lost } = delivery;
      if (closing.aborted || lost.aborted) {
        resolve(false);
        return;
      }
      // Not AbortSignal.any: `closing` outlives all messages, and would keep something of each.
      const end = (waited: boolean): void => {
        timer.cancel();
        closing.removeEventListener("abort", giveUp);
        lost.removeEventListener("abort", giveUp);
        prefetch.waits(-1);
        resolve(waited);
      };
      const giveUp = (): void => end(false);
      prefetch.waits(1);
      const timer = clock.setTimeout(() => end(true), delayMs);
      closing.addEventListener("abort", giveUp);
      lost.addEventListener("abort", giveUp);
    });

  const toInlet = async (
    delivery: Delivery,
    message: Message,
    attempt: number,
    copy: Message,
  ): Promise<Settlement | undefined> => {
    const result = await handOver({
      address: inlet,
      copies: [() => copy],
      facts: facts(message, attempt),
      wait: (delayMs) => pause(delivery, delayMs),
      optional: true,
    });
    if (result === "too-large") return undefined;
    return result === "durable" ? "accept" : release(message, attempt, "it was not taken back in time");
  };

  return {
    facts,
    release,
    pause,
    async deadLetter(delivery, message, diagnosis) {
      const original = delivery.message;
      const death: Death = {
        ...diagnosis,
        lastFailedAt: clock.now(),
        channel: intake.channel.name,
        group: intake.group,
        service: settings.service,
        serviceVersion: settings.serviceVersion,
      };
      const told = facts(message, diagnosis.attempts);
      const result = await handOver({
        address: deadLetters,
        // A foreign message may be so large that only a smaller copy fits.
        copies: [
          () => toDeadLetter(original, death),
          () => toMeagreDeadLetter(original, death, true),
          () => toMeagreDeadLetter(original, death, false),
        ],
        facts: told,
        wait: (delayMs) => pause(delivery, delayMs),
      });
      if (result !== "durable") return release(message, diagnosis.attempts, "its dead letter was not accepted in time");
      const { reason, error } = death;
      observe({ name: "message.dead-lettered", level: "warn", message: told, reason, error });
      return "accept";
    },
    redeliver(delivery, message, { attempt, notBefore, firstFailedAt }) {
      const copy = toRedelivered(delivery.message, attempt, notBefore, firstFailedAt);
      return toInlet(delivery, message, attempt, copy);
    },
    sendOn: (delivery, message) => toInlet(delivery, message, message.attempt, delivery.message),
  };
}
