/** Messages as SQS would hand them out, for tests. */
import type { AttributeValue, OutgoingMessage, ReceivedMessage } from "./aws.ts";

export const sentAt = 1_752_125_504_999;

/** What comes back of a message that was sent. */
export function received(message: OutgoingMessage, rest: Partial<ReceivedMessage> = {}): ReceivedMessage {
  const { body, attributes } = message;
  return {
    messageId: "5fea7756-0ea4-451a-a703-a558b933e274",
    receiptHandle: "handle",
    body,
    attributes,
    receiveCount: 1,
    sentAt,
    groupId: undefined,
    ...rest,
  };
}

/** A message that some other program sent. */
export function foreign(
  attributes: Readonly<Record<string, AttributeValue>>,
  rest: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  return received({ body: "body", attributes }, rest);
}
