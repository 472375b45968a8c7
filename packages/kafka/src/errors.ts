/** What Kafka answers, and what it means for us. */
import { isPosthornError, messageOf, PosthornError } from "@posthorn/core/transport";

/**
 * What is to be done about an answer.
 *
 * - `done`: what was asked for is so already.
 * - `retriable`: ask again, after the metadata or the coordinator was asked for anew.
 * - `busy`: the broker refuses it for now; the same request may succeed later.
 * - `fenced`: we are not who we were. A member joins again, a producer gets a new id.
 * - `unroutable`: the topic or group does not exist. Of a topic that was just created a broker may say so for a moment.
 * - `access`: the account may not.
 * - `authentication`: the broker does not know who we are.
 * - `too-large`: it never fits.
 * - `fatal`: nothing of the above. Trying again does not help.
 */
export type ErrorClass =
  | "done"
  | "retriable"
  | "busy"
  | "fenced"
  | "unroutable"
  | "access"
  | "authentication"
  | "too-large"
  | "fatal";

interface Known {
  readonly code: number;
  readonly class: ErrorClass;
  /** What to do about it, where the class does not say it. */
  readonly advice?: string;
  /** A produce request that is answered so may have been appended, or will be. */
  readonly uncertain?: true;
}

/**
 * The protocol's error codes that can come as an answer to what we ask.
 *
 * Source: Kafka's documentation, "Kafka protocol guide", "Error codes" (4.4). What is of no use to a client of ours is left
 * out: transactions, delegation tokens, share groups, quorum.
 */
