/**
 * What the adapter asks of SQS and SNS, in their own terms: one method a request, one result for each entry of a batch.
 *
 * Implemented on the AWS SDK by `sdk.ts`, the one module that knows it.
 */

/** A request that was not answered, or refused as a whole. */
export class RequestFailure extends Error {
  /** Whether the service may have carried it out. */
  readonly sent: boolean;
  /** What the service calls it, such as `QueueDoesNotExist`, without a namespace; `undefined` when nothing was answered. */
  readonly code: string | undefined;
  /** Of the answer. */
  readonly httpStatus: number | undefined;

  constructor(
    message: string,
    what: { readonly sent: boolean; readonly code?: string | undefined; readonly httpStatus?: number | undefined },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "RequestFailure";
    this.sent = what.sent;
    this.code = what.code;
    this.httpStatus = what.httpStatus;
  }
}

/** Of one entry of a batch. */
export type EntryResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      /** The entry is wrong in itself; otherwise the same entry may succeed later. */
      readonly senderFault: boolean;
    };

/** A message attribute: a text, or bytes. */
export type AttributeValue = string | Uint8Array;

/** What travels, alike on SQS and on SNS. */
export interface OutgoingMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface SendEntry extends OutgoingMessage {
  /** In whole seconds; not on FIFO queues. */
  readonly delaySeconds?: number;
  readonly groupId?: string;
  readonly deduplicationId?: string;
}

export interface ReceivedMessage {
  /** Given by SQS; not ours. */
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** How often it was received, this time included. */
  readonly receiveCount: number;
  /** Milliseconds since the Unix epoch. */
  readonly sentAt: number;
  /** On FIFO queues. */
  readonly groupId: string | undefined;
}

export interface ReceiveRequest {
  /** From 1 to 10. */
  readonly maxMessages: number;
  /** How long SQS waits for a first message, from 0 to 20. */
  readonly waitSeconds: number;
  readonly visibilitySeconds: number;
}

export interface VisibilityEntry {
  readonly receiptHandle: string;
  /** From now on; 0 gives the message back. */
  readonly visibilitySeconds: number;
}

/** Attributes of a queue, topic or subscription, by the service's names. */
export type ServiceAttributes = Readonly<Record<string, string>>;

/** Every method rejects with {@link RequestFailure}, or with the signal's reason. A batch has at most ten entries. */
export interface Sqs {
  /** `undefined` when there is no such queue. */
  queueUrl(name: string, signal: AbortSignal): Promise<string | undefined>;
  /** Also when it exists with the same attributes. @returns its URL. @throws RequestFailure with `QueueNameExists` when it exists otherwise */
  createQueue(
    name: string,
    attributes: ServiceAttributes,
    tags: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<string>;
  /** All of them. */
  queueAttributes(url: string, signal: AbortSignal): Promise<ServiceAttributes>;
  setQueueAttributes(url: string, attributes: ServiceAttributes, signal: AbortSignal): Promise<void>;
  send(url: string, entries: readonly SendEntry[], signal: AbortSignal): Promise<readonly EntryResult[]>;
  receive(url: string, request: ReceiveRequest, signal: AbortSignal): Promise<readonly ReceivedMessage[]>;
  delete(url: string, receiptHandles: readonly string[], signal: AbortSignal): Promise<readonly EntryResult[]>;
  changeVisibility(
    url: string,
    entries: readonly VisibilityEntry[],
    signal: AbortSignal,
  ): Promise<readonly EntryResult[]>;
}

export interface Subscription {
  readonly arn: string;
  /** The queue's ARN. */
  readonly endpoint: string;
}

/** As {@link Sqs}. */
export interface Sns {
  /** Also when it exists. @returns its ARN */
  createTopic(
    name: string,
    attributes: ServiceAttributes,
    tags: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<string>;
  /** `undefined` when there is no such topic. Goes through all topics of the account, as SNS finds none by its name. */
  topicArn(name: string, signal: AbortSignal): Promise<string | undefined>;
  /** `undefined` when there is no such topic. */
  topicAttributes(arn: string, signal: AbortSignal): Promise<ServiceAttributes | undefined>;
  publish(arn: string, entries: readonly SendEntry[], signal: AbortSignal): Promise<readonly EntryResult[]>;
  /** Also when it exists. @returns the subscription's ARN */
  subscribe(topicArn: string, queueArn: string, attributes: ServiceAttributes, signal: AbortSignal): Promise<string>;
  /** Those to SQS queues. */
  subscriptions(topicArn: string, signal: AbortSignal): Promise<readonly Subscription[]>;
  subscriptionAttributes(arn: string, signal: AbortSignal): Promise<ServiceAttributes>;
  setSubscriptionAttribute(arn: string, name: string, value: string, signal: AbortSignal): Promise<void>;
}

export interface Aws {
  readonly sqs: Sqs;
  readonly sns: Sns;
  /** Ends all requests, and frees their sockets. */
  close(): void;
}
