/** SQS and SNS in memory, as far as the port asks anything of them, on a clock that tests own. */
import { sleep } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import type { Aws, EntryResult, SendEntry, ServiceAttributes, Sns, Sqs } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import type { FakeQueue } from "./queue.fixture.ts";
import { createFakeQueue, fakeBytes } from "./queue.fixture.ts";

export type FakeApi = keyof Sqs | keyof Sns;

/** A request, before it is answered. */
export interface FakeRequest {
  readonly api: FakeApi;
  /** The name of its queue or topic. */
  readonly target: string;
  /** Of a batch, how many entries; otherwise 0. */
  readonly entries: number;
  readonly signal: AbortSignal;
}

export interface FakeSubscription {
  readonly arn: string;
  readonly endpoint: string;
  readonly attributes: Record<string, string>;
}

export interface FakeTopic {
  readonly name: string;
  readonly arn: string;
  readonly attributes: Record<string, string>;
  readonly tags: Readonly<Record<string, string>>;
  readonly subscriptions: FakeSubscription[];
}

export interface FakeAws extends Aws {
  /** By name. */
  readonly queues: Map<string, FakeQueue>;
  readonly topics: Map<string, FakeTopic>;
  /** Every request, in order, as `send orders`; of batches how many entries as well, as `delete orders 3`. */
  readonly asked: string[];
  /** May wait, which an abort of the request's signal has to end, or throw a {@link RequestFailure}. Nothing has happened yet. */
  intercept: (request: FakeRequest) => Promise<void> | void;
  /** What requests of a kind are refused with next, instead of being carried out. */
  readonly failures: Map<FakeApi, RequestFailure[]>;
  /** Requests that are carried out, and whose answer is this failure instead. */
  readonly lostAnswers: Map<FakeApi, RequestFailure[]>;
  /** What single entries of a batch are answered with next, instead of being carried out; `undefined` leaves one alone. */
  readonly entryFailures: Map<FakeApi, (EntryResult | undefined)[]>;
  /** How long every request takes, in milliseconds. Default 0. */
  latencyMs: number;
  /** How long a new queue is not found by anybody, in milliseconds. Default 0. */
  hiddenForMs: number;
  /** Most bytes of a batch. Default 1,048,576. */
  batchBytes: number;
  readonly closed: boolean;
  /** The queue. @throws where there is none */
  queue(name: string): FakeQueue;
  topic(name: string): FakeTopic;
  /** For a minute none of that name can be made. */
  deleteQueue(name: string): void;
}

const region = "eu-west-1";
const account = "123456789012";
const urlStart = `https://sqs.${region}.amazonaws.com/${account}/`;
const deletedRecentlyMs = 60_000;

/** The service refuses it. */
export function refusal(code: string, httpStatus = 400): RequestFailure {
  return new RequestFailure(`The service says ${code}.`, { sent: true, code, httpStatus });
}

/** Nobody answers. */
export function noAnswer(sent = true): RequestFailure {
  return new RequestFailure("socket hang up", { sent });
}

