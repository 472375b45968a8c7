/** SQS and SNS as the AWS SDK shows them, without Posthorn. Names are those of the documentation: a change of them breaks these lines. */
import { createHash, randomUUID } from "node:crypto";
import { isUtf8 } from "node:buffer";
import type { ChannelInfo } from "@posthorn/core";
import type { NativeBroker, NativeMessage, Place } from "@posthorn/contract-tests";
import type { Message, MessageAttributeValue } from "@aws-sdk/client-sqs";
import {
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  QueueDoesNotExist,
  ReceiveMessageCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import { DeleteTopicCommand, ListTopicsCommand, PublishCommand } from "@aws-sdk/client-sns";
import type { SqsBroker } from "../brokers/broker.ts";
import { sqsClients } from "../brokers/sqs-clients.ts";

export interface NativeSqs extends NativeBroker {
  /** Deletes all queues and topics that begin with a name. */
  removeAll(name: string): Promise<void>;
  /** Gives messages back whose receipt handles somebody has seen: at most ten at a time. */
  giveBack(place: Place, receiptHandles: Iterable<readonly string[]>): Promise<void>;
  close(): void;
}

export function queueName({ kind, channel, group }: Place): string {
  const inlet =
    channel.kind === "queue"
      ? baseName(channel.name, ["queue", channel.name])
      : baseName(`${channel.name}--${group}`, ["group", channel.name, group]);
  return `${kind === "dead-letters" ? `${inlet}__dlq` : inlet}${channel.ordered ? ".fifo" : ""}`;
}

function topicName({ name, ordered }: ChannelInfo): string {
  return `${baseName(name, ["topic", name])}${ordered ? ".fifo" : ""}`;
}

/** A name that is too long, or that holds what joins others, is cut and has a hash behind it. */
function baseName(plain: string, [kind = "", ...parts]: readonly string[]): string {
  if (plain.length <= 68 && parts.every((part) => !/--|__|[-_]$/.test(part))) return plain;
  const hash = createHash("sha256")
    .update(JSON.stringify([kind, ...parts]))
    .digest("hex")
    .slice(0, 20);
  return `${plain.slice(0, 46)}__${hash}`;
}

export function nativeSqs(broker: SqsBroker): NativeSqs {
  const clients = sqsClients(broker);
  const { sqs, sns } = clients;

  async function urlOf(name: string): Promise<string | undefined> {
    try {
      return (await sqs.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl;
    } catch (error) {
      if (error instanceof QueueDoesNotExist) return undefined;
      throw error;
    }
  }

  async function count(
    place: Place,
    attribute: "ApproximateNumberOfMessages" | "ApproximateNumberOfMessagesNotVisible",
  ) {
    const QueueUrl = await urlOf(queueName(place));
    const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [attribute] }));
    return Number(Attributes?.[attribute]);
  }

  async function topicArn(channel: ChannelInfo): Promise<string | undefined> {
    for (let NextToken: string | undefined, first = true; first || NextToken !== undefined; first = false) {
      const page = await sns.send(new ListTopicsCommand({ NextToken }));
      const found = page.Topics?.find(({ TopicArn }) => TopicArn?.endsWith(`:${topicName(channel)}`));
      if (found !== undefined) return found.TopicArn;
      ({ NextToken } = page);
    }
    return undefined;
  }

  return {
    countsHeld: false,
    leaseOutlivesConnection: true,
    keepsConnections: false,
    exists: async (place) => (await urlOf(queueName(place))) !== undefined,
    ready: (place) => count(place, "ApproximateNumberOfMessages"),
    inFlight: (place) => count(place, "ApproximateNumberOfMessagesNotVisible"),
    async bodies(place) {
      const QueueUrl = await urlOf(queueName(place));
      const taken: Message[] = [];
      for (;;) {
        const { Messages = [] } = await sqs.send(
          new ReceiveMessageCommand({
            QueueUrl,
            MaxNumberOfMessages: 10,
            VisibilityTimeout: 30,
            MessageAttributeNames: ["All"],
          }),
        );
        if (Messages.length === 0) break;
        taken.push(...Messages);
      }
      for (const { ReceiptHandle } of taken)
        await sqs.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout: 0 }));
      return taken.map(bodyOf);
    },
    async publish(channel, message) {
      const fifo = channel.ordered
        ? { MessageGroupId: message.headers?.["posthorn-key"] ?? randomUUID(), MessageDeduplicationId: randomUUID() }
        : {};
      const { body, attributes: MessageAttributes } = onWire(message);
      if (channel.kind === "topic") {
        const TopicArn = await topicArn(channel);
        await sns.send(new PublishCommand({ TopicArn, Message: body, MessageAttributes, ...fifo }));
      } else {
        const QueueUrl = await urlOf(queueName({ kind: "inlet", channel, group: channel.name }));
        await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: body, MessageAttributes, ...fifo }));
      }
    },
    async createConflicting(channel) {
      const QueueName = queueName({ kind: "inlet", channel, group: channel.name });
      const fifo = channel.ordered ? { FifoQueue: "true" } : {};
      await sqs.send(new CreateQueueCommand({ QueueName, Attributes: { VisibilityTimeout: "7", ...fifo } }));
    },
    async delete(place) {
      const QueueUrl = await urlOf(queueName(place));
      if (QueueUrl !== undefined) await sqs.send(new DeleteQueueCommand({ QueueUrl }));
    },
    async removeAll(name) {
      // Not those of another case, whose name goes on after this one.
      const isOurs = (full: string): boolean => full.startsWith(name) && /^([-_.]|$)/.test(full.slice(name.length));
      for (let NextToken: string | undefined, first = true; first || NextToken !== undefined; first = false) {
        const page = await sqs.send(new ListQueuesCommand({ QueueNamePrefix: name, MaxResults: 1_000, NextToken }));
        for (const QueueUrl of page.QueueUrls ?? [])
          if (isOurs(QueueUrl.slice(QueueUrl.lastIndexOf("/") + 1)))
            await sqs.send(new DeleteQueueCommand({ QueueUrl }));
        ({ NextToken } = page);
      }
      for (let NextToken: string | undefined, first = true; first || NextToken !== undefined; first = false) {
        const page = await sns.send(new ListTopicsCommand({ NextToken }));
        for (const { TopicArn = "" } of page.Topics ?? [])
          if (isOurs(TopicArn.slice(TopicArn.lastIndexOf(":") + 1)))
            await sns.send(new DeleteTopicCommand({ TopicArn }));
        ({ NextToken } = page);
      }
    },
    async giveBack(place, receiptHandles) {
      const QueueUrl = await urlOf(queueName(place));
      for (const handles of receiptHandles) {
        const Entries = handles.map((ReceiptHandle, index) => ({
          Id: String(index),
          ReceiptHandle,
          VisibilityTimeout: 0,
        }));
        // It fails for those that were settled meanwhile.
        await sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries }));
      }
    },
    close: () => clients[Symbol.dispose](),
  };
}

