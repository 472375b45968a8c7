/**
 * What each error code means and whether trying the same call again can help.
 *
 * The keys are the complete list of codes; `docs/errors.md` has a line for each, and a test compares the two.
 */
export const errorCodes = {
  ABORTED: { retryable: false, means: "The caller's AbortSignal fired before the work was done." },
  ACCESS_REFUSED: { retryable: false, means: "The account may not do this on the broker." },
  AUTHENTICATION_FAILED: { retryable: false, means: "The broker refused the credentials." },
  BUFFER_FULL: { retryable: true, means: "More messages wait to be sent than the bus may hold." },
  CLOSED: { retryable: false, means: "The bus or transport was closed." },
  CONNECTION_FAILED: { retryable: true, means: "No connection to the broker could be made in time." },
  CONNECTION_LOST: {
    retryable: true,
    means: "The connection went away before the message was sent; it was not accepted.",
  },
  DECODE_FAILED: { retryable: false, means: "A body cannot be read by its contract's codec." },
  ENCODE_FAILED: { retryable: false, means: "A payload cannot be written by its contract's codec without loss." },
  HANDLING_TIMEOUT: { retryable: true, means: "A handler took longer than maxHandlingMs." },
  INVALID_DECLARATION: { retryable: false, means: "What the application declared contradicts itself." },
  INVALID_HEADER: { retryable: false, means: "A header's name or value cannot travel on every broker." },
  INVALID_NAME: { retryable: false, means: "A name cannot be carried by every broker." },
  INVALID_OPTION: { retryable: false, means: "An option is unknown or its value is out of range." },
  MESSAGE_TOO_LARGE: { retryable: false, means: "Body and headers together exceed the size limit." },
  NOT_STARTED: { retryable: false, means: "The bus was used before start() had resolved." },
  PUBLISH_TIMEOUT: { retryable: true, means: "The broker did not take the message in time; it was not sent." },
  REJECTED: { retryable: true, means: "The broker refused to take the message now." },
  SCHEMA_VIOLATION: { retryable: false, means: "A payload does not match its contract's schema." },
  TOPOLOGY_MISMATCH: {
    retryable: false,
    means: "The broker's queues or topics are missing or differ from what was declared.",
  },
  TRANSPORT_FAILED: { retryable: false, means: "The broker or its client failed in a way the adapter does not know." },
  UNDECLARED_CONTRACT: { retryable: false, means: "The contract was not declared on this bus before start()." },
  UNKNOWN_OUTCOME: {
    retryable: true,
    means: "The message was sent but not confirmed in time; it may have been accepted.",
  },
  UNKNOWN_TRANSPORT: { retryable: false, means: "No transport is registered for this URL scheme or name." },
  UNROUTABLE: { retryable: false, means: "The destination does not exist on the broker." },
  UNSUPPORTED_CAPABILITY: { retryable: false, means: "The chosen broker cannot do what the application asks for." },
} as const;

/** A stable name for what went wrong. Part of the public contract: a code is never renamed. */
export type ErrorCode = keyof typeof errorCodes;

const brand = Symbol.for("posthorn.error");

/** What an error may carry beside its code and message. */
export interface PosthornErrorOptions {
  /** What made it happen, as thrown by the broker's client or by a codec. */
  readonly cause?: unknown;
  /** Facts for programs: names, limits, schema issues. Never a secret, never a payload. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The one error class of Posthorn. Tell errors apart by `code`; recognise them by {@link isPosthornError}. */
export class PosthornError extends Error {
  override readonly name = "PosthornError";
  readonly code: ErrorCode;
  /** True where the same call may succeed later. */
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  /**
   * @param message what happened, to what, and what to do about it
   */
  constructor(code: ErrorCode, message: string, options: PosthornErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = errorCodes[code].retryable;
    this.details = options.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }
}

/**
 * Whether `error` is a Posthorn error, and of `code` when one is given.
 *
 * Works across copies of the package, where `instanceof` does not.
 */
export function isPosthornError(error: unknown, code?: ErrorCode): error is PosthornError {
  return carries(error, brand) && (code === undefined || ("code" in error && error.code === code));
}

/** Whether something thrown carries a mark. Total: even a revoked Proxy can be thrown. */
export function carries(thrown: unknown, mark: symbol): thrown is object {
  try {
    return typeof thrown === "object" && thrown !== null && mark in thrown;
  } catch {
    return false;
  }
}

/** The message of anything that can be thrown. Total: `message` may be anything, and a getter may throw. */
export function messageOf(thrown: unknown): string {
  try {
    const message: unknown = thrown instanceof Error ? thrown.message : thrown;
    return typeof message === "string" ? message : describeValue(message);
  } catch {
    return "something that cannot be described";
  }
}

/** The code of a Posthorn error, the name of another, the type of anything else. Total. */
export function nameOf(thrown: unknown): string {
  try {
    if (isPosthornError(thrown)) return thrown.code;
    const name: unknown = thrown instanceof Error ? thrown.name : typeof thrown;
    return typeof name === "string" ? name : "Error";
  } catch {
    return "unknown";
  }
}

function describeValue(value: unknown): string {
  return typeof value === "object" && value !== null ? (JSON.stringify(value) ?? "an object") : String(value);
}
