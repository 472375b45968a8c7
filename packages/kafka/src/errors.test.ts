import { PosthornError } from "@posthorn/core/transport";
import { describe, expect, test } from "vitest";
import { codecNumbers, createCodecs } from "./compression.ts";
import type { ErrorName } from "./errors.ts";
import {
  authenticationFailed,
  closedError,
  connectionFailed,
  connectionLost,
  errorClass,
  errorCodes,
  errorName,
  isAuthenticationFailure,
  kafkaError,
  mayHaveAppended,
  notSent,
  ProtocolError,
  tooLarge,
  unknownOutcome,
  unreadable,
} from "./errors.ts";

/** The constants of `org.apache.kafka.common.protocol.Errors` in kafka-clients 4.4.0, from -1 on. An asterisk: the Java client tries again. */
const javaErrors =
  `UNKNOWN_SERVER_ERROR NONE OFFSET_OUT_OF_RANGE CORRUPT_MESSAGE* UNKNOWN_TOPIC_OR_PARTITION* INVALID_FETCH_SIZE
LEADER_NOT_AVAILABLE* NOT_LEADER_OR_FOLLOWER* REQUEST_TIMED_OUT* BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE*
MESSAGE_TOO_LARGE STALE_CONTROLLER_EPOCH OFFSET_METADATA_TOO_LARGE NETWORK_EXCEPTION* COORDINATOR_LOAD_IN_PROGRESS*
COORDINATOR_NOT_AVAILABLE* NOT_COORDINATOR* INVALID_TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE NOT_ENOUGH_REPLICAS*
NOT_ENOUGH_REPLICAS_AFTER_APPEND* INVALID_REQUIRED_ACKS ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL
INVALID_GROUP_ID UNKNOWN_MEMBER_ID INVALID_SESSION_TIMEOUT REBALANCE_IN_PROGRESS INVALID_COMMIT_OFFSET_SIZE
TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED INVALID_TIMESTAMP
UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE UNSUPPORTED_VERSION TOPIC_ALREADY_EXISTS INVALID_PARTITIONS
INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG NOT_CONTROLLER* INVALID_REQUEST
UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER
INVALID_PRODUCER_EPOCH INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING INVALID_TRANSACTION_TIMEOUT
CONCURRENT_TRANSACTIONS* TRANSACTION_COORDINATOR_FENCED TRANSACTIONAL_ID_AUTHORIZATION_FAILED SECURITY_DISABLED
OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR* LOG_DIR_NOT_FOUND SASL_AUTHENTICATION_FAILED UNKNOWN_PRODUCER_ID
REASSIGNMENT_IN_PROGRESS DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_EXPIRED
INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND FETCH_SESSION_ID_NOT_FOUND* INVALID_FETCH_SESSION_EPOCH*
LISTENER_NOT_FOUND* TOPIC_DELETION_DISABLED FENCED_LEADER_EPOCH* UNKNOWN_LEADER_EPOCH* UNSUPPORTED_COMPRESSION_TYPE
STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE* MEMBER_ID_REQUIRED PREFERRED_LEADER_NOT_AVAILABLE* GROUP_MAX_SIZE_REACHED
FENCED_INSTANCE_ID ELIGIBLE_LEADERS_NOT_AVAILABLE* ELECTION_NOT_NEEDED* NO_REASSIGNMENT_IN_PROGRESS
GROUP_SUBSCRIBED_TO_TOPIC INVALID_RECORD UNSTABLE_OFFSET_COMMIT* THROTTLING_QUOTA_EXCEEDED* PRODUCER_FENCED
RESOURCE_NOT_FOUND DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION
FEATURE_UPDATE_FAILED PRINCIPAL_DESERIALIZATION_FAILURE SNAPSHOT_NOT_FOUND POSITION_OUT_OF_RANGE UNKNOWN_TOPIC_ID*
DUPLICATE_BROKER_REGISTRATION BROKER_ID_NOT_REGISTERED INCONSISTENT_TOPIC_ID* INCONSISTENT_CLUSTER_ID
TRANSACTIONAL_ID_NOT_FOUND FETCH_SESSION_TOPIC_ID_ERROR* INELIGIBLE_REPLICA NEW_LEADER_ELECTED
OFFSET_MOVED_TO_TIERED_STORAGE FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID UNSUPPORTED_ASSIGNOR STALE_MEMBER_EPOCH
MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_CONTROLLER_ID UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE
INVALID_REGISTRATION TRANSACTION_ABORTABLE INVALID_RECORD_STATE SHARE_SESSION_NOT_FOUND* INVALID_SHARE_SESSION_EPOCH*
FENCED_STATE_EPOCH INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND INVALID_REGULAR_EXPRESSION REBOOTSTRAP_REQUIRED
STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED SHARE_SESSION_LIMIT_REACHED*
GROUP_DELETION_FAILED STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED CONTROLLER_ID_NOT_REGISTERED`.split(/\s+/);

