/** What the AWS SDK throws, as a {@link RequestFailure}. */
import { messageOf } from "@posthorn/core/transport";
import { RequestFailure } from "./aws.ts";
import { badChecksum, classOf, unreadableAnswer } from "./errors.ts";

/** How far a request came. */
export interface Passage {
  /** It was signed, and given to the HTTP client. */
  handed: boolean;
  /** All of an answer was read, and it was no refusal. */
  answered: boolean;
}

/** What is looked at of an error. It has `$fault` when the service sent it, `$metadata` when there was an answer at all. */
interface Thrown {
  readonly name: string;
  readonly code?: unknown;
  readonly syscall?: unknown;
  readonly $fault?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
}

export function failureOf(thrown: unknown, { handed, answered }: Passage): RequestFailure {
  const error: Error & Thrown = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
  // The SDK compares checksums after the answer is read, and throws nothing else then.
  if (answered)
    return new RequestFailure(error.message, { sent: true, code: badChecksum, httpStatus: 200 }, { cause: error });
  const httpStatus = error.$metadata?.httpStatusCode;
  if (httpStatus === undefined || isCut(error)) {
    const sent = handed && !isBeforeSending(error);
    return new RequestFailure(describe(error), { sent }, { cause: error });
  }
  if (error.$fault === undefined) {
    const text = `HTTP ${httpStatus} with an answer that is none of AWS.`;
    return new RequestFailure(text, { sent: true, code: unreadableAnswer, httpStatus }, { cause: error });
  }
  const code = codeOf(error.name);
  // AWS repeats what was signed with them, session token and all.
  if (classOf(code, httpStatus) === "authentication")
    return new RequestFailure("AWS refused the credentials.", { sent: true, code, httpStatus });
  return new RequestFailure(error.message, { sent: true, code, httpStatus }, { cause: error });
}

/**
 * Whether the request was refused for the computer's clock, whose deviation the SDK has just learnt: signed anew, it may be accepted.
 * Its own retry would see to that.
 */
export function isWrongClock(thrown: unknown): boolean {
  const { clockSkewCorrected, httpStatusCode = 0 } = (thrown as Partial<Thrown> | undefined)?.$metadata ?? {};
  return clockSkewCorrected === true && httpStatusCode >= 400 && httpStatusCode < 500;
}

/** Without the namespace that `com.amazonaws.sqs#QueueDoesNotExist` and `AWS.SimpleQueueService.NonExistentQueue` bear; `KMS.NotFound` is about a key. */
export function codeOf(name: string): string {
  return name.replace(/^KMS\./i, "KMS").replace(/^.*[.#]/, "");
}

/** Whether the connection ended within the answer. The SDK tells the status of the half that came. */
function isCut({ name, code, $fault }: Thrown): boolean {
  return $fault === undefined && (typeof code === "string" || name === "TimeoutError");
}

/** Whether there was no connection yet that could have carried the request. */
function isBeforeSending(error: Error & Thrown): boolean {
  // One for each address of the host.
  if (error instanceof AggregateError) return error.errors.every(isBeforeSending);
  return (
    error.syscall === "connect" ||
    error.syscall === "getaddrinfo" ||
    (error.name === "TimeoutError" && error.message.includes("did not establish a connection")) ||
    error.message.includes("before secure TLS connection was established") ||
    (typeof error.code === "string" && untrusted.test(error.code))
  );
}

/** Of a certificate. */
const untrusted = /^(?:ERR_TLS_CERT|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH)/;

function describe(error: Error): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error.message;
}
