/** How a message that was not accepted ends, told by what is known of its tries. */
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";

/** What is known of a message's tries. */
export interface Tried {
  readonly message: Message;
  /** An earlier try may have landed. */
  readonly uncertain: boolean;
  readonly lastError: PosthornError | undefined;
}

export function timedOut(tried: Tried): PosthornError {
  if (tried.uncertain) return unknownOutcome(tried, "within its timeout");
  const why = tried.lastError?.message ?? "the broker takes nothing: it may be blocked, or the connection is down";
  return new PosthornError(
    "PUBLISH_TIMEOUT",
    `${capital(describe(tried))} was not sent within its timeout: ${why}`,
    more(tried),
  );
}

export function closedBefore(tried: Tried): PosthornError {
  if (tried.uncertain) return unknownOutcome(tried, "before the bus was closed");
  return new PosthornError("CLOSED", `The bus was closed before ${describe(tried)} was sent.`, more(tried));
}

export function unknownOutcome(tried: Tried, when: string): PosthornError {
  return new PosthornError(
    "UNKNOWN_OUTCOME",
    `${capital(describe(tried))} was sent, but the broker's answer did not come ${when}: it may have been accepted. Sending it again with the same id is safe.`,
    more(tried),
  );
}

export function abandoned(tried: Tried, mayHaveBeenAccepted: boolean, reason: unknown): PosthornError {
  const state = mayHaveBeenAccepted
    ? "it may have been accepted; sending it again with the same id is safe"
    : "it was not sent";
  return new PosthornError("ABORTED", `Sending ${describe(tried)} was given up by its signal: ${state}.`, {
    cause: reason,
    details: { id: tried.message.id, mayHaveBeenAccepted },
  });
}

export function bufferFull(messages: number, bytes: number): PosthornError {
  return new PosthornError(
    "BUFFER_FULL",
    `${messages} messages (${bytes} bytes) already wait to be accepted by the broker: await what is sent, or raise maxPendingMessages or maxPendingBytes.`,
    { details: { messages, bytes } },
  );
}

export function neverFits(message: Message, maxPendingBytes: number): PosthornError {
  const bytes = message.body.byteLength;
  return new PosthornError(
    "MESSAGE_TOO_LARGE",
    `The body of ${message.type} takes ${bytes} bytes, and maxPendingBytes is ${maxPendingBytes}: raise it, or send a reference to the data.`,
    { details: { bytes, maxPendingBytes } },
  );
}

function describe({ message }: Tried): string {
  return `the message ${message.id} (${message.type})`;
}

function more({ message, lastError }: Tried): { cause: unknown; details: Readonly<Record<string, unknown>> } {
  return { cause: lastError, details: { id: message.id } };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