const names = Object.keys(errorCodes) as ErrorName[];

describe("the protocol's codes", () => {
  test.each(names)("%s has Kafka's number", (name) => {
    expect(javaErrors[errorCodes[name] + 1]?.replace("*", "")).toBe(name);
  });

  test("what the Java client tries again after is never final here", () => {
    const exceptions = new Set(["CORRUPT_MESSAGE", "UNKNOWN_TOPIC_OR_PARTITION"]);
    const retriable = names.filter((name) => javaErrors[errorCodes[name] + 1]?.endsWith("*") && !exceptions.has(name));
    expect(retriable.length).toBeGreaterThan(20);
    for (const name of retriable) expect(["retriable", "busy"], name).toContain(errorClass(errorCodes[name]));
  });

  test("a code that nobody knows is fatal, and told by its number", () => {
    expect(errorClass(999)).toBe("fatal");
    expect(errorName(999)).toBe("error 999");
    expect(mayHaveAppended(999)).toBe(false);
    expect(kafkaError(999, `topic "a"`)).toMatchObject({ code: "TRANSPORT_FAILED", details: { kafkaCode: 999 } });
  });
});

describe("an answer as an error", () => {
  test.each<[ErrorName, string]>([
    ["UNKNOWN_TOPIC_OR_PARTITION", "UNROUTABLE"],
    ["NOT_LEADER_OR_FOLLOWER", "UNKNOWN_OUTCOME"],
    ["REQUEST_TIMED_OUT", "UNKNOWN_OUTCOME"],
    ["MESSAGE_TOO_LARGE", "MESSAGE_TOO_LARGE"],
    ["RECORD_LIST_TOO_LARGE", "MESSAGE_TOO_LARGE"],
    ["COORDINATOR_LOAD_IN_PROGRESS", "REJECTED"],
    ["COORDINATOR_NOT_AVAILABLE", "REJECTED"],
    ["NOT_COORDINATOR", "REJECTED"],
    ["INVALID_TOPIC_EXCEPTION", "TRANSPORT_FAILED"],
    ["NOT_ENOUGH_REPLICAS", "REJECTED"],
    ["NOT_ENOUGH_REPLICAS_AFTER_APPEND", "UNKNOWN_OUTCOME"],
    ["ILLEGAL_GENERATION", "REJECTED"],
    ["UNKNOWN_MEMBER_ID", "REJECTED"],
    ["REBALANCE_IN_PROGRESS", "REJECTED"],
    ["FENCED_INSTANCE_ID", "REJECTED"],
    ["TOPIC_AUTHORIZATION_FAILED", "ACCESS_REFUSED"],
    ["GROUP_AUTHORIZATION_FAILED", "ACCESS_REFUSED"],
    ["CLUSTER_AUTHORIZATION_FAILED", "ACCESS_REFUSED"],
    ["POLICY_VIOLATION", "TRANSPORT_FAILED"],
    ["OUT_OF_ORDER_SEQUENCE_NUMBER", "REJECTED"],
    ["INVALID_PRODUCER_EPOCH", "REJECTED"],
    ["UNKNOWN_PRODUCER_ID", "REJECTED"],
    ["SASL_AUTHENTICATION_FAILED", "AUTHENTICATION_FAILED"],
    ["UNKNOWN_SERVER_ERROR", "UNKNOWN_OUTCOME"],
    ["THROTTLING_QUOTA_EXCEEDED", "REJECTED"],
  ])("%s is %s", (name, code) => {
    const error = kafkaError(name, `topic "orders"`);
    expect(error).toBeInstanceOf(PosthornError);
    expect(error.code).toBe(code);
    expect(error.details).toEqual({ kafkaCode: errorCodes[name] });
    expect(kafkaError(errorCodes[name], `topic "orders"`)).toMatchObject({ code, message: error.message });
  });

  test.each(names)("%s says what it is about, in sentences", (name) => {
    const { code, message } = kafkaError(name, `topic "orders"`);
    expect(message).toContain(code === "AUTHENTICATION_FAILED" ? "credentials" : `topic "orders"`);
    expect(message).toContain(code === "UNROUTABLE" ? "There is no" : name);
    expect(message).toMatch(/^[A-Z].*\.$/);
    expect(message).not.toMatch(/undefined|\.\./);
  });

  test("what may have been appended is never said to be refused", () => {
    const uncertain = names.filter((name) => mayHaveAppended(errorCodes[name]));
    expect(new Set(uncertain.map((name) => kafkaError(name, "it").code))).toEqual(new Set(["UNKNOWN_OUTCOME"]));
  });

  test("what was done before is told apart", () => {
    expect(errorClass(errorCodes.TOPIC_ALREADY_EXISTS)).toBe("done");
    expect(errorClass(errorCodes.DUPLICATE_SEQUENCE_NUMBER)).toBe("done");
  });

  test("a protocol error bears code and name", () => {
    const error = new ProtocolError(16, `group "orders"`);
    expect(error).toMatchObject({ code: 16, name: "NOT_COORDINATOR" });
    expect(error.message).toBe(`Kafka answered NOT_COORDINATOR (16) for group "orders".`);
    expect(String(new ProtocolError(999, "it"))).toContain("999");
  });
});

