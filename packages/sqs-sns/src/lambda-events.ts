/**
 * What AWS Lambda hands to a function whose event source is an SQS queue, and what it wants back.
 *
 * As far as it is used here: the types of `@types/aws-lambda` fit, and none of them is needed.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
import { PosthornError } from "@posthorn/core/transport";
import type { AttributeValue, ReceivedMessage } from "./aws.ts";

export interface SqsEvent {
  readonly Records: readonly SqsRecord[];
}

/** A message. */
export interface SqsRecord {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
  /** Of SQS's own. Numbers are in digits. */
  readonly attributes?: {
    readonly ApproximateReceiveCount?: string | undefined;
    readonly SentTimestamp?: string | undefined;
    readonly MessageGroupId?: string | undefined;
  };
  readonly messageAttributes?: Readonly<Record<string, SqsRecordAttribute>>;
  /** `aws:sqs`. */
  readonly eventSource: string;
  readonly eventSourceARN: string;
}

export interface SqsRecordAttribute {
  readonly dataType: string;
  readonly stringValue?: string | undefined;
  /** In base64. */
  readonly binaryValue?: string | undefined;
}

/** What is named comes again; Lambda deletes the rest. Only where the event source mapping has `ReportBatchItemFailures`: without it all is deleted. */
export interface SqsBatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/** What is used of the second argument of a handler. */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

/** @throws INVALID_OPTION when it is no event of an SQS queue */
export function recordsOf(event: SqsEvent): readonly SqsRecord[] {
  const given: unknown = event;
  if (!isTable(given) || !Array.isArray(given["Records"])) throw noEvent("it has no Records");
  const records: readonly unknown[] = given["Records"];
  records.forEach((record, index) => {
    if (!isTable(record) || record["eventSource"] !== "aws:sqs") throw noEvent(`record ${index} is not from SQS`);
    for (const field of ["messageId", "body", "eventSourceARN"] as const)
      if (typeof record[field] !== "string") throw noEvent(`record ${index} has no ${field}`);
  });
  return event.Records;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Nothing of the event is repeated: it may be anybody's. */
function noEvent(reason: string): PosthornError {
  const text = `This is no event of an SQS queue: ${reason}. Invoke the function by an event source mapping of the queue, and by nothing else.`;
  return new PosthornError("INVALID_OPTION", text, { details: { option: "event" } });
}

export function messageOfRecord(record: SqsRecord): ReceivedMessage {
  const { messageId, receiptHandle, body, attributes = {}, messageAttributes = {} } = record;
  return {
    messageId,
    receiptHandle,
    body,
    attributes: Object.fromEntries(
      Object.entries(messageAttributes).map(([name, attribute]) => [name, valueOf(attribute)]),
    ),
    receiveCount: Number(attributes.ApproximateReceiveCount ?? 1),
    sentAt: Number(attributes.SentTimestamp ?? 0),
    groupId: attributes.MessageGroupId,
  };
}

function valueOf({ dataType, stringValue = "", binaryValue = "" }: SqsRecordAttribute): AttributeValue {
  return dataType.startsWith("Binary") ? Buffer.from(binaryValue, "base64") : stringValue;
}
