/** What a handler can throw to say more than "it failed". */
import { durationMs } from "./duration.ts";
import { carries } from "./errors.ts";

const brand = Symbol.for("posthorn.outcome");

/** Thrown by a handler. Made by {@link retryAfter}, {@link deadLetter} and {@link discard}. */
export interface Outcome extends Error {
  readonly outcome: "retry" | "dead-letter" | "discard";
  /** For `retry`: how long to wait, in milliseconds. */
  readonly delayMs?: number;
}

/** Why a handler gave its message this outcome. */
export interface OutcomeOptions {
  readonly cause?: unknown;
}

/**
 * Try again, but not before `delay`. Counts as an attempt. A long delay is spent on the broker; see {@link RetryPolicy.holdMs}.
 *
 * @param delay milliseconds, or a text such as `"500ms"`, `"30s"`, `"5m"`, `"2h"`
 * @throws RangeError for anything else
 */
export function retryAfter(delay: number | string, options?: OutcomeOptions): Outcome {
  const delayMs = durationMs(delay);
  if (!(delayMs >= 0 && Number.isFinite(delayMs)))
    throw new RangeError(`retryAfter takes milliseconds or a text such as "30s", not ${JSON.stringify(delay)}.`);
  return make("retry", `to be tried again after ${delayMs} ms`, options, delayMs);
}

/** Give the message up at once: it goes to the dead-letter channel with this reason as its error message. */
export function deadLetter(reason: string, options?: OutcomeOptions): Outcome {
  return make("dead-letter", reason, options);
}

/** Forget the message: it is neither handled nor kept. */
export function discard(reason: string, options?: OutcomeOptions): Outcome {
  return make("discard", reason, options);
}

const deepestCause = 5;

/** The outcome that was thrown, also when it was wrapped as the cause of another error. */
export function outcomeOf(thrown: unknown): Outcome | undefined {
  let current = thrown;
  for (let depth = 0; depth < deepestCause; depth++) {
    if (isOutcome(current)) return current;
    current = causeOf(current);
  }
  return undefined;
}

function isOutcome(thrown: unknown): thrown is Outcome {
  return carries(thrown, brand);
}

/** Total: a getter may throw. */
function causeOf(thrown: unknown): unknown {
  try {
    return thrown instanceof Error ? thrown.cause : undefined;
  } catch {
    return undefined;
  }
}

function make(
  outcome: Outcome["outcome"],
  message: string,
  options: OutcomeOptions | undefined,
  delayMs?: number,
): Outcome {
  const error = options?.cause === undefined ? new Error(message) : new Error(message, { cause: options.cause });
  error.name = "Outcome";
  return Object.assign(error, { [brand]: true, outcome, ...(delayMs === undefined ? {} : { delayMs }) });
}