export const protocolErrors = {
  UNKNOWN_SERVER_ERROR: { code: -1, class: "fatal", advice: "Look into the broker's log.", uncertain: true },
  NONE: { code: 0, class: "done" },
  OFFSET_OUT_OF_RANGE: { code: 1, class: "fatal", advice: "The records there were deleted by the topic's retention." },
  CORRUPT_MESSAGE: { code: 2, class: "fatal", advice: "A compacted topic takes only messages with a key." },
  UNKNOWN_TOPIC_OR_PARTITION: { code: 3, class: "unroutable" },
  INVALID_FETCH_SIZE: { code: 4, class: "fatal", advice: "Check fetchMaxBytes." },
  LEADER_NOT_AVAILABLE: { code: 5, class: "retriable" },
  // Also from a leader that was deposed while it waited for its replicas.
  NOT_LEADER_OR_FOLLOWER: { code: 6, class: "retriable", uncertain: true },
  REQUEST_TIMED_OUT: { code: 7, class: "retriable", uncertain: true },
  BROKER_NOT_AVAILABLE: { code: 8, class: "retriable" },
  REPLICA_NOT_AVAILABLE: { code: 9, class: "retriable" },
  MESSAGE_TOO_LARGE: { code: 10, class: "too-large", advice: "Raise the topic's max.message.bytes, or send less." },
  STALE_CONTROLLER_EPOCH: { code: 11, class: "retriable" },
  OFFSET_METADATA_TOO_LARGE: { code: 12, class: "too-large", advice: "Raise the broker's offset.metadata.max.bytes." },
  NETWORK_EXCEPTION: { code: 13, class: "retriable", uncertain: true },
  COORDINATOR_LOAD_IN_PROGRESS: { code: 14, class: "retriable" },
  COORDINATOR_NOT_AVAILABLE: { code: 15, class: "retriable" },
  NOT_COORDINATOR: { code: 16, class: "retriable" },
  INVALID_TOPIC_EXCEPTION: {
    code: 17,
    class: "fatal",
    advice: 'Check its name: to Kafka "." and "_" are the same, so a topic like it may exist.',
  },
  RECORD_LIST_TOO_LARGE: { code: 18, class: "too-large", advice: "Raise the topic's segment.bytes, or send less." },
  NOT_ENOUGH_REPLICAS: { code: 19, class: "busy", advice: "Fewer replicas are in sync than min.insync.replicas." },
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: {
    code: 20,
    class: "busy",
    advice: "Fewer replicas are in sync than min.insync.replicas.",
    uncertain: true,
  },
  INVALID_REQUIRED_ACKS: { code: 21, class: "fatal" },
  ILLEGAL_GENERATION: { code: 22, class: "fenced" },
  INCONSISTENT_GROUP_PROTOCOL: {
    code: 23,
    class: "fatal",
    advice: "The group has members that are no Posthorn consumers: stop them.",
  },
  INVALID_GROUP_ID: { code: 24, class: "fatal" },
  UNKNOWN_MEMBER_ID: { code: 25, class: "fenced" },
  INVALID_SESSION_TIMEOUT: {
    code: 26,
    class: "fatal",
    advice: "Set sessionTimeoutMs between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms.",
  },
  REBALANCE_IN_PROGRESS: { code: 27, class: "fenced" },
  INVALID_COMMIT_OFFSET_SIZE: { code: 28, class: "too-large" },
  TOPIC_AUTHORIZATION_FAILED: { code: 29, class: "access" },
  GROUP_AUTHORIZATION_FAILED: { code: 30, class: "access" },
  CLUSTER_AUTHORIZATION_FAILED: { code: 31, class: "access" },
  INVALID_TIMESTAMP: { code: 32, class: "fatal", advice: "Check the clocks of this machine and of the broker." },
  UNSUPPORTED_SASL_MECHANISM: { code: 33, class: "authentication" },
  ILLEGAL_SASL_STATE: { code: 34, class: "authentication" },
  UNSUPPORTED_VERSION: { code: 35, class: "fatal", advice: "The broker is too old or too new for this adapter." },
  TOPIC_ALREADY_EXISTS: { code: 36, class: "done" },
  INVALID_PARTITIONS: { code: 37, class: "fatal", advice: "Check the option partitions." },
  INVALID_REPLICATION_FACTOR: {
    code: 38,
    class: "fatal",
    advice: "The option replicationFactor must not exceed the number of brokers.",
  },
  INVALID_REPLICA_ASSIGNMENT: { code: 39, class: "fatal" },
  INVALID_CONFIG: { code: 40, class: "fatal", advice: "Check retentionMs and minInsyncReplicas." },
  NOT_CONTROLLER: { code: 41, class: "retriable" },
  INVALID_REQUEST: { code: 42, class: "fatal" },
  UNSUPPORTED_FOR_MESSAGE_FORMAT: { code: 43, class: "fatal", advice: "The topic must have message format version 2." },
  POLICY_VIOLATION: { code: 44, class: "fatal", advice: "A policy of the cluster forbids it: ask its operators." },
  OUT_OF_ORDER_SEQUENCE_NUMBER: { code: 45, class: "fenced" },
  DUPLICATE_SEQUENCE_NUMBER: { code: 46, class: "done" },
  INVALID_PRODUCER_EPOCH: { code: 47, class: "fenced" },
  INVALID_PRODUCER_ID_MAPPING: { code: 49, class: "fenced" },
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: { code: 53, class: "access" },
  SECURITY_DISABLED: { code: 54, class: "fatal" },
  OPERATION_NOT_ATTEMPTED: { code: 55, class: "retriable" },
  KAFKA_STORAGE_ERROR: { code: 56, class: "retriable", uncertain: true },
  SASL_AUTHENTICATION_FAILED: { code: 58, class: "authentication" },
  UNKNOWN_PRODUCER_ID: { code: 59, class: "fenced" },
  REASSIGNMENT_IN_PROGRESS: { code: 60, class: "busy" },
  NON_EMPTY_GROUP: { code: 68, class: "busy", advice: "The group has members." },
  GROUP_ID_NOT_FOUND: { code: 69, class: "unroutable" },
  FETCH_SESSION_ID_NOT_FOUND: { code: 70, class: "retriable" },
  INVALID_FETCH_SESSION_EPOCH: { code: 71, class: "retriable" },
  LISTENER_NOT_FOUND: { code: 72, class: "retriable" },
  TOPIC_DELETION_DISABLED: { code: 73, class: "fatal" },
  FENCED_LEADER_EPOCH: { code: 74, class: "retriable" },
  UNKNOWN_LEADER_EPOCH: { code: 75, class: "retriable" },
  UNSUPPORTED_COMPRESSION_TYPE: { code: 76, class: "fatal", advice: "Choose another compression." },
  OFFSET_NOT_AVAILABLE: { code: 78, class: "retriable" },
  MEMBER_ID_REQUIRED: { code: 79, class: "retriable" },
  PREFERRED_LEADER_NOT_AVAILABLE: { code: 80, class: "retriable" },
  GROUP_MAX_SIZE_REACHED: { code: 81, class: "busy", advice: "The group has as many members as the broker allows." },
  FENCED_INSTANCE_ID: { code: 82, class: "fenced" },
  GROUP_SUBSCRIBED_TO_TOPIC: { code: 86, class: "busy", advice: "The group consumes the topic." },
  INVALID_RECORD: { code: 87, class: "fatal", advice: "A compacted topic takes only messages with a key." },
  UNSTABLE_OFFSET_COMMIT: { code: 88, class: "retriable" },
  THROTTLING_QUOTA_EXCEEDED: { code: 89, class: "busy", advice: "The account's quota is used up." },
  PRODUCER_FENCED: { code: 90, class: "fenced" },
  UNKNOWN_TOPIC_ID: { code: 100, class: "retriable" },
  INCONSISTENT_TOPIC_ID: { code: 103, class: "retriable" },
  FETCH_SESSION_TOPIC_ID_ERROR: { code: 106, class: "retriable" },
  FENCED_MEMBER_EPOCH: { code: 110, class: "fenced" },
  UNRELEASED_INSTANCE_ID: { code: 111, class: "busy" },
  UNSUPPORTED_ASSIGNOR: { code: 112, class: "fatal" },
  STALE_MEMBER_EPOCH: { code: 113, class: "fenced" },
  REBOOTSTRAP_REQUIRED: { code: 129, class: "retriable" },
} as const;

