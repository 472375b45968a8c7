import { PosthornError } from "@posthorn/core/transport";
import { describe, expect, test } from "vitest";
import { RequestFailure } from "./aws.ts";
import type { FailureClass } from "./errors.ts";
import {
  authenticationFailed,
  awsError,
  badChecksum,
  classOf,
  closedError,
  connectionFailed,
  noReplies,
  noResult,
  notSent,
  unknownOutcome,
  unreadableAnswer,
  unroutable,
} from "./errors.ts";

const refused = (code: string | undefined, httpStatus: number, message = "Because."): RequestFailure =>
  new RequestFailure(message, { sent: true, code, httpStatus });

describe("a code is known by its end, whichever server says it", () => {
  test.each<[FailureClass, ...string[]]>([
    ["missing", "QueueDoesNotExist", "NonExistentQueue", "NotFound", "NotFoundException", "ResourceNotFoundException"],
    [
      "throttled",
      "RequestThrottled",
      "Throttled",
      "ThrottledException",
      "ThrottlingException",
      "TooManyRequestsException",
    ],
    ["throttled", "RequestLimitExceeded", "SlowDown", "KmsThrottled", "KMSThrottlingException", "OverLimit"],
    ["access", "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"],
    ["access", "KmsAccessDenied", "KMSAccessDeniedException", "OptInRequired"],
    ["authentication", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"],
    ["authentication", "IncompleteSignature", "MissingAuthenticationToken", "ExpiredToken", "ExpiredTokenException"],
    ["too-large", "BatchRequestTooLong", "BatchRequestTooLongException", "MessageTooLong", "RequestEntityTooLarge"],
    ["invalid", "InvalidMessageContents", "InvalidParameterValue", "InvalidParameter", "InvalidParameterException"],
    ["invalid", "ParameterValueInvalid", "ValidationException", "ValidationError"],
    ["stale", "ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidIdFormat"],
    ["passing", "InternalError", "InternalFailure", "InternalErrorException", "ServiceUnavailable"],
    ["passing", "QueueDeletedRecently", "PurgeQueueInProgress", "ConcurrentAccessException"],
    ["fatal", "UnsupportedOperation", "InvalidAttributeValue", "QueueNameExists", "TopicLimitExceededException"],
    ["fatal", "KmsNotFound", "KMSNotFoundException", "KmsOptInRequired", "KmsDisabled", "EmptyBatchRequest"],
    ["fatal", "", "Unknown"],
  ])("%s: %s %s %s", (failureClass, ...codes) => {
    for (const code of codes) expect(classOf(code, 400), code).toBe(failureClass);
  });

  test.each<[number | undefined, FailureClass]>([
    [undefined, "fatal"],
    [400, "fatal"],
    [401, "authentication"],
    [403, "access"],
    [404, "fatal"],
    [413, "too-large"],
    [429, "throttled"],
    [500, "passing"],
    [503, "passing"],
  ])("a code that nobody knows goes by the status %s", (httpStatus, failureClass) => {
    expect(classOf("Unknown", httpStatus)).toBe(failureClass);
    expect(classOf(undefined, httpStatus)).toBe(failureClass);
  });

  test("that there may be no more of something is no want of a permission, whatever the status", () => {
    for (const code of ["FilterPolicyLimitExceeded", "SubscriptionLimitExceededException", "TopicLimitExceeded"])
      expect(classOf(code, 403), code).toBe("fatal");
  });
});

describe("as an error of Posthorn", () => {
  test.each<[string, RequestFailure | { code: string; message: string }, string]>([
    ["what never left", new RequestFailure("Refused.", { sent: false }), "CONNECTION_LOST"],
    ["what got no answer", new RequestFailure("Cut.", { sent: true }), "UNKNOWN_OUTCOME"],
    ["a missing queue", refused("QueueDoesNotExist", 400), "UNROUTABLE"],
    ["a missing topic", refused("NotFound", 404), "UNROUTABLE"],
    ["throttling", refused("RequestThrottled", 400), "REJECTED"],
    ["a service that is not there", refused("ServiceUnavailable", 503), "REJECTED"],
    ["a service that broke at it", refused("InternalFailure", 500), "UNKNOWN_OUTCOME"],
    ["a gateway that lost patience", refused(unreadableAnswer, 504), "UNKNOWN_OUTCOME"],
    ["an answer that cannot be read", refused(unreadableAnswer, 200), "UNKNOWN_OUTCOME"],
    ["a wrong checksum", refused(badChecksum, 200), "UNKNOWN_OUTCOME"],
    ["an entry that is not mentioned", { code: noResult, message: "" }, "UNKNOWN_OUTCOME"],
    ["an entry that failed", { code: "InternalError", message: "" }, "REJECTED"],
    ["an entry with what cannot travel", { code: "InvalidMessageContents", message: "" }, "INVALID_HEADER"],
    ["a request with a wrong parameter", refused("InvalidParameterValue", 400), "TRANSPORT_FAILED"],
    ["a batch that is too large", refused("BatchRequestTooLong", 400), "MESSAGE_TOO_LARGE"],
    ["a page that is none of AWS", refused(undefined, 404), "TRANSPORT_FAILED"],
    ["a lost lease", { code: "ReceiptHandleIsInvalid", message: "" }, "TRANSPORT_FAILED"],
    ["a lack of permission", refused("AccessDenied", 403), "ACCESS_REFUSED"],
    ["bad credentials", refused("InvalidClientTokenId", 403), "AUTHENTICATION_FAILED"],
  ])("%s", (_, failure, code) => {
    const error = awsError(failure, `queue "orders"`);
    expect(error).toBeInstanceOf(PosthornError);
    expect(error.code).toBe(code);
    expect(error.cause).toBe(failure);
    expect(error.message).toMatch(/^[A-Z]/);
    expect(error.message).not.toContain("undefined");
  });

  test.each([
    "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.",
    "Invalid parameter: Message too long",
  ])("SQS and SNS say in words that a message is too large: %s", (message) => {
    expect(awsError({ code: "InvalidParameterValue", message }, "it").code).toBe("MESSAGE_TOO_LARGE");
    expect(awsError(refused("InvalidParameter", 400, message), "it").code).toBe("MESSAGE_TOO_LARGE");
  });

  test("it says what it is about, what AWS said, and what to do", () => {
    const denied = refused("AccessDenied", 403, "User x is not authorized to perform: sqs:SendMessage.");
    expect(awsError(denied, `queue "orders"`)).toMatchObject({
      message: `The account may not use queue "orders" on AWS. Grant it the permission: AccessDenied: User x is not authorized to perform: sqs:SendMessage.`,
      details: { awsCode: "AccessDenied", httpStatus: 403 },
    });
    expect(awsError(refused("QueueDoesNotExist", 400), `queue "orders"`).message).toBe(
      `There is no queue "orders" on AWS.`,
    );
    expect(awsError(refused(undefined, 404), `queue "orders"`).message).toBe(
      `AWS failed on queue "orders": HTTP 404: Because.`,
    );
  });
});

test("what the adapter finds by itself has its code, too", () => {
  const cause = new Error("connect ECONNREFUSED");
  expect(connectionFailed("eu-central-1", cause)).toMatchObject({
    code: "CONNECTION_FAILED",
    message: "SQS could not be reached in time at eu-central-1: connect ECONNREFUSED",
    cause,
  });
  expect(notSent(cause)).toMatchObject({ code: "CONNECTION_LOST", cause });
  expect(notSent().message).toMatch(/not sent\.$/);
  expect(unknownOutcome(cause)).toMatchObject({ code: "UNKNOWN_OUTCOME", cause });
  expect(unroutable(`queue "a"`)).toMatchObject({ code: "UNROUTABLE", message: `There is no queue "a" on AWS.` });
  expect(authenticationFailed({ code: "ExpiredToken" }).message).toContain("ExpiredToken");
  expect(closedError().code).toBe("CLOSED");
  expect(noReplies().code).toBe("UNSUPPORTED_CAPABILITY");
});