test("a connection's end is told with where it was and why", () => {
  const cause = new Error("connect ECONNREFUSED");
  const brokers = [
    { host: "a", port: 1 },
    { host: "b", port: 2 },
  ];
  expect(connectionFailed(brokers, cause)).toMatchObject({
    code: "CONNECTION_FAILED",
    message: "Kafka could not be reached in time at a:1, b:2: connect ECONNREFUSED",
    cause,
  });
  expect(connectionLost(`topic "orders"`, cause)).toMatchObject({ code: "CONNECTION_LOST", cause });
  expect(notSent(cause)).toMatchObject({ code: "CONNECTION_LOST", cause });
  expect(unknownOutcome(cause)).toMatchObject({ code: "UNKNOWN_OUTCOME", cause });
  expect(closedError()).toMatchObject({ code: "CLOSED" });
});

test("refused credentials are told apart from all else", () => {
  const refused = authenticationFailed("h:9092", "Authentication failed");
  expect(isAuthenticationFailure(refused)).toBe(true);
  expect(refused.message).toContain("h:9092");
  expect(isAuthenticationFailure(kafkaError("SASL_AUTHENTICATION_FAILED", "it"))).toBe(true);
  expect(isAuthenticationFailure(connectionFailed([], refused))).toBe(false);
  expect(isAuthenticationFailure(undefined)).toBe(false);
});

test("a message that is too large is told with the option that allows more", () => {
  const error = tooLarge("id-1", 2_000_000, 1_000_000);
  expect(error).toMatchObject({ code: "MESSAGE_TOO_LARGE", details: { bytes: 2_000_000, maxMessageBytes: 1_000_000 } });
  expect(error.message).toContain("maxMessageBytes");
});

test("records that cannot be read say why", () => {
  const cause = new Error("incorrect header check");
  const error = unreadable(`topic "a"`, cause);
  expect(error).toMatchObject({ code: "TRANSPORT_FAILED", cause });
  expect(error.message).toBe('Records of topic "a" cannot be read: incorrect header check');
});

test.each([
  ["snappy", "codecs.snappy"],
  ["lz4", "codecs.lz4"],
] as const)("records that are compressed with %s name the option that they want", async (codec, option) => {
  const cause: unknown = await createCodecs({})
    .decompress(codecNumbers[codec], Buffer.alloc(1))
    .catch((error: unknown) => error);
  expect(unreadable(`topic "a"`, cause).message).toContain(option);
});
