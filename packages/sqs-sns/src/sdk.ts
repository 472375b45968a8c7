/** SQS and SNS over the AWS SDK, which is known here only. */
import type {
  $Command as SnsCommand,
  ServiceInputTypes as SnsInput,
  ServiceOutputTypes as SnsOutput,
  SNSClientResolvedConfig,
} from "@aws-sdk/client-sns";
import {
  CreateTopicCommand,
  GetSubscriptionAttributesCommand,
  GetTopicAttributesCommand,
  ListSubscriptionsByTopicCommand,
  ListTopicsCommand,
  PublishBatchCommand,
  SetSubscriptionAttributesCommand,
  SNSClient,
  SubscribeCommand,
} from "@aws-sdk/client-sns";
import type {
  $Command as SqsCommand,
  ServiceInputTypes as SqsInput,
  ServiceOutputTypes as SqsOutput,
  SQSClientConfig,
  SQSClientResolvedConfig,
} from "@aws-sdk/client-sqs";
import {
  ChangeMessageVisibilityBatchCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { arnOf } from "./arns.ts";
import type { Aws, Sns, Sqs, Subscription } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { classOf, unreadableAnswer } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { Agents } from "./sdk-agents.ts";
import { createAgents } from "./sdk-agents.ts";
import { batchEntry, receivedMessage, resultsOf } from "./sdk-entries.ts";
import type { Requests } from "./sdk-requests.ts";
import { createRequests } from "./sdk-requests.ts";

/** Connections to one host for all but polls: who waits for one longer than for a connection is taken for cut off. */
const mostSockets = 200;
/** What SQS waits at most, in milliseconds. */
const longestPollMs = 20_000;
/** Of a listing: an account has at most 100,000 topics, a page 100 of them. */
const mostPages = 2_000;

export function createAws(settings: Settings): Aws {
  // Polls hold their connection while they wait. Each consumer bounds its own.
  const pollAgents = createAgents(Infinity);
  const agents = createAgents(mostSockets);
  const requests = createRequests(() => {
    pollAgents.dropIdle();
    agents.dropIdle();
  });
  const passing = { step: "deserialize", priority: "high", name: "posthornPassing" } as const;
  const config = configOf(settings, settings.endpoint);
  const sqsClient = new SQSClient({ ...config, requestHandler: handlerOf(settings, agents, 0) });
  // They are looked up once for all.
  const { credentials } = sqsClient.config;
  const pollClient = new SQSClient({
    ...config,
    credentials,
    requestHandler: handlerOf(settings, pollAgents, longestPollMs),
  });
  const snsClient = new SNSClient({
    ...configOf(settings, settings.snsEndpoint),
    credentials,
    requestHandler: handlerOf(settings, agents, 0),
  });
  sqsClient.middlewareStack.add(requests.passing, passing);
  pollClient.middlewareStack.add(requests.passing, passing);
  snsClient.middlewareStack.add(requests.passing, passing);
  return {
    sqs: createSqs(settings, requests, sqsClient, pollClient),
    sns: createSns(settings, requests, snsClient),
    close() {
      requests.close();
      pollAgents.destroy();
      agents.destroy();
    },
  };
}

function configOf({ region, credentials }: Settings, endpoint: string | undefined): SQSClientConfig {
  return {
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: credentials as NonNullable<SQSClientConfig["credentials"]> }),
    // Whoever called decides about trying again.
    maxAttempts: 1,
    retryMode: "standard",
    // An emulator's queue URLs may have a host that only it knows.
    useQueueUrlAsEndpoint: false,
  };
}

/** @param waitMs how long an answer may take beside the time that a request has */
function handlerOf(settings: Settings, { httpAgent, httpsAgent }: Agents, waitMs: number): object {
  return (
    settings.requestHandler ?? {
      httpAgent,
      httpsAgent,
      connectionTimeout: settings.connectTimeoutMs,
      throwOnRequestTimeout: true,
      // That of each request ends with the head of the answer.
      socketTimeout: settings.requestTimeoutMs + waitMs,
    }
  );
}

function createSqs(settings: Settings, requests: Requests, client: SQSClient, polls: SQSClient): Sqs {
  function ask<Input extends SqsInput, Output extends SqsOutput>(
    command: SqsCommand<Input, Output, SQSClientResolvedConfig, SqsInput, SqsOutput>,
    signal: AbortSignal,
    waitMs?: number,
  ): Promise<Output> {
    const via = waitMs === undefined ? client : polls;
    const timeoutMs = settings.requestTimeoutMs + (waitMs ?? 0);
    return requests.ask(command, (options) => via.send(command, options), signal, timeoutMs);
  }

  return {
    async queueUrl(name, signal) {
      const answer = await orMissing(ask(new GetQueueUrlCommand({ QueueName: name }), signal));
      return answer === undefined ? undefined : given(answer.QueueUrl, "QueueUrl");
    },
    async createQueue(name, attributes, tags, signal) {
      const command = new CreateQueueCommand({ QueueName: name, Attributes: attributes, tags });
      return given((await ask(command, signal)).QueueUrl, "QueueUrl");
    },
    async queueAttributes(url, signal) {
      const command = new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] });
      return (await ask(command, signal)).Attributes ?? {};
    },
    async setQueueAttributes(url, attributes, signal) {
      await ask(new SetQueueAttributesCommand({ QueueUrl: url, Attributes: attributes }), signal);
    },
    async send(url, entries, signal) {
      const Entries = entries.map((entry, index) => ({
        ...batchEntry(entry, index),
        MessageBody: entry.body,
        DelaySeconds: entry.delaySeconds,
      }));
      return resultsOf(entries.length, await ask(new SendMessageBatchCommand({ QueueUrl: url, Entries }), signal));
    },
    async receive(url, { maxMessages, waitSeconds, visibilitySeconds }, signal) {
      const command = new ReceiveMessageCommand({
        QueueUrl: url,
        MaxNumberOfMessages: maxMessages,
        WaitTimeSeconds: waitSeconds,
        VisibilityTimeout: visibilitySeconds,
        MessageAttributeNames: ["All"],
        MessageSystemAttributeNames: ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
      });
      return ((await ask(command, signal, waitSeconds * 1_000)).Messages ?? []).map(receivedMessage);
    },
    async delete(url, receiptHandles, signal) {
      const Entries = receiptHandles.map((handle, index) => ({ Id: String(index), ReceiptHandle: handle }));
      return resultsOf(Entries.length, await ask(new DeleteMessageBatchCommand({ QueueUrl: url, Entries }), signal));
    },
    async changeVisibility(url, entries, signal) {
      const Entries = entries.map(({ receiptHandle, visibilitySeconds }, index) => ({
        Id: String(index),
        ReceiptHandle: receiptHandle,
        VisibilityTimeout: visibilitySeconds,
      }));
      const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries });
      return resultsOf(Entries.length, await ask(command, signal));
    },
  };
}

