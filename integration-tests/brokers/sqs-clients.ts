/** The clients of SQS and SNS as the tests of brokers use them. */
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { CreateTopicCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import type { SqsBroker, SqsCredentials } from "./broker.ts";

export interface SqsClients extends Disposable {
  readonly sqs: SQSClient;
  readonly sns: SNSClient;
  /** Resolves to the queue's URL. */
  createQueue(name: string, attributes?: Record<string, string>): Promise<string>;
  send(queueUrl: string, body: string): Promise<void>;
  /** What is there, or comes within `waitSeconds`; at most ten. */
  receive(queueUrl: string, waitSeconds?: number): Promise<readonly Message[]>;
  /** Makes a topic whose messages come into the queue as they were published; resolves to its ARN. */
  createTopicInto(queueUrl: string, name: string): Promise<string>;
  /** Sets the queue's policy so that the topic may send to it. */
  allow(queueUrl: string, topicArn: string): Promise<void>;
}

/** @param endpoint where it is not the broker's own, but a link's */
export function sqsClients(
  { endpoint: own, region, credentials: known }: SqsBroker,
  { endpoint = own, credentials = known }: { readonly endpoint?: string; readonly credentials?: SqsCredentials } = {},
): SqsClients {
  // One try: what a broker does is to be seen as it is.
  const config = { endpoint, region, credentials, maxAttempts: 1 };
  const sqs = new SQSClient(config);
  const sns = new SNSClient(config);
  const arnOf = async (queueUrl: string): Promise<string> => {
    const { Attributes } = await sqs.send(
      new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: ["QueueArn"] }),
    );
    return Attributes?.["QueueArn"] ?? "";
  };
  return {
    sqs,
    sns,
    async createQueue(name, attributes) {
      const { QueueUrl = "" } = await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }));
      return QueueUrl;
    },
    async send(queueUrl, body) {
      await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: body }));
    },
    async receive(queueUrl, waitSeconds = 0) {
      const { Messages = [] } = await sqs.send(
        new ReceiveMessageCommand({
          QueueUrl: queueUrl,
          MaxNumberOfMessages: 10,
          WaitTimeSeconds: waitSeconds,
          MessageAttributeNames: ["All"],
        }),
      );
      return Messages;
    },
    async createTopicInto(queueUrl, name) {
      const { TopicArn = "" } = await sns.send(new CreateTopicCommand({ Name: name }));
      await sns.send(
        new SubscribeCommand({
          TopicArn,
          Protocol: "sqs",
          Endpoint: await arnOf(queueUrl),
          Attributes: { RawMessageDelivery: "true" },
        }),
      );
      return TopicArn;
    },
    async allow(queueUrl, topicArn) {
      const statement = {
        Effect: "Allow",
        Principal: { Service: "sns.amazonaws.com" },
        Action: "sqs:SendMessage",
        Resource: await arnOf(queueUrl),
        Condition: { ArnEquals: { "aws:SourceArn": topicArn } },
      };
      const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
      await sqs.send(new SetQueueAttributesCommand({ QueueUrl: queueUrl, Attributes: { Policy } }));
    },
    [Symbol.dispose]() {
      sqs.destroy();
      sns.destroy();
    },
  };
}
