/** What AWS Lambda does with a queue: takes messages, invokes a function with them, and deletes what it does not get back. */
import type { ReceivedMessage } from "./aws.ts";
import type { FakeAws } from "./aws.fixture.ts";
import type { LambdaContext, SqsEvent, SqsRecord } from "./lambda-events.ts";
import type { SqsLambdaHandler } from "./lambda-handler.ts";
import { createLambdaHandler } from "./lambda-handler.ts";
import type { LambdaRoutes } from "./lambda-routes.ts";
import { createLambdaRoutes } from "./lambda-routes.ts";
import type { Reading, ReadingOptions } from "./reading.fixture.ts";
import { createReading, never } from "./reading.fixture.ts";

export interface LambdaReading extends Reading {
  readonly routes: LambdaRoutes;
  readonly handler: SqsLambdaHandler;
  /** With up to ten messages of the queue. @returns the ids of SQS that come again */
  readonly invoke: (queue: string, context?: LambdaContext) => Promise<readonly string[]>;
}

/** An intake that invocations feed. */
export async function createLambdaReading(options: ReadingOptions = {}): Promise<LambdaReading> {
  const routes = createLambdaRoutes({ region: "eu-west-1" });
  const reading = await createReading({ ...options, openReader: routes.openReader });
  const { aws, clock } = reading;
  const handler = createLambdaHandler(routes, clock);
  return {
    ...reading,
    get queue() {
      return reading.queue;
    },
    routes,
    handler,
    async invoke(queue, context) {
      const { url } = aws.queue(queue);
      const messages = await take(aws, url);
      const { batchItemFailures } = await handler(eventOf(aws.queue(queue).arn, messages), context);
      const failed = batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
      const done = messages.flatMap(({ messageId, receiptHandle }) =>
        failed.includes(messageId) ? [] : [receiptHandle],
      );
      if (done.length > 0) await aws.sqs.delete(url, done, never);
      return failed;
    },
  };
}

function take(aws: FakeAws, url: string): Promise<readonly ReceivedMessage[]> {
  return aws.sqs.receive(url, { maxMessages: 10, waitSeconds: 0, visibilitySeconds: 180 }, never);
}

export function eventOf(queueArn: string, messages: readonly ReceivedMessage[]): SqsEvent {
  return { Records: messages.map((message) => recordOf(queueArn, message)) };
}

export function recordOf(queueArn: string, message: ReceivedMessage): SqsRecord {
  const { messageId, receiptHandle, body, receiveCount, sentAt, groupId } = message;
  return {
    messageId,
    receiptHandle,
    body,
    attributes: {
      ApproximateReceiveCount: String(receiveCount),
      SentTimestamp: String(sentAt),
      ...(groupId === undefined ? {} : { MessageGroupId: groupId }),
    },
    messageAttributes: Object.fromEntries(
      Object.entries(message.attributes).map(([name, value]) => [
        name,
        typeof value === "string"
          ? { dataType: "String", stringValue: value }
          : { dataType: "Binary", binaryValue: Buffer.from(value).toString("base64") },
      ]),
    ),
    eventSource: "aws:sqs",
    eventSourceARN: queueArn,
  };
}

export function remaining(ms: number): LambdaContext {
  return { getRemainingTimeInMillis: () => ms };
}
