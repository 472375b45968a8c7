/**
 * What AWS's error codes mean. SQS and SNS have names of their own for the same thing, each in two protocols, and other servers have
 * more: so they are told by how they end.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
 */
import { messageOf, PosthornError } from "@posthorn/core/transport";
import { RequestFailure } from "./aws.ts";

/**
 * What is to be done about an error.
 *
 * - `missing`: queue, topic or subscription does not exist.
 * - `throttled`, `passing`: the same request may succeed later.
 * - `access`, `authentication`: the account may not do this; the credentials are no good.
 * - `too-large`, `invalid`: so it can never be taken.
 * - `stale`: the receipt handle is out of use; the message belongs to somebody else, or to nobody.
 * - `fatal`: all else.
 */
export type FailureClass =
  | "missing"
  | "throttled"
  | "access"
  | "authentication"
  | "too-large"
  | "invalid"
  | "stale"
  | "passing"
  | "fatal";

/** A batch was answered without a word of an entry. */
export const noResult = "NoResult";
/** What came back is not what was sent, or cannot be checked. */
export const badChecksum = "BadChecksum";
/** The answer is in no protocol of AWS. */
export const unreadableAnswer = "UnreadableAnswer";

/** Ends of codes, without an `Exception` behind them. The first that fits counts. */
const endings: readonly (readonly [RegExp, FailureClass])[] = [
  // SNS says 403 when an account has too many of them: no permission helps.
  [/(?:FilterPolicy|Subscription|Topic|Tag)LimitExceeded$/, "fatal"],
  [/(?:QueueDoesNotExist|NonExistentQueue|NotFound|NoSuchEntity)$/, "missing"],
  [/(?:Throttled|Throttling|TooManyRequests|RequestLimitExceeded|SlowDown|OverLimit)$/, "throttled"],
  [
    /(?:UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidSignature|IncompleteSignature|MissingAuthenticationToken|AuthFailure|InvalidToken|ExpiredToken|TokenRefreshRequired|RequestExpired|RequestInTheFuture|RequestTimeTooSkewed)$/,
    "authentication",
  ],
  [/(?:AccessDenied|AuthorizationError|NotAuthorized|OptInRequired)$/, "access"],
  [/(?:TooLong|TooLarge)$/, "too-large"],
  [/(?:ReceiptHandleIsInvalid|MessageNotInflight|InvalidIdFormat)$/, "stale"],
  [
    /(?:InvalidMessageContents|InvalidParameterValue|InvalidParameter|ParameterValueInvalid|^Validation(?:Error)?)$/,
    "invalid",
  ],
  [
    /(?:InternalError|InternalFailure|InternalServerError|ServiceUnavailable|QueueDeletedRecently|PurgeQueueInProgress|ConcurrentAccess|RequestTimeout)$/,
    "passing",
  ],
];
/** Of KMS there is no key for the queue, which does not mean that there is no queue. */
const kms = /^kms(?:NotFound|OptInRequired)/i;

/** @param code without a namespace */
export function classOf(code: string | undefined, httpStatus?: number): FailureClass {
  const name = code?.replace(/Exception$/, "") ?? "";
  if (kms.test(name)) return "fatal";
  const known = endings.find(([ending]) => ending.test(name));
  if (known !== undefined) return known[1];
  switch (httpStatus) {
    case 401:
      return "authentication";
    case 403:
      return "access";
    case 413:
      return "too-large";
    case 429:
      return "throttled";
    default:
      return httpStatus !== undefined && httpStatus >= 500 ? "passing" : "fatal";
  }
}

/** Whether the service said anything, even if it was no. */
export function isAnswered(failure: RequestFailure): boolean {
  return failure.httpStatus !== undefined;
}

/** SQS says only in the text that a body is too large, and that the lease of a FIFO queue's message is over. */
const tooLargeText = /must be shorter than|too long|too large/i;

/**
 * An error of AWS as one of Posthorn.
 *
 * @param failure of a request, or of one entry of a batch
 * @param what such as `queue "orders"`
 */