export function createFakeAws(clock: VirtualClock): FakeAws {
  const deletedAt = new Map<string, number>();
  let closed = false;
  let lastId = 0;

  const fake: FakeAws = {
    queues: new Map(),
    topics: new Map(),
    asked: [],
    intercept: () => undefined,
    failures: new Map(),
    lostAnswers: new Map(),
    entryFailures: new Map(),
    latencyMs: 0,
    hiddenForMs: 0,
    batchBytes: 1_048_576,
    get closed() {
      return closed;
    },
    queue: (name) => fake.queues.get(name) ?? missing(name),
    topic: (name) => fake.topics.get(name) ?? missing(name),
    deleteQueue(name) {
      fake.queues.delete(name);
      deletedAt.set(name, clock.now());
    },
    close() {
      closed = true;
    },
    sqs: {
      queueUrl: (name, signal) => ask("queueUrl", name, signal, () => shown(name)?.url),
      createQueue: (name, attributes, tags, signal) =>
        ask("createQueue", name, signal, () => createQueue(name, attributes, tags)),
      queueAttributes: (url, signal) => ask("queueAttributes", nameOf(url), signal, () => attributesOf(existing(url))),
      setQueueAttributes: (url, attributes, signal) =>
        ask("setQueueAttributes", nameOf(url), signal, () => void Object.assign(existing(url).attributes, attributes)),
      send: (url, entries, signal) => askBatch("send", url, entries, signal, (queue, entry) => queue.accept(entry)),
      async receive(url, request, signal) {
        const queue = await ask("receive", nameOf(url), signal, () => existing(url), 0, false);
        const messages = await queue.receive(request, signal);
        throwNext("receive", fake.lostAnswers);
        return messages;
      },
      delete: (url, receiptHandles, signal) =>
        askBatch("delete", url, receiptHandles, signal, (queue, handle) => queue.delete(handle)),
      changeVisibility: (url, entries, signal) =>
        askBatch("changeVisibility", url, entries, signal, (queue, { receiptHandle, visibilitySeconds }) =>
          queue.changeVisibility(receiptHandle, visibilitySeconds),
        ),
    },
    sns: {
      createTopic: (name, attributes, tags, signal) =>
        ask("createTopic", name, signal, () => createTopic(name, attributes, tags)),
      topicArn: (name, signal) => ask("topicArn", name, signal, () => fake.topics.get(name)?.arn),
      topicAttributes: (arn, signal) =>
        ask("topicAttributes", lastPart(arn), signal, () => {
          const topic = fake.topics.get(lastPart(arn));
          return topic === undefined ? undefined : { TopicArn: topic.arn, ...topic.attributes };
        }),
      publish: (arn, entries, signal) => publish(arn, entries, signal),
      subscribe: (topicArn, queueArn, attributes, signal) =>
        ask("subscribe", lastPart(topicArn), signal, () => subscribe(topicArn, queueArn, attributes)),
      subscriptions: (topicArn, signal) =>
        ask("subscriptions", lastPart(topicArn), signal, () =>
          topicOf(topicArn).subscriptions.map(({ arn, endpoint }) => ({ arn, endpoint })),
        ),
      subscriptionAttributes: (arn, signal) =>
        ask("subscriptionAttributes", topicNameOf(arn), signal, () => ({ ...subscriptionOf(arn).attributes })),
      setSubscriptionAttribute: (arn, name, value, signal) =>
        ask("setSubscriptionAttribute", topicNameOf(arn), signal, () => {
          if (name === "FilterPolicy") checkFilter(value);
          subscriptionOf(arn).attributes[name] = value;
        }),
    },
  };

  async function ask<Answer>(
    api: FakeApi,
    target: string,
    signal: AbortSignal,
    answer: () => Answer,
    entries = 0,
    isWhole = true,
  ): Promise<Answer> {
    signal.throwIfAborted();
    if (closed) throw new RequestFailure("The client is closed.", { sent: false });
    fake.asked.push([api, target, ...(entries === 0 ? [] : [entries])].join(" "));
    await fake.intercept({ api, target, entries, signal });
    if (fake.latencyMs > 0) await sleep(clock, fake.latencyMs, signal);
    signal.throwIfAborted();
    throwNext(api, fake.failures);
    const given = answer();
    if (isWhole) throwNext(api, fake.lostAnswers);
    return given;
  }

  function throwNext(api: FakeApi, failures: FakeAws["failures"]): void {
    const failure = failures.get(api)?.shift();
    if (failure !== undefined) throw failure;
  }

  function askBatch<Entry>(
    api: FakeApi,
    url: string,
    entries: readonly Entry[],
    signal: AbortSignal,
    work: (queue: FakeQueue, entry: Entry) => EntryResult,
  ): Promise<readonly EntryResult[]> {
    const answer = (): readonly EntryResult[] => {
      const queue = existing(url);
      checkBatch(entries);
      return entries.map((entry) => fake.entryFailures.get(api)?.shift() ?? work(queue, entry));
    };
    return ask(api, nameOf(url), signal, answer, entries.length);
  }

  function checkBatch(entries: readonly unknown[]): void {
    if (entries.length === 0) throw refusal("EmptyBatchRequest");
    if (entries.length > 10) throw refusal("TooManyEntriesInBatchRequest");
    const sizes = entries.map((entry) => (isOutgoing(entry) ? fakeBytes(entry) : 0));
    if (sizes.reduce((sum, bytes) => sum + bytes, 0) > fake.batchBytes) throw refusal("BatchRequestTooLong");
  }

  function shown(name: string): FakeQueue | undefined {
    const queue = fake.queues.get(name);
    return queue !== undefined && clock.now() - queue.createdAt >= fake.hiddenForMs ? queue : undefined;
  }

  function existing(url: string): FakeQueue {
    const queue = shown(nameOf(url));
    if (queue === undefined) throw refusal("QueueDoesNotExist");
    return queue;
  }

  function queueByArn(arn: string): FakeQueue | undefined {
    return fake.queues.get(lastPart(arn));
  }

  function createQueue(name: string, attributes: ServiceAttributes, tags: Readonly<Record<string, string>>): string {
    if (!/^[A-Za-z0-9_-]{1,80}$/.test(name.replace(/\.fifo$/, "")) || name.length > 80)
      throw refusal("InvalidParameterValue");
    const present = fake.queues.get(name);
    if (present !== undefined) {
      if (!includes(present.attributes, attributes)) throw refusal("QueueNameExists");
      return present.url;
    }
    if (clock.now() - (deletedAt.get(name) ?? -Infinity) < deletedRecentlyMs) throw refusal("QueueDeletedRecently");
    if (name.endsWith(".fifo") !== (attributes["FifoQueue"] === "true")) throw refusal("InvalidParameterValue");
    if (attributes["RedrivePolicy"] !== undefined) {
      const { deadLetterTargetArn } = JSON.parse(attributes["RedrivePolicy"]) as { deadLetterTargetArn: string };
      const target = queueByArn(deadLetterTargetArn);
      if (target === undefined || target.fifo !== name.endsWith(".fifo")) throw refusal("InvalidParameterValue");
    }
    const arn = `arn:aws:sqs:${region}:${account}:${name}`;
    const defaults = { VisibilityTimeout: "30", MessageRetentionPeriod: "345600", DelaySeconds: "0" };
    const options = { name, url: urlStart + name, arn, attributes: { ...defaults, ...attributes }, tags };
    const queue = createFakeQueue({ ...options, clock, queueByArn });
    fake.queues.set(name, queue);
    return queue.url;
  }

  function attributesOf(queue: FakeQueue): ServiceAttributes {
    return {
      ...queue.attributes,
      ApproximateNumberOfMessages: String(queue.visible.length),
      ApproximateNumberOfMessagesNotVisible: String(queue.inFlight.length),
      ApproximateNumberOfMessagesDelayed: String(queue.delayed.length),
    };
  }

  function createTopic(name: string, attributes: ServiceAttributes, tags: Readonly<Record<string, string>>): string {
    const present = fake.topics.get(name);
    if (present !== undefined) {
      const same = includes(present.attributes, attributes) && includes(present.tags, tags);
      if (!same) throw new RequestFailure("Topic already exists with different attributes.", invalidParameter);
      return present.arn;
    }
    const topic: FakeTopic = {
      name,
      arn: `arn:aws:sns:${region}:${account}:${name}`,
      attributes: { ...attributes },
      tags,
      subscriptions: [],
    };
    fake.topics.set(name, topic);
    return topic.arn;
  }

  function topicOf(arn: string): FakeTopic {
    const topic = fake.topics.get(lastPart(arn));
    if (topic === undefined) throw refusal("NotFound", 404);
    return topic;
  }

  function subscriptionOf(arn: string): FakeSubscription {
    const found = fake.topics.get(topicNameOf(arn))?.subscriptions.find((each) => each.arn === arn);
    if (found === undefined) throw refusal("NotFound", 404);
    return found;
  }

  function subscribe(topicArn: string, endpoint: string, attributes: ServiceAttributes): string {
    const { subscriptions } = topicOf(topicArn);
    checkFilter(attributes["FilterPolicy"]);
    const present = subscriptions.find((each) => each.endpoint === endpoint);
    if (present !== undefined) {
      if (!includes(present.attributes, attributes))
        throw new RequestFailure("Subscription already exists with different attributes.", invalidParameter);
      return present.arn;
    }
    const arn = `${topicArn}:subscription-${++lastId}`;
    subscriptions.push({ arn, endpoint, attributes: { ...attributes } });
    return arn;
  }

  function publish(arn: string, entries: readonly SendEntry[], signal: AbortSignal): Promise<readonly EntryResult[]> {
    const answer = (): readonly EntryResult[] => {
      const topic = topicOf(arn);
      checkBatch(entries);
      return entries.map((entry) => fake.entryFailures.get("publish")?.shift() ?? publishOne(topic, entry));
    };
    return ask("publish", lastPart(arn), signal, answer, entries.length);
  }

  function publishOne(topic: FakeTopic, entry: SendEntry): EntryResult {
    for (const { endpoint, attributes } of topic.subscriptions) {
      const queue = queueByArn(endpoint);
      // SNS drops what a queue does not allow it to send, and what it cannot carry.
      if (queue === undefined || queue.attributes["Policy"]?.includes(topic.arn) !== true) continue;
      if (!passes(attributes["FilterPolicy"], entry)) continue;
      const raw = attributes["RawMessageDelivery"] === "true";
      queue.accept(raw ? entry : { ...entry, attributes: {}, body: JSON.stringify({ Message: entry.body }) });
    }
    return { ok: true };
  }

  return fake;
}

