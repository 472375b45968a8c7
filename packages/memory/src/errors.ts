/** The broker's answers as errors of Posthorn. */
import { PosthornError } from "@posthorn/core/transport";
import type { Refusal } from "./broker/source.ts";

export function refusalError(refusal: Refusal): PosthornError {
  return refusal.reason === "missing"
    ? new PosthornError("UNROUTABLE", `${refusal.detail} Declare it on a bus that provisions, or check the name.`)
    : new PosthornError("REJECTED", `${refusal.detail} Try again when its consumers have caught up.`);
}

export function missingSource(name: string): PosthornError {
  return new PosthornError(
    "UNROUTABLE",
    `There is no "${name}" on the broker. Declare it on a bus that provisions, or check the name.`,
  );
}

export function tooLarge(size: number, limit: number): PosthornError {
  return new PosthornError(
    "MESSAGE_TOO_LARGE",
    `The message has ${size} bytes of body and headers; the broker takes ${limit} (maxMessageBytes).`,
    { details: { size, limit } },
  );
}

export function notSent(why: string): PosthornError {
  return new PosthornError("CONNECTION_LOST", `The message was not sent: ${why}.`);
}

export function unknownOutcome(why: string): PosthornError {
  return new PosthornError(
    "UNKNOWN_OUTCOME",
    `The message was sent, but ${why} before the broker's answer came: it may have been accepted.`,
  );
}

export function aborted(what: string): PosthornError {
  return new PosthornError("ABORTED", `${what} was given up: its signal fired.`);
}

export function connectionLost(what: string): PosthornError {
  return new PosthornError("CONNECTION_LOST", `${what} ended early: the connection was lost.`);
}

export function closed(what: string): PosthornError {
  return new PosthornError("CLOSED", `${what}: the transport was closed.`);
}

export function noReplies(): PosthornError {
  return new PosthornError("UNSUPPORTED_CAPABILITY", "The memory broker has no reply inboxes.");
}