export function awsError(
  failure: RequestFailure | { readonly code: string; readonly message: string },
  what: string,
): PosthornError {
  const request = failure instanceof RequestFailure ? failure : undefined;
  if (request !== undefined && !isAnswered(request)) return request.sent ? unknownOutcome(request) : notSent(request);
  const { code } = failure;
  const httpStatus = request?.httpStatus;
  if (isUncertain(code, httpStatus)) return unknownOutcome(failure);
  const answer = `${code ?? `HTTP ${httpStatus}`}: ${failure.message}`;
  const options = { cause: failure, details: { awsCode: code, ...(httpStatus === undefined ? {} : { httpStatus }) } };
  switch (classOf(code, httpStatus)) {
    case "missing":
      return new PosthornError("UNROUTABLE", `There is no ${what} on AWS.`, options);
    case "throttled":
    case "passing":
      return new PosthornError("REJECTED", `AWS refused ${what} for now: ${answer}`, options);
    case "access": {
      const text = `The account may not use ${what} on AWS. Grant it the permission: ${answer}`;
      return new PosthornError("ACCESS_REFUSED", text, options);
    }
    case "authentication":
      return authenticationFailed(failure);
    case "too-large":
      return new PosthornError("MESSAGE_TOO_LARGE", `AWS cannot take ${what}: ${answer}`, options);
    case "invalid":
      if (tooLargeText.test(failure.message))
        return new PosthornError("MESSAGE_TOO_LARGE", `AWS cannot take ${what}: ${answer}`, options);
      // A request as a whole is about more than a message.
      if (request === undefined)
        return new PosthornError("INVALID_HEADER", `AWS cannot carry what was sent to ${what}: ${answer}`, options);
      break;
    case "stale":
    case "fatal":
      break;
  }
  return new PosthornError("TRANSPORT_FAILED", `AWS failed on ${what}: ${answer}`, options);
}

/** Whether AWS may have done what it was asked for. A 503 is a refusal; what a gateway says for want of an answer is none. */
function isUncertain(code: string | undefined, httpStatus: number | undefined): boolean {
  if (code === noResult || code === badChecksum) return true;
  if (httpStatus === undefined) return false;
  return httpStatus < 300 || httpStatus === 500 || httpStatus === 502 || httpStatus === 504;
}

/** @param what such as `queue "orders"` */
export function unroutable(what: string): PosthornError {
  return new PosthornError("UNROUTABLE", `There is no ${what} on AWS.`);
}

export function notSent(cause?: unknown): PosthornError {
  const text = "SQS or SNS could not be reached; the request was not sent.";
  return new PosthornError("CONNECTION_LOST", because(text, cause), { cause });
}

export function unknownOutcome(cause?: unknown): PosthornError {
  const text = "SQS or SNS did not confirm the request; it may have been carried out.";
  return new PosthornError("UNKNOWN_OUTCOME", because(text, cause), { cause });
}

function because(text: string, cause: unknown): string {
  return cause instanceof Error ? `${text} ${messageOf(cause)}` : text;
}

/** @param where region or endpoint */
export function connectionFailed(where: string, cause: unknown): PosthornError {
  const text = `SQS could not be reached in time at ${where}: ${messageOf(cause)}`;
  return new PosthornError("CONNECTION_FAILED", text, { cause });
}

export function authenticationFailed(cause: { readonly code: string | undefined }): PosthornError {
  const text = `AWS refused the credentials: ${cause.code ?? "HTTP 401"}. Check access key, secret and session token, and this computer's clock.`;
  return new PosthornError("AUTHENTICATION_FAILED", text, { cause, details: { awsCode: cause.code } });
}

export function closedError(): PosthornError {
  return new PosthornError("CLOSED", "The SQS transport is closed.");
}

export function noReplies(): PosthornError {
  return new PosthornError("UNSUPPORTED_CAPABILITY", "The SQS transport has no reply inboxes.");
}
