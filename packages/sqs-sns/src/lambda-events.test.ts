import { expect, test } from "vitest";
import { decodeMessage } from "./decode.ts";
import type { SqsEvent } from "./lambda-events.ts";
import { messageOfRecord, recordsOf } from "./lambda-events.ts";
import { recordOf } from "./lambda.fixture.ts";
import { received } from "./received.fixture.ts";
import { message } from "./reading.fixture.ts";
import { encodeMessage } from "./wire.ts";

const arn = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo";

/** As AWS's documentation shows one, https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, with attributes of each type. */
const record = {
  messageId: "11d6ee51-4cc7-4302-9e22-7cd8afdaadf5",
  receiptHandle: "AQEBBX8nesZEXmkhsmZeyIE8iQAMig7qw...",
  body: "Test message.",
  attributes: {
    ApproximateReceiveCount: "3",
    SentTimestamp: "1573251510774",
    SequenceNumber: "18849496460467696128",
    MessageGroupId: "1",
    SenderId: "AIDAIO23YVJENQZJOL4VO",
    MessageDeduplicationId: "1",
    ApproximateFirstReceiveTimestamp: "1573251510774",
  },
  messageAttributes: {
    text: { stringValue: "é", stringListValues: [], binaryListValues: [], dataType: "String" },
    number: { stringValue: "1.50", stringListValues: [], binaryListValues: [], dataType: "Number" },
    bytes: { binaryValue: "AP+A", stringListValues: [], binaryListValues: [], dataType: "Binary.gzip" },
  },
  md5OfBody: "e4e68fb7bd0e697a0ae8f1bb342846b3",
  eventSource: "aws:sqs",
  eventSourceARN: arn,
  awsRegion: "eu-west-1",
};

test("a record is what a poll would have brought", () => {
  expect(messageOfRecord(record)).toEqual({
    messageId: "11d6ee51-4cc7-4302-9e22-7cd8afdaadf5",
    receiptHandle: "AQEBBX8nesZEXmkhsmZeyIE8iQAMig7qw...",
    body: "Test message.",
    attributes: { text: "é", number: "1.50", bytes: Buffer.from([0, 255, 128]) },
    receiveCount: 3,
    sentAt: 1_573_251_510_774,
    groupId: "1",
  });
});

test("a record of a standard queue has no group, and one without attributes has none", () => {
  const { attributes: _attributes, messageAttributes: _messageAttributes, ...bare } = record;
  expect(messageOfRecord(bare)).toMatchObject({ attributes: {}, receiveCount: 1, sentAt: 0, groupId: undefined });
});

test("our own messages come out of a record as they went in", () => {
  const sent = message({ id: "m", key: "k", headers: { "x-tenant": "ü" }, body: new Uint8Array([0, 1, 255]) });
  const decoded = decodeMessage(messageOfRecord(recordOf(arn, received(encodeMessage(sent)))));
  expect(decoded).toEqual({ message: sent, defect: undefined });
});

test.each([
  ["undefined", undefined, "it has no Records"],
  ["a text", "event", "it has no Records"],
  ["an event of API Gateway", { requestContext: {}, body: "secret" }, "it has no Records"],
  ["an event of SNS", { Records: [{ EventSource: "aws:sns", Sns: {} }] }, "record 0 is not from SQS"],
  ["an event of S3", { Records: [{ eventSource: "aws:s3", s3: {} }] }, "record 0 is not from SQS"],
  ["a record that is null", { Records: [record, null] }, "record 1 is not from SQS"],
  ["a record without an id", { Records: [{ ...record, messageId: undefined }] }, "record 0 has no messageId"],
  ["a record without a body", { Records: [{ ...record, body: 1 }] }, "record 0 has no body"],
  ["a record without a queue", { Records: [{ ...record, eventSourceARN: null }] }, "record 0 has no eventSourceARN"],
])("%s is INVALID_OPTION, and says why", (_name, event, reason) => {
  expect(() => recordsOf(event as SqsEvent)).toThrow(
    expect.objectContaining({
      code: "INVALID_OPTION",
      message: `This is no event of an SQS queue: ${reason}. Invoke the function by an event source mapping of the queue, and by nothing else.`,
    }),
  );
});
