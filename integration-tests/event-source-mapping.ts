/** What AWS Lambda does with a queue that is a function's event source, by the plain AWS SDK: no emulator of it is needed. */
import {
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type Message,
  type MessageAttributeValue,
  ReceiveMessageCommand,
} from "@aws-sdk/client-sqs";
import type { SqsBatchResponse, SqsEvent, SqsLambdaHandler, SqsRecord } from "@posthorn/sqs-sns";
import type { SqsBroker } from "./brokers/broker.ts";
import { sqsClients } from "./brokers/sqs-clients.ts";

export interface EventSourceMapping extends AsyncDisposable {
  /** Those that are over, in their order. */
  readonly invocations: readonly Invocation[];
  /** How many there were, those that are not over included. */
  readonly begun: number;
}

export interface Invocation {
  readonly event: SqsEvent;
  /** As AWS would read it. */
  readonly response: SqsBatchResponse | undefined;
  /** What the function rejected with. */
  readonly error: unknown;
  readonly durationMs: number;
}

export interface EventSourceMappingOptions {
  readonly broker: SqsBroker;
  /** Its name. */
  readonly queue: string;
  readonly handler: SqsLambdaHandler;
  /** The function's. */
  readonly timeoutMs: number;
}

/**
 * Invokes the function with batches of up to ten, one after the other, and deletes what is not reported back. What is, and all of a batch
 * whose invocation fails, becomes visible again when the queue's visibility timeout is over.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
export async function mapEventSource(options: EventSourceMappingOptions): Promise<EventSourceMapping> {
  const { broker, timeoutMs } = options;
  const clients = sqsClients(broker);
  const { sqs } = clients;
  const invocations: Invocation[] = [];
  const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: options.queue }));
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }));
  const queueArn = Attributes?.["QueueArn"] ?? "";
  let begun = 0;
  let ending = false;

  async function run(): Promise<void> {
    while (!ending) {
      const { Messages = [] } = await sqs.send(
        new ReceiveMessageCommand({
          QueueUrl,
          MaxNumberOfMessages: 10,
          WaitTimeSeconds: 1,
          MessageAttributeNames: ["All"],
          MessageSystemAttributeNames: ["All"],
        }),
      );
      if (Messages.length > 0) await invoke(Messages);
    }
  }

  async function invoke(messages: readonly Message[]): Promise<void> {
    begun++;
    const startedAt = performance.now();
    const context = { getRemainingTimeInMillis: () => startedAt + timeoutMs - performance.now() };
    // It comes and goes as JSON.
    const event = JSON.parse(
      JSON.stringify({ Records: messages.map((message) => recordOf(message, queueArn, broker.region)) }),
    ) as SqsEvent;
    let response: SqsBatchResponse | undefined;
    let error: unknown;
    try {
      response = JSON.parse(JSON.stringify(await options.handler(event, context))) as SqsBatchResponse;
    } catch (thrown) {
      error = thrown;
    }
    invocations.push({ event, response, error, durationMs: performance.now() - startedAt });
    if (response === undefined) return;
    const failed = new Set(response.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    const done = messages.filter(({ MessageId = "" }) => !failed.has(MessageId));
    if (done.length === 0) return;
    const Entries = done.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
    const { Failed = [] } = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    if (Failed.length > 0) throw new Error(`What was handled could not be deleted: ${JSON.stringify(Failed)}`);
  }

  const running = run();
  return {
    invocations,
    get begun() {
      return begun;
    },
    async [Symbol.asyncDispose]() {
      ending = true;
      await running;
      clients[Symbol.dispose]();
    },
  };
}

function recordOf(message: Message, eventSourceARN: string, awsRegion: string): SqsRecord & Record<string, unknown> {
  const { MessageId = "", ReceiptHandle = "", Body = "", Attributes = {}, MessageAttributes = {} } = message;
  return {
    messageId: MessageId,
    receiptHandle: ReceiptHandle,
    body: Body,
    attributes: Attributes,
    messageAttributes: Object.fromEntries(
      Object.entries(MessageAttributes).map(([name, attribute]) => [name, attributeOf(attribute)]),
    ),
    md5OfBody: message.MD5OfBody,
    eventSource: "aws:sqs",
    eventSourceARN,
    awsRegion,
  };
}

function attributeOf({ DataType = "", StringValue, BinaryValue }: MessageAttributeValue): Readonly<{
  dataType: string;
  stringValue: string | undefined;
  binaryValue: string | undefined;
}> {
  return {
    dataType: DataType,
    stringValue: StringValue,
    binaryValue: BinaryValue === undefined ? undefined : Buffer.from(BinaryValue).toString("base64"),
  };
}