/** SNS counts all combinations of values. */
function checkFilter(policy: string | undefined): void {
  const values = Object.values(JSON.parse(policy ?? "{}") as Readonly<Record<string, readonly unknown[]>>);
  if (values.reduce((product, { length }) => product * length, 1) > 150)
    throw new RequestFailure("Invalid parameter: FilterPolicy: Filter policy is too complex", invalidParameter);
}

const invalidParameter = { sent: true, code: "InvalidParameter", httpStatus: 400 } as const;

function missing(name: string): never {
  throw new Error(`There is no ${name}.`);
}

function nameOf(url: string): string {
  return url.slice(url.lastIndexOf("/") + 1);
}

function lastPart(arn: string): string {
  return arn.slice(arn.lastIndexOf(":") + 1);
}

/** A subscription's ARN is its topic's and a part more. */
function topicNameOf(subscriptionArn: string): string {
  return lastPart(subscriptionArn.slice(0, subscriptionArn.lastIndexOf(":")));
}

function isOutgoing(entry: unknown): entry is SendEntry {
  return typeof entry === "object" && entry !== null && "body" in entry;
}

function includes(present: Readonly<Record<string, string>>, given: Readonly<Record<string, string>>): boolean {
  return Object.entries(given).every(([name, value]) => present[name] === value);
}

/** Of filter policies what the adapter uses: attributes that are one of several texts, or that there are at all. */
function passes(policy: string | undefined, { attributes }: SendEntry): boolean {
  if (policy === undefined) return true;
  const wanted = JSON.parse(policy) as Readonly<Record<string, readonly unknown[]>>;
  return Object.entries(wanted).every(([name, values]) =>
    values.some((value) => (typeof value === "string" ? value === attributes[name] : attributes[name] !== undefined)),
  );
}

/** Lets time pass until it is settled. */
export async function during<Result>(clock: VirtualClock, work: Promise<Result>): Promise<Result> {
  let over = false;
  const end = (): void => void (over = true);
  work.then(end, end);
  for (let turn = 0; !over && turn < 20_000; turn++) await clock.advance(10);
  if (!over) throw new Error("It takes for ever.");
  return work;
}
