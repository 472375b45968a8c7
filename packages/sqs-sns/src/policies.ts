/**
 * What an account has to be allowed on AWS, as IAM policy documents: no more than is used, and of no more than the application's own
 * queues and topics.
 *
 * A service that publishes and consumes needs both; one that provisions at its start the third as well, unless that is left to
 * others (`provision: "verify"`). Keys of one's own for encryption need more (`kms:GenerateDataKey`, `kms:Decrypt`; and for SNS a grant in
 * the key's policy).
 *
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
 */
import type { Topology } from "@posthorn/core/transport";
import { arnOf } from "./arns.ts";
import { namesOf } from "./names.ts";
import type { Settings } from "./options.ts";

export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly PolicyStatement[];
}

export interface PolicyStatement {
  readonly Sid: string;
  readonly Effect: "Allow";
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
}

export interface Policies {
  /** Sends to the queues and publishes to the topics of the topology. */
  readonly publisher: PolicyDocument;
  /** Consumes its groups, sends what failed back or to the dead letters, and goes through these. */
  readonly consumer: PolicyDocument;
  /** Makes everything, and compares it. It deletes nothing. */
  readonly provisioner: PolicyDocument;
}

/** @param settings without an account id the policies are of whichever account */
export function explainPolicies(
  { channels, groups }: Topology,
  settings: Pick<Settings, "prefix" | "region"> & Partial<Pick<Settings, "accountId">>,
): Policies {
  const { region, accountId } = settings;
  const names = namesOf(settings);
  const arn = (service: "sqs" | "sns", name: string): string => arnOf(service, region, accountId ?? "*", name);

  const sendQueues = channels
    .filter(({ kind }) => kind === "queue")
    .flatMap((channel) => [
      names.queue(channel, channel.name),
      ...(channel.ordered ? [names.delay(channel, channel.name)] : []),
    ]);
  const topics = channels.filter(({ kind }) => kind === "topic").map((channel) => arn("sns", names.topic(channel)));
  const inlets = groups.flatMap(({ channel, name }) => [
    names.queue(channel, name),
    ...(channel.ordered ? [names.delay(channel, name)] : []),
  ]);
  const deadLetters = groups.map(({ channel, name }) => names.deadLetters(channel, name));
  const own = [...new Set([...inlets, ...deadLetters])].map((name) => arn("sqs", name));
  const subscribed = groups.filter(({ channel }) => channel.kind === "topic");
  const subscribedQueues = subscribed.map(({ channel, name }) => arn("sqs", names.queue(channel, name)));
  const groupTopics = [...new Set(subscribed.map(({ channel }) => arn("sns", names.topic(channel))))];
  const allTopics = [...new Set([...topics, ...groupTopics])];
  /** SNS finds a topic by its name only by going through all of them. */
  const finding =
    accountId === undefined ? [statement("FindTopics", ["sns:ListTopics"], topics.length === 0 ? [] : ["*"])] : [];

  return {
    publisher: document([
      statement(
        "SendToQueues",
        ["sqs:GetQueueUrl", "sqs:SendMessage"],
        sendQueues.map((name) => arn("sqs", name)),
      ),
      statement("PublishToTopics", ["sns:Publish"], topics),
      ...finding,
    ]),
    consumer: document([
      statement(
        "ConsumeGroups",
        [
          "sqs:ChangeMessageVisibility",
          "sqs:DeleteMessage",
          "sqs:GetQueueAttributes",
          "sqs:GetQueueUrl",
          "sqs:ReceiveMessage",
          "sqs:SendMessage",
        ],
        own,
      ),
    ]),
    provisioner: document([
      statement("MakeQueues", ["sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:TagQueue"], own),
      statement("LetTopicsIn", ["sqs:SetQueueAttributes"], subscribedQueues),
      statement("MakeTopics", ["sns:CreateTopic", "sns:GetTopicAttributes", "sns:TagResource"], allTopics),
      statement("Subscribe", ["sns:ListSubscriptionsByTopic", "sns:Subscribe"], groupTopics),
      // IAM knows no resources for these.
      statement(
        "ReadAndWidenSubscriptions",
        ["sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes"],
        groupTopics.length === 0 ? [] : ["*"],
      ),
      ...finding,
    ]),
  };
}

function statement(Sid: string, Action: readonly string[], Resource: readonly string[]): PolicyStatement {
  return { Sid, Effect: "Allow", Action, Resource };
}

/** Of nothing there is nothing to be said. */
function document(statements: readonly PolicyStatement[]): PolicyDocument {
  return { Version: "2012-10-17", Statement: statements.filter(({ Resource }) => Resource.length > 0) };
}
