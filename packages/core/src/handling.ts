/** One message's life in: understand it, wait until it is due and its key is free, handle it, and say what the broker is to do with it. */
import type { AttemptsEnvironment } from "./attempts.ts";
import { createAttempts } from "./attempts.ts";
import { isStructured, messageFromStructured } from "./cloudevents.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import type { Intake, Registration } from "./declarations.ts";
import { handlerKey } from "./declarations.ts";
import { PosthornError } from "./errors.ts";
import { createKeyLanes } from "./key-lanes.ts";
import type { Message } from "./message.ts";
import { copyMessage } from "./message.ts";
import { defaultHoldMs } from "./retry.ts";
import { createSettling } from "./settling.ts";
import type { Delivery, Settlement } from "./transport.ts";

/** Handles a delivery; the limiter says when. */
export type Handle = (delivery: Delivery) => Promise<Settlement>;

export function createHandling(environment: AttemptsEnvironment): Handle {
  const { settings, intake } = environment;
  const { clock, observe } = settings;
  const settling = createSettling(environment);
  const attempts = createAttempts(environment, settling);
  const lanes = intake.channel.ordered ? createKeyLanes() : undefined;
  const delays = settings.transport.capabilities.delayedDelivery;

  const unhandled = (
    delivery: Delivery,
    message: Message,
    reason: DeadLetterReason,
    error: unknown,
  ): Promise<Settlement> =>
    settling.deadLetter(delivery, message, { reason, error, attempts: 0, firstFailedAt: clock.now() });

  /** The broker could not keep it so long, or the clocks differ. Resolves `undefined` once it is due. */
  const untilDue = async (delivery: Delivery, message: Message, notBefore: number): Promise<Settlement | undefined> => {
    // Timers and the clock may differ by a millisecond: look again.
    for (let dueInMs = notBefore - clock.now(); dueInMs > 0; dueInMs = notBefore - clock.now()) {
      observe({ name: "message.early", level: "debug", message: settling.facts(message, message.attempt), dueInMs });
      const settlement = dueInMs >= defaultHoldMs ? await settling.sendOn(delivery, message) : undefined;
      if (settlement !== undefined) return settlement;
      if (await settling.pause(delivery, dueInMs)) continue;
      return settling.release(message, message.attempt, "the bus closed, or its lease was lost, before it was due");
    }
    return undefined;
  };

  const handle = (delivery: Delivery, message: Message, registration: Registration): Promise<Settlement> => {
    if (lanes === undefined || message.key === undefined) return attempts(delivery, message, registration);
    return lanes.run(message.key, async () =>
      delivery.lost.aborted
        ? settling.release(message, message.attempt, "its lease was lost while it waited for its key")
        : attempts(delivery, message, registration),
    );
  };

  return async (delivery) => {
    let { message } = delivery;
    if (delivery.defect !== undefined) {
      return unhandled(delivery, message, "UNDECODABLE", new PosthornError("DECODE_FAILED", delivery.defect));
    }
    if (isStructured(message.contentType)) {
      try {
        message = fromStructured(message);
      } catch (error) {
        return unhandled(delivery, message, "UNDECODABLE", error);
      }
    }
    if (delays && message.notBefore !== undefined && message.notBefore > clock.now()) {
      const settlement = await untilDue(delivery, message, message.notBefore);
      if (settlement !== undefined) return settlement;
    }
    const registration = find(intake, message);
    if (registration !== undefined) return handle(delivery, message, registration);
    if (intake.channel.kind === "topic" && message.type !== "" && !intake.types.has(message.type)) {
      observe({ name: "message.ignored", level: "debug", message: settling.facts(message, message.attempt) });
      return "accept";
    }
    return unhandled(delivery, message, "NO_HANDLER", noHandler(message, intake));
  };
}

/** A redelivery is told by the envelope around the event, which stays as it came. */
function fromStructured(message: Message): Message {
  const event = messageFromStructured(message);
  return copyMessage(event, {
    attempt: Math.max(event.attempt, message.attempt),
    notBefore: message.notBefore ?? event.notBefore,
  });
}

function find(intake: Intake, message: Message): Registration | undefined {
  return message.type === "" ? intake.untyped : intake.handlers.get(handlerKey(message.type, message.version));
}

function noHandler(message: Message, intake: Intake): PosthornError {
  const what =
    message.type === ""
      ? "Messages without a type have"
      : `The type ${JSON.stringify(message.type)} version ${message.version} has`;
  return new PosthornError(
    "UNDECLARED_CONTRACT",
    `${what} no handler in the group ${JSON.stringify(intake.group)} of ${JSON.stringify(intake.channel.name)}.`,
  );
}