/** SQS carries text alone: what is none travels as the documentation says. */
function onWire({ body, contentType, id, type, headers, cloudEvent }: NativeMessage): {
  body: string;
  attributes: Record<string, MessageAttributeValue>;
} {
  const attributes: Record<string, MessageAttributeValue> = {};
  /** No attribute of SQS has an empty name or an empty value. */
  const set = (name: string, StringValue = ""): void => {
    if (name !== "" && StringValue !== "") attributes[name] = { DataType: "String", StringValue };
  };
  set("content-type", contentType);
  set("type", type);
  for (const [name, value] of Object.entries(headers ?? {})) set(name, value);
  for (const [name, value] of Object.entries(cloudEvent ?? {})) set(`ce_${name}`, value);
  if (body.byteLength > 0 && isUtf8(body)) {
    set("id", id);
    return { body: Buffer.from(body).toString(), attributes };
  }
  const encoding = body.byteLength === 0 ? "empty" : "base64";
  set("posthorn", JSON.stringify({ id, body: encoding }));
  return { body: body.byteLength === 0 ? "(empty)" : Buffer.from(body).toString("base64"), attributes };
}

function bodyOf({ Body = "", MessageAttributes }: Message): Uint8Array {
  const envelope = MessageAttributes?.["posthorn"]?.StringValue ?? "{}";
  const { body } = JSON.parse(envelope) as { body?: "base64" | "empty" };
  return new Uint8Array(body === "empty" ? [] : Buffer.from(Body, body === "base64" ? "base64" : "utf8"));
}
