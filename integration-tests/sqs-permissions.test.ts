/** What `explainPolicies` says that an account needs is enough, and no less would be. */
import { setTimeout as sleep } from "node:timers/promises";
import { DeleteQueueCommand, GetQueueAttributesCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import {
  CreateTopicCommand,
  DeleteTopicCommand,
  GetSubscriptionAttributesCommand,
  ListSubscriptionsByTopicCommand,
  ListTopicsCommand,
  SubscribeCommand,
} from "@aws-sdk/client-sns";
import type { Bus, BusEvent, BusOptions, Received, Topology, Transport } from "@posthorn/core";
import { createBus, deadLetter, deliverAfter, isPosthornError, queue, topic } from "@posthorn/core";
import type { ProvisionMode } from "@posthorn/core/transport";
import type { Policies, PolicyDocument, PolicyStatement } from "@posthorn/sqs-sns";
import { explainPolicies, sqs } from "@posthorn/sqs-sns";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { poll } from "./brokers/poll.ts";
import type { SqsClients } from "./brokers/sqs-clients.ts";
import { sqsClients } from "./brokers/sqs-clients.ts";
import { useSqs } from "./brokers-in-use.ts";
import type { Gate } from "./sqs-iam.ts";
import { allows, nameOf, openGate } from "./sqs-iam.ts";

const broker = useSqs();
const secretAccessKey = "not-to-be-seen-anywhere";

const schema = z.object({ number: z.int() });
type Numbered = z.infer<typeof schema>;
const key = ({ number }: Numbered): string => String(number);

const Place = queue("orders").command("place", { schema });
const Step = queue("steps", { ordered: true }).command("step", { schema, key });
const Told = topic("events").event("told", { schema });
const Moved = topic("moves", { ordered: true }).event("moved", { schema, key });
/** Nobody subscribes to it. */
const Reported = topic("news").event("reported", { schema });
const contracts = [Place, Step, Told, Moved, Reported];

const topology: Topology = {
  channels: contracts.map(({ channel }) => channel),
  groups: [
    { channel: Place.channel, name: "orders", types: [] },
    { channel: Step.channel, name: "steps", types: [] },
    { channel: Told.channel, name: "billing", types: ["told"] },
    { channel: Moved.channel, name: "billing", types: ["moved"] },
  ],
};

let native: SqsClients;
let ownAccount = "";
beforeAll(async () => {
  native = sqsClients(broker());
  ownAccount = (await arnOfQueue(await native.createQueue("whose"))).split(":")[4] ?? "";
});
afterAll(() => native[Symbol.dispose]());

async function arnOfQueue(QueueUrl: string | undefined): Promise<string> {
  const input = { QueueUrl, AttributeNames: ["QueueArn" as const] };
  return (await native.sqs.send(new GetQueueAttributesCommand(input))).Attributes?.QueueArn ?? "";
}

/** Where one trial takes place: the names of no two begin alike. */
interface Place {
  readonly prefix: string;
  readonly accountId: string | undefined;
}

let places = 0;
const placeOf = (accountId: string | undefined): Place => ({ prefix: `trial-${++places}-`, accountId });

function open({ prefix, accountId }: Place, endpoint: string): Transport {
  const { region, credentials } = broker();
  return sqs({
    region,
    credentials: { ...credentials, secretAccessKey },
    endpoint,
    prefix,
    ...(accountId === undefined ? {} : { accountId }),
    visibilitySeconds: 3,
    waitSeconds: 2,
    longestDelayMs: 1_000,
  });
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  await poll(what, async () => ((await isSo()) ? true : undefined), { deadlineMs: 30_000 });
}

const quiet: Pick<BusOptions, "observe"> = { observe: () => undefined };

function policiesOf({ prefix, accountId }: Place): Policies {
  const { region } = broker();
  return explainPolicies(topology, { prefix, region, ...(accountId === undefined ? {} : { accountId }) });
}

function gateOf(document: PolicyDocument): Promise<Gate> {
  const { endpoint, region } = broker();
  return openGate({ endpoint, region, accountId: ownAccount, document });
}

/** A document, and what came of trying it. */
type Trial<Outcome> = (place: Place, document: PolicyDocument) => Promise<{ outcome: Outcome; needed: Gate["needed"] }>;

function without({ Version, Statement }: PolicyDocument, sid: string, action: string): PolicyDocument {
  const left = (statement: PolicyStatement): PolicyStatement =>
    statement.Sid === sid ? { ...statement, Action: statement.Action.filter((other) => other !== action) } : statement;
  return { Version, Statement: Statement.map(left) };
}

/** What of a document only looks. */
function readingOf({ Version, Statement }: PolicyDocument): PolicyDocument {
  const reading = ({ Sid, Effect, Action, Resource }: PolicyStatement): PolicyStatement => ({
    Sid,
    Effect,
    Action: Action.filter((action) => /:(?:Get|List)/.test(action)),
    Resource,
  });
  return { Version, Statement: Statement.map(reading) };
}

/** What a document allows beyond what was needed. */
function tooMuch({ Statement }: PolicyDocument, needed: ReadonlySet<string>): readonly string[] {
  const isUsed = (action: string, resource: string): boolean =>
    [...needed].some((need) => {
      const [used = "", of = ""] = need.split(" ");
      const alone = {
        Version: "2012-10-17",
        Statement: [{ Sid: "", Effect: "Allow", Action: [action], Resource: [resource] }],
      } as const;
      return allows(alone, { action: used, resource: of });
    });
  return Statement.flatMap(({ Action, Resource }) =>
    Action.flatMap((action) =>
      Resource.filter((resource) => !isUsed(action, resource)).map((resource) => nameOf({ action, resource })),
    ),
  );
}

/** An error names the permission that lacks, and holds no secret. */
function expectNamedRefusal(outcome: unknown, action: string): void {
  if (!(outcome instanceof Error)) return;
  if (!isPosthornError(outcome, "ACCESS_REFUSED")) throw outcome;
  expect(outcome.message).toMatch(new RegExp(action, "i"));
  expect(`${outcome.message} ${JSON.stringify(outcome)} ${String(outcome.cause)}`).not.toContain(secretAccessKey);
}

/** The group's queues and the topics are there already, and not as they should be. @returns the ARN of the topic `events` */
async function makeOtherwise({ prefix }: Place): Promise<string> {
  const fifo = { FifoQueue: "true" };
  await native.createQueue(`${prefix}moves--billing.fifo`, fifo);
  const Endpoint = await arnOfQueue(await native.createQueue(`${prefix}events--billing`));
  const otherwise = { FifoTopic: "true", ContentBasedDeduplication: "true" };
  await native.sns.send(new CreateTopicCommand({ Name: `${prefix}moves.fifo`, Attributes: otherwise }));
  const { TopicArn = "" } = await native.sns.send(new CreateTopicCommand({ Name: `${prefix}events` }));
  const Attributes = { RawMessageDelivery: "true", FilterPolicy: JSON.stringify({ type: ["another"] }) };
  await native.sns.send(new SubscribeCommand({ TopicArn, Protocol: "sqs", Endpoint, Attributes }));
  return TopicArn;
}

async function removeAll({ prefix }: Place): Promise<void> {
  const { QueueUrls = [] } = await native.sqs.send(new ListQueuesCommand({ QueueNamePrefix: prefix }));
  for (const QueueUrl of QueueUrls) await native.sqs.send(new DeleteQueueCommand({ QueueUrl }));
  const { Topics = [] } = await native.sns.send(new ListTopicsCommand({}));
  for (const { TopicArn } of Topics)
    if (TopicArn?.includes(`:${prefix}`)) await native.sns.send(new DeleteTopicCommand({ TopicArn }));
}

/** @returns in short what each of the calls has found, without the prefix; or an error */
async function provisionBy(place: Place, gate: Gate, modes: readonly ProvisionMode[]): Promise<unknown> {
  const transport = open(place, gate.link.endpoint);
  const { signal } = new AbortController();
  await transport.connect({ signal, report: () => undefined });
  try {
    const found: string[][] = [];
    for (const mode of modes) {
      const changes = await transport.provision(topology, mode, { signal });
      found.push(
        changes.map(({ problem, name, field }) =>
          [problem, name.slice(place.prefix.length), ...(field === undefined ? [] : [field])].join(" "),
        ),
      );
    }
    return found;
  } catch (error) {
    return error;
  } finally {
    await transport.close({ signal });
  }
}

/** Looks, makes what is missing, and looks again; then once more from nothing. */
const provision: Trial<unknown> = async (place, document) => {
  const TopicArn = await makeOtherwise(place);
  await using gate = await gateOf(document);
  const { needed } = gate;
  const changes = await provisionBy(place, gate, ["plan", "apply", "plan"]);
  if (changes instanceof Error) return { outcome: changes, needed };
  const { Subscriptions } = await native.sns.send(new ListSubscriptionsByTopicCommand({ TopicArn }));
  const SubscriptionArn = Subscriptions?.[0]?.SubscriptionArn;
  const { Attributes } = await native.sns.send(new GetSubscriptionAttributesCommand({ SubscriptionArn }));
  await removeAll(place);
  const anew = await provisionBy(place, gate, ["plan", "apply", "plan"]);
  if (anew instanceof Error) return { outcome: anew, needed };
  return { outcome: { changes, filter: Attributes?.["FilterPolicy"], anew }, needed };
};

/** Runs what makes queues and topics, and hears what is said on them. */
async function openOwner(place: Place, heard: string[]): Promise<Bus> {
  const bus = createBus({ service: "owner", group: "billing", transport: open(place, broker().endpoint), ...quiet });
  const hear =
    (name: string) =>
    ({ data: { number } }: Received<Numbered>): void =>
      void heard.push(`${name} ${number}`);
  bus.handle(Place, hear("place"));
  bus.handle(Step, hear("step"));
  bus.subscribe(Told, hear("told"));
  bus.subscribe(Moved, hear("moved"));
  bus.declare(Reported);
  await bus.start();
  return bus;
}

const publish: Trial<unknown> = async (place, document) => {
  const heard: string[] = [];
  await using owner = await openOwner(place, heard);
  await using gate = await gateOf(document);
  await using bus = createBus({
    service: "publisher",
    transport: open(place, gate.link.endpoint),
    provision: "assume",
    ...quiet,
  });
  bus.declare(...contracts);
  try {
    await bus.start();
    await bus.send(Place, { number: 1 });
    await bus.send(Place, { number: 2 }, deliverAfter("2s"));
    await bus.send(Step, { number: 1 });
    await bus.send(Step, { number: 2 }, deliverAfter("2s"));
    await bus.publish(Told, { number: 1 });
    await bus.publish(Told, { number: 2 }, deliverAfter("2s"));
    await bus.publish(Moved, { number: 1 });
    await bus.publish(Reported, { number: 1 });
  } catch (error) {
    return { outcome: error, needed: gate.needed };
  }
  await until("all to be heard", () => heard.length >= 7);
  expect(owner.health().transport.status).toBe("connected");
  return { outcome: heard.toSorted(), needed: gate.needed };
};

const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
const failing = new Set<BusEvent["name"]>(["transport.failed", "message.handover-failed", "bus.failed"]);

/**
 * Handles what succeeds at once, later, after a long time and after its death; and looks after the dead.
 *
 * @returns what was handled, or the first trouble
 */
const consume: Trial<unknown> = async (place, document) => {
  const trouble = Promise.withResolvers<unknown>();
  const handled: string[] = [];
  let healed = false;
  await using owner = createBus({
    service: "owner",
    group: "billing",
    transport: open(place, broker().endpoint),
    ...quiet,
  });
  owner.handle(Place, () => undefined).pause();
  owner.handle(Step, () => undefined).pause();
  owner.subscribe(Told, () => undefined).pause();
  owner.subscribe(Moved, () => undefined).pause();
  await owner.start();
  await using gate = await gateOf(document);
  const bus = createBus({
    service: "billing",
    transport: open(place, gate.link.endpoint),
    provision: "verify",
    retry: { attempts: 3, backoff: { initialMs: 2_000, maxMs: 2_000, jitter: 0 } },
    observe(event) {
      if (failing.has(event.name) && "error" in event) trouble.resolve(event.error);
    },
  });
  const handler =
    (name: string) =>
    async ({ data: { number } }: Received<Numbered>, { attempt }: { readonly attempt: number }): Promise<void> => {
      if (number === 1 && attempt === 1) throw new Error("later");
      if (number === 2 && !healed) throw deadLetter("no");
      if (number === 3) await sleep(4_000);
      handled.push(`${name} ${number}`);
    };
  const subscriptions = [
    bus.handle(Place, handler("place")),
    bus.handle(Step, handler("step")),
    bus.subscribe(Told, handler("told")),
    bus.subscribe(Moved, handler("moved")),
  ];

  async function work(): Promise<unknown> {
    await bus.start();
    for (const number of numbers) {
      // Over more than one hop each; of such different lengths that some wait for their time under a lease that is renewed.
      const later = number > 3 ? deliverAfter(2_600 + number * 200) : {};
      await owner.send(Place, { number }, later);
      await owner.send(Step, { number }, later);
      await owner.publish(Told, { number }, later);
      await owner.publish(Moved, { number }, later);
    }
    await until("what can to be handled", () => handled.length >= subscriptions.length * (numbers.length - 1));
    for (const { deadLetters } of subscriptions) {
      // What is refused is not asked for again.
      await deadLetters.depth();
      await until("the dead letter", async () => (await deadLetters.depth()).ready === 1);
      expect((await deadLetters.browse()).length).toBe(1);
    }
    healed = true;
    for (const { deadLetters } of subscriptions) expect((await deadLetters.redrive()).redriven).toBe(1);
    await until("the dead to be handled", () => handled.length >= subscriptions.length * numbers.length);
    for (const { deadLetters } of subscriptions) expect(await deadLetters.purge()).toBe(0);
    for (const subscription of subscriptions)
      await until("an empty queue", async () => (await subscription.depth()).ready === 0);
    // What was not deleted comes again when its lease is over.
    await sleep(4_000);
    return handled.toSorted();
  }

  const outcome = await Promise.race([work().catch((error: unknown) => error), trouble.promise]);
  await bus.close({ timeoutMs: 1_000 });
  return { outcome, needed: gate.needed };
};

interface Provisioned {
  readonly changes: readonly (readonly string[])[];
  readonly filter: string | undefined;
  readonly anew: readonly (readonly string[])[];
}

/** All is there then, and what was otherwise is so still, but that the topics reach their groups. */
function expectProvisioned(outcome: unknown): void {
  const { changes, filter, anew } = outcome as Provisioned;
  const [found = [], ...since] = changes;
  const left = found.filter((change) => /^different .* (?!Policy$|FilterPolicy$)\w+$/.test(change));
  expect(found).toEqual(
    expect.arrayContaining([
      "missing orders",
      "missing news",
      "different events--billing Policy",
      "different events--billing FilterPolicy",
      "different moves--billing.fifo Policy",
      "missing moves--billing.fifo",
    ]),
  );
  expect(left).toEqual(
    expect.arrayContaining([
      "different moves.fifo ContentBasedDeduplication",
      "different events--billing VisibilityTimeout",
    ]),
  );
  expect(since).toEqual([left, left]);
  expect(filter).toBe('{"type":["another","told"]}');
  const [nothing = [], ...sinceNothing] = anew;
  // Three topics, ten queues and two subscriptions.
  expect(nothing.filter((change) => change.startsWith("missing")).length).toBe(15);
  expect(nothing.length).toBe(15);
  expect(sinceNothing).toEqual([[], []]);
}

function expectHeard(outcome: unknown): void {
  expect(outcome).toEqual(["moved 1", "place 1", "place 2", "step 1", "step 2", "told 1", "told 2"]);
}

function expectHandled(outcome: unknown): void {
  expect(outcome).toEqual(
    ["moved", "place", "step", "told"].flatMap((name) => numbers.map((number) => `${name} ${number}`)),
  );
}

const roles = [
  { role: "provisioner", trial: provision, expectDone: expectProvisioned },
  { role: "publisher", trial: publish, expectDone: expectHeard },
  { role: "consumer", trial: consume, expectDone: expectHandled },
] as const;

describe.each([
  { where: "with an account id", known: true },
  { where: "without an account id", known: false },
])("$where", ({ known }) => {
  const newPlace = (): Place => placeOf(known ? ownAccount : undefined);

  describe.each(roles)("a $role", ({ role, trial, expectDone }) => {
    let whole: Awaited<ReturnType<typeof trial>>;
    let document: PolicyDocument;
    beforeAll(async () => {
      const place = newPlace();
      document = policiesOf(place)[role];
      whole = await trial(place, document);
      if (whole.outcome instanceof Error) throw whole.outcome;
    });

    test("can do its work with its own policy, which allows nothing that it has no use for", () => {
      expectDone(whole.outcome);
      expect(tooMuch(document, whole.needed)).toEqual([]);
    });

    const example = explainPolicies(topology, {
      prefix: "",
      region: "us-east-1",
      ...(known ? { accountId: "123456789012" } : {}),
    });
    const permissions = example[role].Statement.flatMap(({ Sid: sid, Action }) =>
      Action.map((action) => ({ sid, action })),
    );

    test.each(permissions)("is stopped, or sees less, without $action in $sid", async ({ sid, action }) => {
      const place = newPlace();
      const { outcome } = await trial(place, without(policiesOf(place)[role], sid, action));
      expect(outcome).not.toEqual(whole.outcome);
      expectNamedRefusal(outcome, action);
    });
  });

  test("what of the provisioner's policy only reads is enough to verify", async () => {
    const place = newPlace();
    await makeOtherwise(place);
    const { provisioner } = policiesOf(place);
    await using all = await gateOf(provisioner);
    await using some = await gateOf(readingOf(provisioner));
    const found = await provisionBy(place, some, ["verify"]);
    expect(found).not.toEqual([[]]);
    expect(found).toEqual(await provisionBy(place, all, ["verify"]));
    expect([...some.refused].filter((need) => !need.endsWith("__probe"))).toEqual([]);
  });

  test("a publisher that verifies needs that beside its own", async () => {
    const place = newPlace();
    await using owner = await openOwner(place, []);
    const { publisher, provisioner } = policiesOf(place);
    const start = async (document: PolicyDocument): Promise<void> => {
      await using gate = await gateOf(document);
      await using bus = createBus({
        service: "publisher",
        transport: open(place, gate.link.endpoint),
        provision: "verify",
        ...quiet,
      });
      bus.declare(...contracts);
      await bus.start();
    };
    await expect(start(publisher)).rejects.toMatchObject({
      code: "ACCESS_REFUSED",
      message: expect.stringContaining("sqs:getqueueurl") as string,
    });
    const { Version, Statement } = readingOf(provisioner);
    await start({ Version, Statement: [...publisher.Statement, ...Statement] });
    expect(owner.health().transport.status).toBe("connected");
  });
});
