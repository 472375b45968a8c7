/** From a payload to a message: validate, encode, complete the envelope, check the size. */
import type { SendOptions } from "./handler.ts";
import type { AnyContract } from "./contract.ts";
import { isPosthornError, messageOf, PosthornError } from "./errors.ts";
import { controlCharacters, userHeaders } from "./headers.ts";
import { uuidv7 } from "./id.ts";
import type { Message } from "./message.ts";
import { messageBytes } from "./size.ts";
import { isThenable, validate } from "./validation.ts";

export interface OutgoingOptions {
  readonly source: string;
  readonly now: () => number;
  readonly maxMessageBytes: number;
  readonly delayedDelivery: boolean;
}

/**
 * @param cause the message being handled, whose flow the new one joins
 * @returns a promise only where the schema validates asynchronously
 * @throws SCHEMA_VIOLATION, ENCODE_FAILED, INVALID_HEADER, INVALID_OPTION, MESSAGE_TOO_LARGE, UNSUPPORTED_CAPABILITY
 */
export function makeMessage(
  contract: AnyContract,
  data: unknown,
  send: SendOptions,
  cause: Message | undefined,
  options: OutgoingOptions,
): Message | Promise<Message> {
  const checked = validate(contract, data);
  if (!isThenable(checked)) return encode(contract, data, send, cause, options);
  // Encoded at once: while it is checked the caller may change it.
  const encoded = attempt(() => encode(contract, data, send, cause, options));
  return Promise.resolve(checked).then(encoded);
}

/** Does it now, and gives or throws what came of it later. */
function attempt<Result>(work: () => Result): () => Result {
  try {
    const result = work();
    return () => result;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

function encode(
  contract: AnyContract,
  data: unknown,
  send: SendOptions,
  cause: Message | undefined,
  options: OutgoingOptions,
): Message {
  const time = options.now();
  const id = send.id === undefined ? uuidv7(time) : checkText("id", send.id);
  const message: Message = {
    id,
    type: contract.type,
    version: contract.version,
    source: options.source,
    time,
    contentType: contract.codec.contentType,
    key: keyOf(contract, data, send),
    correlationId:
      send.correlationId === undefined
        ? (cause?.correlationId ?? cause?.id ?? id)
        : checkText("correlationId", send.correlationId),
    causationId: send.causationId === undefined ? cause?.id : checkText("causationId", send.causationId),
    replyTo: undefined,
    notBefore: notBeforeOf(send, time, options),
    expiresAt: undefined,
    attempt: 1,
    traceparent: cause?.traceparent,
    tracestate: cause?.tracestate,
    baggage: cause?.baggage,
    headers: userHeaders(send.headers),
    body: encodeBody(contract, data),
  };
  const size = messageBytes(message);
  if (size > options.maxMessageBytes) {
    throw new PosthornError(
      "MESSAGE_TOO_LARGE",
      `The ${contract.kind} ${JSON.stringify(contract.type)} takes ${size} bytes with its headers, and at most ${options.maxMessageBytes} are allowed: send a reference to the data instead, or raise maxMessageBytes.`,
      { details: { type: contract.type, bytes: size, maxMessageBytes: options.maxMessageBytes } },
    );
  }
  return message;
}

function encodeBody(contract: AnyContract, data: unknown): Uint8Array {
  let body: unknown;
  try {
    body = contract.codec.encode(data);
  } catch (error) {
    if (isPosthornError(error)) throw error;
    throw encodeFailed(contract, `cannot be written by its codec: ${messageOf(error)}`, error);
  }
  if (body instanceof Uint8Array) return body;
  throw encodeFailed(contract, "was not written as a Uint8Array by its codec");
}

function encodeFailed(contract: AnyContract, why: string, cause?: unknown): PosthornError {
  return new PosthornError("ENCODE_FAILED", `The ${contract.kind} ${JSON.stringify(contract.type)} ${why}.`, { cause });
}

const longestText = 255;

function checkText(name: string, text: string): string {
  if (
    typeof text === "string" &&
    text !== "" &&
    text.length <= longestText &&
    text.isWellFormed() &&
    !controlCharacters.test(text)
  )
    return text;
  throw new PosthornError(
    "INVALID_OPTION",
    `The message's ${name} must be a text of 1 to ${longestText} characters without control characters.`,
    { details: { option: name } },
  );
}

function keyOf(contract: AnyContract, data: unknown, send: SendOptions): string | undefined {
  if (send.key !== undefined) return checkText("key", send.key);
  if (contract.keyOf === undefined) return undefined;
  let key: string;
  try {
    key = contract.keyOf(data as never);
  } catch (cause) {
    throw new PosthornError(
      "INVALID_OPTION",
      `The key of ${JSON.stringify(contract.type)} could not be read from the payload.`,
      {
        cause,
        details: { option: "key" },
      },
    );
  }
  return checkText("key", key);
}

function notBeforeOf(send: SendOptions, now: number, options: OutgoingOptions): number | undefined {
  const { notBefore, delayMs } = send;
  if (notBefore === undefined && delayMs === undefined) return undefined;
  if (notBefore !== undefined && delayMs !== undefined)
    refuseDelay("notBefore", "notBefore and delayMs were both given: a message has one time");
  if (delayMs !== undefined && !Number.isFinite(delayMs))
    refuseDelay("delayMs", `delayMs must be a number of milliseconds, not ${String(delayMs)}`);
  if (notBefore !== undefined && !(notBefore instanceof Date)) refuseDelay("notBefore", "notBefore must be a Date");
  const time = notBefore?.getTime() ?? Math.ceil(now + (delayMs ?? 0));
  if (Number.isNaN(new Date(time).getTime()))
    refuseDelay(
      notBefore === undefined ? "delayMs" : "notBefore",
      "The time of delivery is beyond what a Date can hold",
    );
  if (options.delayedDelivery) return time;
  throw new PosthornError(
    "UNSUPPORTED_CAPABILITY",
    "A delay was given (notBefore or delayMs), and the transport cannot delay messages.",
    {
      details: { capability: "delayedDelivery" },
    },
  );
}

function refuseDelay(option: string, why: string): never {
  throw new PosthornError("INVALID_OPTION", `${why}.`, { details: { option } });
}