/** The protocol's name of an error code. */
export type ErrorName = keyof typeof protocolErrors;

/** The protocol's error codes by name. */
export const errorCodes: Readonly<Record<ErrorName, number>> = Object.freeze(
  Object.fromEntries(Object.entries<Known>(protocolErrors).map(([name, { code }]) => [name, code])) as Record<
    ErrorName,
    number
  >,
);

const byCode: ReadonlyMap<number, Known & { readonly name: string }> = new Map(
  Object.entries<Known>(protocolErrors).map(([name, entry]) => [entry.code, { ...entry, name }]),
);

/** What is to be done about an answer; `fatal` for a code that we do not know. */
export function errorClass(code: number): ErrorClass {
  return byCode.get(code)?.class ?? "fatal";
}

/** Whether the same may succeed later by itself. Of a topic that was just made not every broker knows. */
export function isPassing(code: number): boolean {
  const meaning = errorClass(code);
  return meaning === "retriable" || meaning === "busy" || meaning === "unroutable";
}

export function errorName(code: number): string {
  return byCode.get(code)?.name ?? `error ${code}`;
}

/** Whether a produce request that was answered so may have been appended all the same. */
export function mayHaveAppended(code: number): boolean {
  return byCode.get(code)?.uncertain === true;
}

/** An answer of the broker that says no. */
export class ProtocolError extends Error {
  readonly code: number;
  /** As the protocol calls it, such as `NOT_COORDINATOR`. */
  override readonly name: string;

  constructor(code: number, what: string) {
    super(`Kafka answered ${errorName(code)} (${code}) for ${what}.`);
    this.code = code;
    this.name = errorName(code);
  }
}

/**
 * An answer of the broker as an error of Posthorn.
 *
 * @param what such as `topic "orders"`
 */