function createSns({ region, accountId, requestTimeoutMs }: Settings, requests: Requests, client: SNSClient): Sns {
  function ask<Input extends SnsInput, Output extends SnsOutput>(
    command: SnsCommand<Input, Output, SNSClientResolvedConfig, SnsInput, SnsOutput>,
    signal: AbortSignal,
  ): Promise<Output> {
    return requests.ask(command, (options) => client.send(command, options), signal, requestTimeoutMs);
  }

  async function topicAttributes(arn: string, signal: AbortSignal): Promise<Record<string, string> | undefined> {
    const answer = await orMissing(ask(new GetTopicAttributesCommand({ TopicArn: arn }), signal));
    return answer === undefined ? undefined : (answer.Attributes ?? {});
  }

  return {
    async createTopic(name, attributes, tags, signal) {
      const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
      const command = new CreateTopicCommand({ Name: name, Attributes: attributes, Tags });
      return given((await ask(command, signal)).TopicArn, "TopicArn");
    },
    async topicArn(name, signal) {
      if (accountId !== undefined) {
        const arn = arnOf("sns", region, accountId, name);
        return (await topicAttributes(arn, signal)) === undefined ? undefined : arn;
      }
      return eachPage(async (NextToken) => {
        const answer = await ask(new ListTopicsCommand({ NextToken }), signal);
        const found = answer.Topics?.find(({ TopicArn }) => TopicArn?.endsWith(`:${name}`));
        return { found: found?.TopicArn, next: answer.NextToken };
      });
    },
    topicAttributes,
    async publish(arn, entries, signal) {
      const PublishBatchRequestEntries = entries.map((entry, index) => ({
        ...batchEntry(entry, index),
        Message: entry.body,
      }));
      const command = new PublishBatchCommand({ TopicArn: arn, PublishBatchRequestEntries });
      return resultsOf(entries.length, await ask(command, signal));
    },
    async subscribe(topicArn, queueArn, attributes, signal) {
      const command = new SubscribeCommand({
        TopicArn: topicArn,
        Protocol: "sqs",
        Endpoint: queueArn,
        Attributes: attributes,
        ReturnSubscriptionArn: true,
      });
      return given((await ask(command, signal)).SubscriptionArn, "SubscriptionArn");
    },
    async subscriptions(topicArn, signal) {
      const all: Subscription[] = [];
      await eachPage(async (NextToken) => {
        const answer = await ask(new ListSubscriptionsByTopicCommand({ TopicArn: topicArn, NextToken }), signal);
        for (const { Protocol, SubscriptionArn = "", Endpoint = "" } of answer.Subscriptions ?? [])
          // One that waits for its confirmation, or was deleted, has a word in place of its ARN.
          if (Protocol === "sqs" && SubscriptionArn.startsWith("arn:"))
            all.push({ arn: SubscriptionArn, endpoint: Endpoint });
        return { next: answer.NextToken };
      });
      return all;
    },
    async subscriptionAttributes(arn, signal) {
      return (await ask(new GetSubscriptionAttributesCommand({ SubscriptionArn: arn }), signal)).Attributes ?? {};
    },
    async setSubscriptionAttribute(arn, name, value, signal) {
      const input = { SubscriptionArn: arn, AttributeName: name, AttributeValue: value };
      await ask(new SetSubscriptionAttributesCommand(input), signal);
    },
  };
}

async function orMissing<Output>(answer: Promise<Output>): Promise<Output | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RequestFailure && classOf(error.code, error.httpStatus) === "missing") return undefined;
    throw error;
  }
}

/** Goes on until something is found, or there is no further page. */
async function eachPage<Found>(
  ask: (
    token: string | undefined,
  ) => Promise<{ readonly found?: Found | undefined; readonly next: string | undefined }>,
): Promise<Found | undefined> {
  let token: string | undefined;
  for (let page = 0; page < mostPages; page++) {
    const { found, next } = await ask(token);
    if (found !== undefined || next === undefined || next === "") return found;
    token = next;
  }
  throw unreadable(`a listing of more than ${mostPages} pages`);
}

function given(value: string | undefined, name: string): string {
  if (value === undefined) throw unreadable(`no ${name}`);
  return value;
}

function unreadable(what: string): RequestFailure {
  return new RequestFailure(`An answer has ${what}.`, { sent: true, code: unreadableAnswer, httpStatus: 200 });
}
