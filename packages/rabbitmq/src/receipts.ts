/** What became of a message, as the contract words it. */
import type { Message, Outbound, Receipt } from "@posthorn/core/transport";
import { failed, isPosthornError, messageOf, PosthornError } from "@posthorn/core/transport";
import type { Batch } from "./confirms.ts";
import { replyCode, replyCodes } from "./errors.ts";

export function rejected(): Receipt {
  return failed(
    new PosthornError(
      "REJECTED",
      "RabbitMQ refused to take the message now (basic.nack): the queue is full or has no quorum.",
    ),
  );
}

export function missing(kind: "queue" | "exchange", name: string): Receipt {
  return failed(
    new PosthornError("UNROUTABLE", `There is no ${kind} ${JSON.stringify(name)} on RabbitMQ.`, {
      details: { [kind]: name },
    }),
  );
}

export function noLadder(): Receipt {
  return failed(
    new PosthornError(
      "TRANSPORT_FAILED",
      'The queues by which RabbitMQ delays messages ("posthorn.delay…") are missing. Apply the topology again.',
    ),
  );
}

export function tooLarge(message: Message, maxMessageBytes: number): Receipt {
  const bytes = message.body.byteLength;
  return failed(
    new PosthornError(
      "MESSAGE_TOO_LARGE",
      `The body of message ${message.id} has ${bytes} bytes; RabbitMQ takes at most ${maxMessageBytes}.`,
      {
        details: { bytes, maxMessageBytes },
      },
    ),
  );
}

export function badHeaders(message: Message, problem: "MESSAGE_TOO_LARGE" | "INVALID_HEADER"): Receipt {
  const text =
    problem === "INVALID_HEADER"
      ? "A header's name is longer than 255 bytes"
      : "The headers do not fit into one AMQP frame";
  return failed(new PosthornError(problem, `${text} in message ${message.id}.`));
}

export function notEncodable(message: Message, cause: unknown): Receipt {
  return failed(
    new PosthornError("TRANSPORT_FAILED", `Message ${message.id} cannot be encoded: ${messageOf(cause)}`, { cause }),
  );
}

function unknown(cause?: unknown): Receipt {
  return failed(
    new PosthornError("UNKNOWN_OUTCOME", "RabbitMQ did not confirm the message; it may have taken it.", { cause }),
  );
}

/**
 * What a closed channel means for a message that was not confirmed.
 *
 * The broker does not say which message made it close the channel. The last one was not taken in any case. The others
 * were not either when the channel never confirmed anything: then the fault was there from the first one on.
 */
export function forClosedChannel(
  error: unknown,
  exchange: string,
  confirmedAny: boolean,
): (message: Message, isLast: boolean) => Receipt {
  const lost = unknown(error);
  const name = exchange === "" ? "the default exchange" : `exchange ${JSON.stringify(exchange)}`;
  switch (replyCode(error)) {
    case replyCodes.notFound: {
      const missing = failed(
        new PosthornError("UNROUTABLE", `There is no ${name} on RabbitMQ.`, { cause: error, details: { exchange } }),
      );
      return (_, isLast) => (isLast || !confirmedAny ? missing : lost);
    }
    case replyCodes.accessRefused: {
      const refused = failed(
        new PosthornError(
          "ACCESS_REFUSED",
          `The account may not publish to ${name} on RabbitMQ. Grant it the permission.`,
          { cause: error },
        ),
      );
      return (_, isLast) => (isLast || !confirmedAny ? refused : lost);
    }
    case replyCodes.preconditionFailed: {
      const sizes = /message size (\d+) is larger than configured max size (\d+)/.exec(messageOf(error));
      return (message) =>
        message.body.byteLength === Number(sizes?.[1]) ? tooLarge(message, Number(sizes?.[2])) : lost;
    }
    case undefined:
    default:
      return () => lost;
  }
}

/** A receipt for each message, when the dispatch is over for the given reason. */
export function complete(
  outbound: readonly Outbound[],
  batch: Batch | undefined,
  failure: unknown,
): readonly Receipt[] {
  let unsentReceipt: Receipt | undefined;
  let unknownReceipt: Receipt | undefined;
  return outbound.map((_, index) => {
    const receipt = batch?.receipts[index];
    if (receipt !== undefined) return receipt;
    if (batch !== undefined && index < batch.tried) return (unknownReceipt ??= unknown(failure));
    return (unsentReceipt ??= unsent(failure));
  });
}

function unsent(cause: unknown): Receipt {
  if (isPosthornError(cause, "UNSUPPORTED_CAPABILITY")) return failed(cause);
  return failed(
    new PosthornError(
      "CONNECTION_LOST",
      "There was no connection to RabbitMQ that takes messages; the message was not sent.",
      { cause },
    ),
  );
}