export function kafkaError(error: number | ErrorName, what: string): PosthornError {
  const code = typeof error === "number" ? error : errorCodes[error];
  const entry = byCode.get(code);
  const answer = `${errorName(code)} (${code})`;
  const advice = entry?.advice === undefined ? "" : ` ${entry.advice}`;
  const options = { details: { kafkaCode: code } };
  if (entry?.uncertain === true) {
    const text = `Kafka did not finish its work on ${what}: ${answer}. It may have been done.${advice}`;
    return new PosthornError("UNKNOWN_OUTCOME", text, options);
  }
  switch (entry?.class) {
    case "retriable":
    case "busy":
    case "fenced":
      return new PosthornError("REJECTED", `Kafka refused ${what} for now: ${answer}.${advice}`, options);
    case "unroutable":
      return new PosthornError("UNROUTABLE", `There is no ${what} on Kafka.`, options);
    case "access": {
      const text = `The account may not use ${what} on Kafka: ${answer}. Grant it the permission.`;
      return new PosthornError("ACCESS_REFUSED", text, options);
    }
    case "authentication":
      return new PosthornError("AUTHENTICATION_FAILED", `Kafka refused the credentials: ${answer}.`, options);
    case "too-large":
      return new PosthornError("MESSAGE_TOO_LARGE", `Kafka cannot take ${what}: ${answer}.${advice}`, options);
    case "done":
    case "fatal":
    case undefined:
      break;
  }
  return new PosthornError("TRANSPORT_FAILED", `Kafka failed on ${what}: ${answer}.${advice}`, options);
}

/** @param brokers where it was tried */
export function connectionFailed(
  brokers: readonly { readonly host: string; readonly port: number }[],
  cause: unknown,
): PosthornError {
  const where = brokers.map(({ host, port }) => `${host}:${port}`).join(", ");
  const text = `Kafka could not be reached in time at ${where}: ${messageOf(cause)}`;
  return new PosthornError("CONNECTION_FAILED", text, { cause });
}

/** @param where `host:port` */
export function authenticationFailed(where: string, cause: unknown): PosthornError {
  const text = `Kafka at ${where} refused the credentials. Check the SASL mechanism, user name and password: ${messageOf(cause)}`;
  return new PosthornError("AUTHENTICATION_FAILED", text, { cause });
}

export function isAuthenticationFailure(error: unknown): boolean {
  return isPosthornError(error, "AUTHENTICATION_FAILED");
}

/** @param what such as `topic "orders"` */
export function connectionLost(what: string, cause?: unknown): PosthornError {
  return new PosthornError("CONNECTION_LOST", `The connection to Kafka went away while ${what} was used.`, { cause });
}

export function notSent(cause?: unknown): PosthornError {
  const text = "There was no connection to Kafka that takes messages; the message was not sent.";
  return new PosthornError("CONNECTION_LOST", text, { cause });
}

export function unknownOutcome(cause?: unknown): PosthornError {
  const text = "Kafka did not confirm the message; it may have taken it.";
  return new PosthornError("UNKNOWN_OUTCOME", text, { cause });
}

/** @param bytes of the whole record; @param maxMessageBytes the option */
export function tooLarge(id: string, bytes: number, maxMessageBytes: number): PosthornError {
  return new PosthornError(
    "MESSAGE_TOO_LARGE",
    `Message ${id} takes ${bytes} bytes on Kafka; maxMessageBytes is ${maxMessageBytes}. Raise it, and the topic's max.message.bytes, or send less.`,
    { details: { bytes, maxMessageBytes } },
  );
}

/** Records that the broker sent. The cause says why: of a codec that is missing, which option or version brings it. */
export function unreadable(what: string, cause: unknown): PosthornError {
  return new PosthornError("TRANSPORT_FAILED", `Records of ${what} cannot be read: ${messageOf(cause)}`, { cause });
}

/** @param what such as `topic "orders"` */
export function unroutable(what: string): PosthornError {
  return kafkaError("UNKNOWN_TOPIC_OR_PARTITION", what);
}

export function retentionPassed(topic: string, count: number): PosthornError {
  return new PosthornError(
    "TRANSPORT_FAILED",
    `${count} records of topic ${JSON.stringify(topic)} were deleted by its retention. Raise the topic's retention.ms, or handle messages sooner.`,
  );
}

export function closedError(): PosthornError {
  return new PosthornError("CLOSED", "The Kafka transport is closed.");
}
