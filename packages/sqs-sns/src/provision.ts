/**
 * How a topology comes to exist, or is compared.
 *
 * Of a group the dead-letter queue is made first, then the queue whose redrive policy leads there, then what fills it: so there is no
 * moment at which a message could be lost. All of it can be done twice, also by two services at the same moment.
 *
 * **How soon.** SQS may not find a queue in its first second, and shows a changed attribute after up to a minute: for the one it is waited, for
 * the other a few seconds. SNS keeps to a filter that has got more types only after up to 15 minutes, and nothing tells when: a
 * group that gets another type may miss what is published of it until then. The filter of a new group holds at once.
 *
 * @see https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html
 */
import type {
  Group,
  InletAddress,
  ProvisionMode,
  Topology,
  TopologyChange,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { inletAddress } from "@posthorn/core/transport";
import { arnOf, arnOfUrl, siblingArn } from "./arns.ts";
import { createAsking } from "./asking.ts";
import type { ServiceAttributes } from "./aws.ts";
import { forEachAtMost } from "./batches.ts";
import type { Settings } from "./options.ts";
import type { Places } from "./places.ts";
import type { ProvisionRequests } from "./provision-requests.ts";
import { createProvisionRequests, notYetFound } from "./provision-requests.ts";
import { policyWith } from "./queue-policy.ts";
import type { Reach } from "./reach.ts";
import type { FoundQueue } from "./subscribing.ts";
import { subscribe } from "./subscribing.ts";
import type { Wanted, WantedGroup } from "./topology.ts";
import { differencesOf, missing, redrivePolicy, wantedTopology } from "./topology.ts";

export interface ProvisionerOptions {
  readonly reach: Pick<Reach, "aws" | "ready">;
  readonly places: Pick<Places, "learn">;
  readonly settings: Settings;
  readonly environment: TransportEnvironment;
}

export interface Provisioner {
  /**
   * Tries again whatever may work later, until the signal fires: a queue of a name that was deleted can be made after a minute.
   *
   * @returns what cannot be applied; in the other modes whatever is missing or different. Attributes that the account may not see are
   * not compared. A subscription is called after its queue.
   * @throws ACCESS_REFUSED, AUTHENTICATION_FAILED, TRANSPORT_FAILED; ABORTED, CLOSED
   */
  provision(topology: Topology, mode: ProvisionMode, signal: AbortSignal): Promise<readonly TopologyChange[]>;
  /**
   * Makes a group's queues, topic and subscription again that this transport has applied.
   *
   * @returns false where it has not applied them
   */
  restore(inlet: Pick<InletAddress, "channel" | "group">, signal: AbortSignal): Promise<boolean>;
}

/** So many groups, or topics, are made or compared at a time. */
const mostAtOnce = 8;

export function createProvisioner({ reach, places, settings, environment }: ProvisionerOptions): Provisioner {
  const asking = createAsking(reach, environment);
  /** What was applied, by the inlet's id. */
  const applied = new Map<string, Group>();

  async function queue(
    { ask, create, ifVisible, signal }: ProvisionRequests,
    makes: boolean,
    { name, attributes, tags }: Wanted,
    more: ServiceAttributes = {},
  ): Promise<FoundQueue | undefined> {
    const what = `queue ${JSON.stringify(name)}`;
    const find = (): Promise<string | undefined> => ask(what, ({ sqs }) => sqs.queueUrl(name, signal));
    let url = await find();
    if (url === undefined && !makes) return undefined;
    url ??= await create(what, ({ sqs }) => sqs.createQueue(name, { ...attributes, ...more }, tags, signal));
    url ??= await find();
    if (url === undefined) throw notYetFound;
    const found = url;
    const present = await ifVisible(what, ({ sqs }) => sqs.queueAttributes(found, signal));
    places.learn(name, found);
    return { name, url, arn: present?.["QueueArn"] ?? arnOfUrl(url, settings.region), attributes: present };
  }

  /** @param beside the ARN of something in the same account and region */
  async function topic(
    { ask, create, ifVisible, signal }: ProvisionRequests,
    makes: boolean,
    { name, attributes, tags }: Wanted,
    beside: string | undefined,
  ): Promise<string | undefined> {
    const what = `topic ${JSON.stringify(name)}`;
    const { accountId, region } = settings;
    const ownArn = accountId === undefined ? undefined : arnOf("sns", region, accountId, name);
    const arn = beside === undefined ? ownArn : siblingArn(beside, "sns", name);
    const search = (): Promise<string | undefined> => ask(what, ({ sns }) => sns.topicArn(name, signal));
    const isThere =
      arn === undefined
        ? undefined
        : await ifVisible(what, async ({ sns }) => (await sns.topicAttributes(arn, signal)) !== undefined);
    let found = isThere === true ? arn : undefined;
    if (makes) {
      // To make it is cheaper than to find it by its name alone, and does nothing to one that is there.
      found ??= await create(what, ({ sns }) => sns.createTopic(name, attributes, tags, signal));
      found ??= await search();
      if (found === undefined) throw notYetFound;
    } else if (arn === undefined) found = await search();
    // Whoever may not look at it sees whether it is there when it is subscribed to.
    else if (isThere === undefined) found = arn;
    if (found !== undefined) places.learn(name, found);
    return found;
  }

  /** One call of `provision`. */
  async function work(topology: Topology, makes: boolean, until: AbortSignal): Promise<readonly TopologyChange[]> {
    const failing = new AbortController();
    const signal = AbortSignal.any([until, failing.signal]);
    const requests = createProvisionRequests(asking, signal);
    const { ifVisible, untilThere } = requests;
    const wanted = wantedTopology(topology, settings);
    /** The ARNs of topics, by name; `undefined` of those that are not there. */
    const topics = new Map<string, Promise<string | undefined>>();

    const topicOnce = (each: Wanted, beside: string | undefined): Promise<string | undefined> => {
      const before = topics.get(each.name);
      if (before !== undefined) return before;
      const found = untilThere(() => topic(requests, makes, each, beside));
      topics.set(each.name, found);
      return found;
    };

    async function topicChanges(each: Wanted): Promise<readonly TopologyChange[]> {
      const arn = await topicOnce(each, undefined);
      if (arn === undefined) return [missing("topic", each.name)];
      const what = `topic ${JSON.stringify(each.name)}`;
      const attributes = await ifVisible(what, ({ sns }) => sns.topicAttributes(arn, signal));
      return attributes === undefined ? [] : differencesOf(each, attributes);
    }

    async function group(each: WantedGroup): Promise<readonly TopologyChange[]> {
      const { inlet, subscription } = each;
      const redriven = (beside: string): Wanted => {
        const target = siblingArn(beside, "sqs", each.deadLetters.name);
        const RedrivePolicy = redrivePolicy(target, settings.deliveryLimit);
        return { ...inlet, attributes: { ...inlet.attributes, RedrivePolicy } };
      };
      const deadLetters = await queue(requests, makes, each.deadLetters);
      const found = await (deadLetters === undefined
        ? queue(requests, makes, inlet)
        : queue(requests, makes, redriven(deadLetters.arn), policyFor(each, deadLetters.arn)));
      const changes = [
        ...changesOf(each.deadLetters, deadLetters),
        ...changesOf(found === undefined ? inlet : redriven(found.arn), found),
      ];
      if (each.delay !== undefined) changes.push(...changesOf(each.delay, await queue(requests, makes, each.delay)));
      if (subscription === undefined) return changes;
      const topicArn = await topicOnce(subscription.topic, found?.arn);
      if (found === undefined || topicArn === undefined) return [...changes, missing("subscription", inlet.name)];
      return [...changes, ...(await subscribe(requests, makes, found, topicArn, subscription.types))];
    }

    const inGroups = await inParallel(wanted.groups, failing, (each) =>
      untilThere(async () => {
        try {
          return await group(each);
        } catch (error) {
          // The topic may be what has vanished.
          if (each.subscription !== undefined) topics.delete(each.subscription.topic.name);
          throw error;
        }
      }),
    );
    // Where they are is known by then from the queues.
    const ofTopics = await inParallel(wanted.topics, failing, topicChanges);
    return [...ofTopics, ...inGroups].flat();
  }

  return {
    async provision(topology, mode, signal) {
      const changes = await work(topology, mode === "apply", signal);
      if (mode === "apply")
        for (const group of topology.groups) applied.set(inletAddress(group.channel, group.name).id, group);
      return changes;
    },
    async restore({ channel, group: name }, signal) {
      const group = applied.get(inletAddress(channel, name).id);
      if (group === undefined) return false;
      await work({ channels: [group.channel], groups: [group] }, true, signal);
      return true;
    },
  };
}

function changesOf(wanted: Wanted, found: FoundQueue | undefined): readonly TopologyChange[] {
  if (found === undefined) return [missing("queue", wanted.name)];
  return found.attributes === undefined ? [] : differencesOf(wanted, found.attributes);
}

/** A new queue lets its topic in from the first moment on. */
function policyFor({ inlet, subscription }: WantedGroup, beside: string): ServiceAttributes {
  if (subscription === undefined) return {};
  const queueArn = siblingArn(beside, "sqs", inlet.name);
  return { Policy: policyWith(undefined, queueArn, siblingArn(beside, "sns", subscription.topic.name)) };
}

/** @param failing is aborted when one fails, which ends the others: its error is what is thrown */
async function inParallel<Item, Result>(
  items: readonly Item[],
  failing: AbortController,
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  await forEachAtMost([...items.entries()], mostAtOnce, async ([index, item]) => {
    if (failing.signal.aborted) return;
    try {
      results[index] = await work(item);
    } catch (error) {
      failing.abort(error);
    }
  });
  failing.signal.throwIfAborted();
  return results;
}
