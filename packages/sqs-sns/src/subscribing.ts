/** How a group's queue comes to get its types from a topic: the queue lets the topic send, and a subscription lets the types through. */
import type { TopologyChange } from "@posthorn/core/transport";
import { isMissing } from "./asking.ts";
import type { ServiceAttributes } from "./aws.ts";
import { filterLacks, filterPolicy } from "./filter-policy.ts";
import type { ProvisionRequests } from "./provision-requests.ts";
import { notYetFound } from "./provision-requests.ts";
import { allows, policyWith, readPolicy } from "./queue-policy.ts";
import { missing, policyDifference, subscriptionDifferences } from "./topology.ts";

/** A queue that is there. Its attributes are `undefined` where we may not see them. */
export interface FoundQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly attributes: ServiceAttributes | undefined;
}

/** How often it is looked whether a change shows: some seconds. */
const mostLooks = 6;

/**
 * @param makes or only compares
 * @returns what is missing or different after that
 */
export async function subscribe(
  requests: ProvisionRequests,
  makes: boolean,
  queue: FoundQueue,
  topicArn: string,
  types: readonly string[],
): Promise<readonly TopologyChange[]> {
  const changes = await letIn(requests, makes, queue, topicArn);
  const what = `subscription of queue ${JSON.stringify(queue.name)}`;
  const { signal, create, ifVisible } = requests;
  const all = await subscriptionsOf(requests, makes, what, topicArn);
  if (all === undefined && !makes) return changes;
  const isOurs = ({ endpoint }: { readonly endpoint: string }): boolean => endpoint === queue.arn;
  let arn = all?.find(isOurs)?.arn;
  if (arn === undefined && !makes) return [...changes, missing("subscription", queue.name)];
  const attributes = { RawMessageDelivery: "true", FilterPolicy: filterPolicy(types) };
  arn ??= await create(what, ({ sns }) => sns.subscribe(topicArn, queue.arn, attributes, signal));
  if (arn === undefined) {
    // It exists otherwise: somebody else has just made it, or we could not see it.
    const again = await ifVisible(what, ({ sns }) => sns.subscriptions(topicArn, signal));
    if (again === undefined) return changes;
    arn = again.find(isOurs)?.arn;
  }
  if (arn === undefined) throw notYetFound;
  return [...changes, ...(await letThrough(requests, makes, queue.name, arn, types))];
}

async function subscriptionsOf(
  { ifVisible, signal }: ProvisionRequests,
  makes: boolean,
  what: string,
  topicArn: string,
): Promise<readonly { readonly arn: string; readonly endpoint: string }[] | undefined> {
  try {
    return await ifVisible(what, ({ sns }) => sns.subscriptions(topicArn, signal));
  } catch (error) {
    // Nobody could see before whether there is such a topic.
    if (!makes && isMissing(error)) return [];
    throw error;
  }
}

/** The queue lets the topic send to it. */
async function letIn(
  { ask, ifVisible, pause, signal }: ProvisionRequests,
  makes: boolean,
  queue: FoundQueue,
  topicArn: string,
): Promise<readonly TopologyChange[]> {
  const { name, url, arn } = queue;
  const what = `queue ${JSON.stringify(name)}`;
  let { attributes } = queue;
  for (let looks = 1; attributes !== undefined; looks++) {
    const text = attributes["Policy"] === "" ? undefined : attributes["Policy"];
    const policy = text === undefined ? undefined : readPolicy(text);
    if (policy !== undefined && allows(policy, arn, topicArn)) return [];
    // What we do not understand we do not write over.
    if (!makes || (policy === undefined && text !== undefined)) return [policyDifference(name, text, arn, topicArn)];
    if (looks > mostLooks) return [];
    if (looks > 1) await pause(looks);
    const Policy = policyWith(policy, arn, topicArn);
    await ask(what, ({ sqs }) => sqs.setQueueAttributes(url, { Policy }, signal));
    attributes = await ifVisible(what, ({ sqs }) => sqs.queueAttributes(url, signal));
  }
  return [];
}

/** The subscription lets all of the types through, also when somebody else adds others at the same moment. */
async function letThrough(
  { ask, ifVisible, pause, signal }: ProvisionRequests,
  makes: boolean,
  name: string,
  arn: string,
  types: readonly string[],
): Promise<readonly TopologyChange[]> {
  const what = `subscription of queue ${JSON.stringify(name)}`;
  for (let looks = 1; ; looks++) {
    const attributes = await ifVisible(what, ({ sns }) => sns.subscriptionAttributes(arn, signal));
    if (attributes === undefined) return [];
    const lacks = filterLacks(types, attributes["FilterPolicy"]);
    if (!makes || typeof lacks === "string") return subscriptionDifferences(name, types, attributes);
    if (looks > mostLooks) return [];
    await ask(what, ({ sns }) => sns.setSubscriptionAttribute(arn, "FilterPolicy", lacks.wanted, signal));
    // Whoever had looked before that may yet write over it: some tenths of a second at first.
    await pause(looks + 2);
  }
}
