/** Entries of batches, their results, and messages, from the terms of the AWS SDK and into them. */
import type { AttributeValue, EntryResult, ReceivedMessage, SendEntry } from "./aws.ts";
import { noResult } from "./errors.ts";
import { codeOf } from "./sdk-failures.ts";

/** What an entry has on SQS and on SNS. */
export function batchEntry({ attributes, groupId, deduplicationId }: SendEntry, index: number): BatchEntry {
  return {
    Id: String(index),
    MessageAttributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, typed(value)])),
    MessageGroupId: groupId,
    MessageDeduplicationId: deduplicationId,
  };
}

export interface BatchEntry {
  readonly Id: string;
  readonly MessageAttributes: Record<string, TypedValue>;
  readonly MessageGroupId: string | undefined;
  readonly MessageDeduplicationId: string | undefined;
}

/** An attribute. */
export interface TypedValue {
  DataType: string | undefined;
  StringValue?: string | undefined;
  BinaryValue?: Uint8Array | undefined;
}

function typed(value: AttributeValue): TypedValue {
  return typeof value === "string"
    ? { DataType: "String", StringValue: value }
    : { DataType: "Binary", BinaryValue: value };
}

interface FailedEntry {
  readonly Id?: string | undefined;
  readonly Code?: string | undefined;
  readonly Message?: string | undefined;
  readonly SenderFault?: boolean | undefined;
}

/** The answer to any batch. */
export interface BatchAnswer {
  readonly Successful?: readonly { readonly Id?: string | undefined }[] | undefined;
  readonly Failed?: readonly FailedEntry[] | undefined;
}

/** In the order of the entries, whose ids are their indices. */
export function resultsOf(count: number, { Successful = [], Failed = [] }: BatchAnswer): readonly EntryResult[] {
  const byId = new Map<string | undefined, EntryResult>();
  for (const { Id } of Successful) byId.set(Id, { ok: true });
  for (const { Id, Code = "", Message = "", SenderFault = false } of Failed)
    byId.set(Id, { ok: false, code: codeOf(Code), message: Message, senderFault: SenderFault });
  return Array.from({ length: count }, (_, index) => byId.get(String(index)) ?? notMentioned);
}

const notMentioned: EntryResult = {
  ok: false,
  code: noResult,
  message: "The answer does not mention it.",
  senderFault: false,
};

/** As the SDK gives it. */
export interface SdkMessage {
  readonly MessageId?: string | undefined;
  readonly ReceiptHandle?: string | undefined;
  readonly Body?: string | undefined;
  readonly Attributes?: Readonly<Partial<Record<string, string>>> | undefined;
  readonly MessageAttributes?: Readonly<Record<string, Partial<TypedValue>>> | undefined;
}

export function receivedMessage({ Attributes, MessageAttributes = {}, ...message }: SdkMessage): ReceivedMessage {
  return {
    messageId: message.MessageId ?? "",
    receiptHandle: message.ReceiptHandle ?? "",
    body: message.Body ?? "",
    attributes: Object.fromEntries(
      Object.entries(MessageAttributes).map(([name, { DataType, StringValue, BinaryValue }]) => [
        name,
        (DataType?.startsWith("Binary") === true ? BinaryValue : StringValue) ?? "",
      ]),
    ),
    receiveCount: Number(Attributes?.["ApproximateReceiveCount"] ?? 1),
    sentAt: Number(Attributes?.["SentTimestamp"] ?? 0),
    groupId: Attributes?.["MessageGroupId"],
  };
}
