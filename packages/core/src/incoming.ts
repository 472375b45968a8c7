/** From a message's bytes to what a handler gets. */
import type { Received } from "./handler.ts";
import type { AnyContract } from "./contract.ts";
import { isPosthornError, messageOf, PosthornError } from "./errors.ts";
import { visibleHeaders } from "./headers.ts";
import type { Message } from "./message.ts";
import { validate } from "./validation.ts";

/**
 * Decodes and parses the payload, afresh at every call.
 *
 * @returns a promise only where the schema validates asynchronously
 * @throws DECODE_FAILED, SCHEMA_VIOLATION
 */
export function readPayload(contract: AnyContract, message: Message): unknown {
  if (message.contentType !== "" && !contract.codec.accepts(message.contentType)) {
    throw new PosthornError(
      "DECODE_FAILED",
      `The content type ${JSON.stringify(message.contentType.slice(0, 100))} is not what ${JSON.stringify(contract.type)} is written in (${contract.codec.contentType}).`,
    );
  }
  return validate(contract, decode(contract, message));
}

function decode(contract: AnyContract, message: Message): unknown {
  try {
    return contract.codec.decode(message.body);
  } catch (error) {
    if (isPosthornError(error, "DECODE_FAILED")) throw error;
    throw new PosthornError(
      "DECODE_FAILED",
      `The body (${message.body.byteLength} bytes) cannot be read by the codec of ${JSON.stringify(contract.type)}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** What most handlers never look at is made when they do. */
export class ReceivedMessage implements Received<unknown> {
  readonly data: unknown;
  readonly #message: Message;
  #headers: Record<string, string> | undefined;

  constructor(message: Message, data: unknown) {
    this.#message = message;
    this.data = data;
  }

  get id(): string {
    return this.#message.id;
  }
  get type(): string {
    return this.#message.type;
  }
  get version(): number {
    return this.#message.version;
  }
  get source(): string {
    return this.#message.source;
  }
  get time(): Date {
    return new Date(this.#message.time);
  }
  get contentType(): string {
    return this.#message.contentType;
  }
  get key(): string | undefined {
    return this.#message.key;
  }
  get correlationId(): string {
    return this.#message.correlationId ?? this.#message.id;
  }
  get causationId(): string | undefined {
    return this.#message.causationId;
  }
  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= visibleHeaders(this.#message.headers);
    return this.#headers;
  }
}
