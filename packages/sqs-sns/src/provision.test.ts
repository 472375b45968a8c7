import { sleep } from "@posthorn/core/transport";
import { describeChange } from "@posthorn/core/transport";
import type { Topology, TopologyChange } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { FakeAws } from "./aws.fixture.ts";
import { createFakeAws, during, noAnswer, refusal } from "./aws.fixture.ts";
import { readOptions } from "./options.ts";
import type { Provisioner } from "./provision.ts";
import { createProvisioner } from "./provision.ts";

const never = new AbortController().signal;
const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "events", ordered: false } as const;
const ledger = { kind: "topic", name: "ledger", ordered: true } as const;
const queueTopology: Topology = { channels: [orders], groups: [{ channel: orders, name: "orders", types: [] }] };
const topicWith = (...types: readonly string[]): Topology => ({
  channels: [events],
  groups: [{ channel: events, name: "billing", types }],
});
const topicTopology = topicWith("placed", "paid");
const orderedTopology: Topology = { channels: [ledger], groups: [{ channel: ledger, name: "audit", types: ["t"] }] };
const all: Topology = {
  channels: [orders, events, ledger],
  groups: [...queueTopology.groups, ...topicTopology.groups, ...orderedTopology.groups],
};

interface Setup {
  readonly aws: FakeAws;
  readonly clock: VirtualClock;
  readonly learned: Map<string, string>;
  readonly provisioner: Provisioner;
  readonly another: () => Provisioner;
  readonly apply: (topology: Topology) => Promise<readonly TopologyChange[]>;
  readonly verify: (topology: Topology) => Promise<readonly string[]>;
}

function setup(options: Record<string, unknown> = {}): Setup {
  const clock = createVirtualClock();
  const aws = createFakeAws(clock);
  const reach = { aws, ready: async (signal: AbortSignal) => signal.throwIfAborted() };
  const learned = new Map<string, string>();
  const another = (): Provisioner =>
    createProvisioner({
      reach,
      places: { learn: (name, url) => void learned.set(name, url) },
      settings: readOptions({ region: "eu-west-1", ...options }),
      environment: { clock, random: () => 0 },
    });
  const provisioner = another();
  return {
    aws,
    clock,
    learned,
    provisioner,
    another,
    apply: (topology) => during(clock, provisioner.provision(topology, "apply", never)),
    verify: async (topology) =>
      (await during(clock, provisioner.provision(topology, "verify", never))).map(describeChange),
  };
}

const onlySubscription = (aws: FakeAws): Record<string, string> => {
  const [subscription] = aws.topic("events").subscriptions;
  if (subscription === undefined) throw new Error("There is no subscription.");
  return subscription.attributes;
};

test("a queue is made with its dead letters, these first, and the policy that leads there", async () => {
  const { aws, apply, learned } = setup({ deliveryLimit: 7, tags: { team: "a" } });
  expect(await apply(queueTopology)).toEqual([]);
  expect(aws.asked.filter((asked) => asked.startsWith("create"))).toEqual([
    "createQueue orders__dlq",
    "createQueue orders",
  ]);
  expect(aws.queue("orders")).toMatchObject({
    attributes: {
      VisibilityTimeout: "30",
      MessageRetentionPeriod: "1209600",
      MaximumMessageSize: "1048576",
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: aws.queue("orders__dlq").arn, maxReceiveCount: 7 }),
    },
    tags: { team: "a", "posthorn-kind": "inlet", "posthorn-channel": "orders", "posthorn-group": "orders" },
  });
  expect(aws.queue("orders__dlq").attributes["RedrivePolicy"]).toBeUndefined();
  expect(learned.get("orders")).toBe(aws.queue("orders").url);
});

test("a group of a topic is subscribed to its types, and its queue lets the topic in", async () => {
  const { aws, apply } = setup();
  expect(await apply(topicTopology)).toEqual([]);
  expect(onlySubscription(aws)).toEqual({ RawMessageDelivery: "true", FilterPolicy: `{"type":["paid","placed"]}` });
  const entry = { body: "x", attributes: { type: "paid" } };
  await aws.sns.publish(aws.topic("events").arn, [entry, { ...entry, attributes: { type: "other" } }], never);
  expect(aws.queue("events--billing").messages.map(({ attributes }) => attributes)).toEqual([{ type: "paid" }]);
});

test("what is ordered is FIFO, with a delay queue that is not", async () => {
  const { aws, apply } = setup();
  expect(await apply(orderedTopology)).toEqual([]);
  expect([...aws.queues.keys()]).toEqual(["ledger--audit__dlq.fifo", "ledger--audit.fifo", "ledger--audit__delay"]);
  const fifo = {
    FifoQueue: "true",
    ContentBasedDeduplication: "false",
    DeduplicationScope: "messageGroup",
    FifoThroughputLimit: "perMessageGroupId",
  };
  expect(aws.queue("ledger--audit.fifo").attributes).toMatchObject(fifo);
  expect(aws.queue("ledger--audit__dlq.fifo").attributes).toMatchObject(fifo);
  expect(aws.queue("ledger--audit__delay").attributes).not.toHaveProperty("RedrivePolicy");
  expect(aws.topic("ledger.fifo").attributes).toMatchObject({ FifoTopic: "true", ContentBasedDeduplication: "false" });
});

test("when all is there, to apply it again makes and changes nothing", async () => {
  const { aws, apply, verify } = setup();
  await apply(all);
  aws.asked.length = 0;
  expect(await apply(all)).toEqual([]);
  expect(aws.asked.filter((asked) => /^(create|set|subscribe )/.test(asked))).toEqual([]);
  expect(await verify(all)).toEqual([]);
});

test("to verify or plan makes nothing, and tells what is missing", async () => {
  const { aws, clock, apply, verify, provisioner } = setup();
  for (const mode of ["verify", "plan"] as const) {
    const changes = await during(clock, provisioner.provision(all, mode, never));
    expect(changes.map(({ problem, object, name }) => `${problem} ${object} ${name}`)).toEqual([
      "missing topic events",
      "missing topic ledger.fifo",
      "missing queue orders__dlq",
      "missing queue orders",
      "missing queue events--billing__dlq",
      "missing queue events--billing",
      "missing subscription events--billing",
      "missing queue ledger--audit__dlq.fifo",
      "missing queue ledger--audit.fifo",
      "missing queue ledger--audit__delay",
      "missing subscription ledger--audit.fifo",
    ]);
  }
  expect(aws.queues.size + aws.topics.size).toBe(0);
  await apply(all);
  aws.deleteQueue("orders__dlq");
  aws.topic("events").subscriptions.length = 0;
  expect(await verify(all)).toEqual([
    `queue "orders__dlq" does not exist`,
    `subscription "events--billing" does not exist`,
  ]);
});

test("what exists otherwise is told by the names of attributes, and left as it is", async () => {
  const { aws, apply, verify } = setup({ deliveryLimit: 7 });
  const attributes = { VisibilityTimeout: "20", MessageRetentionPeriod: "60" };
  await aws.sqs.createQueue("orders", attributes, {}, never);
  const differences = [
    `queue "orders": VisibilityTimeout is "20", declared is "30"`,
    `queue "orders": MessageRetentionPeriod is "60", declared is "1209600"`,
    `queue "orders": RedrivePolicy is unset, declared is {"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:orders__dlq","maxReceiveCount":7}`,
  ];
  expect((await apply(queueTopology)).map(describeChange)).toEqual(differences);
  expect(await verify(queueTopology)).toEqual(differences);
  expect(aws.queue("orders").attributes).toMatchObject(attributes);
});

test("more time and larger messages than declared are no difference, nor a limit that is a text", async () => {
  const { aws, apply, verify } = setup({ retentionSeconds: 60, maxMessageBytes: 100_000 });
  await apply(queueTopology);
  const deadLetterTargetArn = aws.queue("orders__dlq").arn;
  const RedrivePolicy = JSON.stringify({ maxReceiveCount: "50", deadLetterTargetArn });
  const { attributes } = aws.queue("orders");
  Object.assign(attributes, { MessageRetentionPeriod: "61", MaximumMessageSize: "1048576", RedrivePolicy });
  expect(await verify(queueTopology)).toEqual([]);
  attributes["RedrivePolicy"] = JSON.stringify({ maxReceiveCount: "5", deadLetterTargetArn });
  expect(await verify(queueTopology)).toHaveLength(1);
});

test("what somebody makes otherwise at the same moment is a difference", async () => {
  const { aws, apply } = setup();
  aws.intercept = ({ api, target }) => {
    if (api !== "createQueue" || target !== "orders") return;
    aws.intercept = () => undefined;
    void aws.sqs.createQueue("orders", { VisibilityTimeout: "20" }, {}, never);
  };
  expect((await apply(queueTopology)).map(describeChange)).toContain(
    `queue "orders": VisibilityTimeout is "20", declared is "30"`,
  );
});

test("of a topic and of a subscription differences are told, too", async () => {
  const { aws, apply, verify } = setup();
  await aws.sns.createTopic("ledger.fifo", { FifoTopic: "true", ContentBasedDeduplication: "true" }, {}, never);
  expect((await apply(orderedTopology)).map(describeChange)).toEqual([
    `topic "ledger.fifo": ContentBasedDeduplication is "true", declared is "false"`,
  ]);
  await apply(topicTopology);
  const subscription = onlySubscription(aws);
  delete subscription["FilterPolicy"];
  subscription["RawMessageDelivery"] = "false";
  subscription["FilterPolicyScope"] = "MessageBody";
  const differences = [
    `subscription "events--billing": RawMessageDelivery is "false", declared is "true"`,
    `subscription "events--billing": FilterPolicyScope is "MessageBody", declared is "MessageAttributes"`,
    `subscription "events--billing": FilterPolicy is unset, declared is {"type":["paid","placed"]}`,
  ];
  expect(await verify(topicTopology)).toEqual(differences);
  expect((await apply(topicTopology)).map(describeChange)).toEqual(differences);
});

test("a group that lacks types gets them, and loses none", async () => {
  const { aws, apply, verify } = setup();
  await apply(topicTopology);
  const more = topicWith("refunded", "paid");
  expect(await verify(more)).toEqual([
    `subscription "events--billing": FilterPolicy is {"type":["paid","placed"]}, declared is {"type":["paid","refunded"]}`,
  ]);
  expect(await apply(more)).toEqual([]);
  expect(onlySubscription(aws)["FilterPolicy"]).toBe(`{"type":["paid","placed","refunded"]}`);
  expect(await verify(topicTopology)).toEqual([]);
});

test("a group of more types than SNS can filter by gets every type, and needs nothing more after that", async () => {
  const { aws, apply, verify } = setup();
  const many = topicWith(...Array.from({ length: 151 }, (_, n) => `t${n}`));
  const everyType = `{"type":[{"exists":true}]}`;
  expect(await apply(many)).toEqual([]);
  expect(onlySubscription(aws)["FilterPolicy"]).toBe(everyType);
  for (const topology of [many, topicTopology]) {
    expect(await verify(topology)).toEqual([]);
    expect(await apply(topology)).toEqual([]);
  }
  expect(onlySubscription(aws)["FilterPolicy"]).toBe(everyType);
});

test("a group that comes to have more types than SNS can filter by gets every type", async () => {
  const { aws, apply } = setup();
  await apply(topicWith(...Array.from({ length: 150 }, (_, n) => `t${n}`)));
  expect(await apply(topicTopology)).toEqual([]);
  expect(onlySubscription(aws)["FilterPolicy"]).toBe(`{"type":[{"exists":true}]}`);
});

test("types that two add at the same moment are both there in the end", async () => {
  const { aws, clock, apply, another } = setup();
  await apply(topicTopology);
  aws.latencyMs = 20;
  await during(clock, Promise.all(["a", "b"].map((type) => another().provision(topicWith(type), "apply", never))));
  expect(JSON.parse(onlySubscription(aws)["FilterPolicy"] ?? "")).toEqual({
    type: expect.arrayContaining(["a", "b", "paid", "placed"]) as unknown,
  });
});

test("types that one adds are there in the end when another, which had looked before, writes over them", async () => {
  const { aws, clock, apply, another } = setup();
  await apply(topicTopology);
  let writes = 0;
  aws.intercept = ({ api, signal }) =>
    api === "setSubscriptionAttribute" && ++writes === 1 ? sleep(clock, 150, signal) : undefined;
  await during(clock, Promise.all(["a", "b"].map((type) => another().provision(topicWith(type), "apply", never))));
  expect(JSON.parse(onlySubscription(aws)["FilterPolicy"] ?? "")).toEqual({
    type: expect.arrayContaining(["a", "b", "paid", "placed"]) as unknown,
  });
});

test("a policy that lacks the topic's statement gets it, and keeps what others have written", async () => {
  const { aws, apply, verify } = setup();
  await apply(topicTopology);
  const { attributes } = aws.queue("events--billing");
  const others = { Sid: "mine", Effect: "Deny" };
  attributes["Policy"] = JSON.stringify({ Version: "2012-10-17", Statement: [others] });
  expect(await verify(topicTopology)).toEqual([
    expect.stringMatching(/^queue "events--billing": Policy is .*"mine".*, declared is .*sns\.amazonaws\.com/),
  ]);
  expect(await apply(topicTopology)).toEqual([]);
  const { Statement } = JSON.parse(attributes["Policy"] ?? "") as { Statement: readonly unknown[] };
  expect(Statement).toHaveLength(2);
  expect(Statement[0]).toEqual(others);
  attributes["Policy"] = "no policy";
  expect((await apply(topicTopology)).map(({ field }) => field)).toEqual(["Policy"]);
  expect(attributes["Policy"]).toBe("no policy");
});

test("what the account may not see is not compared", async () => {
  const { aws, apply, verify } = setup();
  await apply(topicTopology);
  aws.queue("events--billing").attributes["VisibilityTimeout"] = "20";
  onlySubscription(aws)["RawMessageDelivery"] = "false";
  aws.intercept = ({ api }) => {
    if (api.endsWith("Attributes")) throw refusal("AuthorizationError", 403);
  };
  expect(await verify(topicTopology)).toEqual([]);
  aws.intercept = ({ api }) => {
    if (/Attributes$|^subscriptions$/.test(api)) throw refusal("AccessDenied", 403);
  };
  expect(await verify(topicTopology)).toEqual([]);
  expect(await apply(topicTopology)).toEqual([]);
  aws.topics.clear();
  expect(await verify(topicTopology)).toEqual([]);
});

test("who may not make what is missing is told so", async () => {
  const { aws, apply } = setup();
  aws.failures.set("createQueue", [refusal("AccessDenied", 403)]);
  await expect(apply(queueTopology)).rejects.toMatchObject({
    code: "ACCESS_REFUSED",
    message: expect.stringContaining('"orders__dlq"') as string,
  });
});

test("topics that nobody here consumes are made, and found", async () => {
  for (const options of [{}, { accountId: "123456789012" }]) {
    const { aws, apply, verify } = setup(options);
    const topology = { channels: [events, ledger], groups: [] };
    expect(await verify(topology)).toEqual([`topic "events" does not exist`, `topic "ledger.fifo" does not exist`]);
    for (const round of [1, 2]) expect(await apply(topology), `round ${round}`).toEqual([]);
    expect(await verify(topology)).toEqual([]);
    expect([...aws.topics.keys()]).toEqual(["events", "ledger.fifo"]);
  }
});

test("a topic that somebody has made with other tags is taken", async () => {
  const { aws, apply } = setup();
  await aws.sns.createTopic("events", {}, { by: "terraform" }, never);
  expect(await apply({ channels: [events], groups: [] })).toEqual([]);
  expect(await apply(topicTopology)).toEqual([]);
  expect(aws.topic("events").tags).toEqual({ by: "terraform" });
});

test("a queue that is not found in its first second is waited for", async () => {
  const { aws, clock, apply, verify } = setup();
  aws.hiddenForMs = 1_000;
  const before = clock.now();
  expect(await apply(all)).toEqual([]);
  expect(clock.now() - before).toBeLessThan(20_000);
  expect(await verify(all)).toEqual([]);
});

test("a queue that was deleted can be made after a minute, which is waited for", async () => {
  const { aws, clock, apply } = setup();
  await apply(queueTopology);
  aws.deleteQueue("orders");
  const before = clock.now();
  expect(await apply(queueTopology)).toEqual([]);
  expect(clock.now() - before).toBeGreaterThanOrEqual(60_000);
  expect(aws.queues.has("orders")).toBe(true);
});

test("what may work later is tried again: refusals for now, and what gets no answer", async () => {
  const { aws, apply } = setup();
  aws.failures.set("queueUrl", [noAnswer(), noAnswer(false)]);
  aws.failures.set("createQueue", [refusal("RequestThrottled"), refusal("InternalError", 500)]);
  aws.failures.set("createTopic", [refusal("Throttled", 429)]);
  aws.lostAnswers.set("createQueue", [noAnswer()]);
  aws.lostAnswers.set("subscribe", [noAnswer()]);
  expect(await apply(all)).toEqual([]);
  expect(aws.topic("events").subscriptions).toHaveLength(1);
});

test("it ends when its caller gives up, also while it waits for a queue's name", async () => {
  const { aws, clock, provisioner, apply } = setup();
  await apply(queueTopology);
  aws.deleteQueue("orders");
  const giveUp = new AbortController();
  const applying = provisioner.provision(queueTopology, "apply", giveUp.signal);
  await clock.advance(10_000);
  giveUp.abort();
  await expect(applying).rejects.toMatchObject({ code: "ABORTED" });
  await clock.advance(100);
  expect(clock.pending).toBe(0);
});

test("when one group fails no more are begun", async () => {
  const { aws, apply } = setup();
  const channels = Array.from({ length: 30 }, (_, n) => ({ kind: "queue", name: `q${n}`, ordered: false }) as const);
  aws.failures.set("createQueue", [refusal("AccessDenied", 403)]);
  const topology = { channels, groups: channels.map((channel) => ({ channel, name: channel.name, types: [] })) };
  await expect(apply(topology)).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  expect(aws.queues.size).toBeLessThan(20);
});

test("what was applied is made again when it is lost, nothing else", async () => {
  const { aws, clock, provisioner, apply } = setup();
  await apply(topicTopology);
  const inlet = { channel: events, group: "billing" };
  aws.queues.clear();
  aws.topics.clear();
  expect(await during(clock, provisioner.restore(inlet, never))).toBe(true);
  expect(aws.topic("events").subscriptions.map(({ endpoint }) => endpoint)).toEqual([aws.queue("events--billing").arn]);
  expect(aws.queues.has("events--billing__dlq")).toBe(true);
  expect(await provisioner.restore({ channel: orders, group: "orders" }, never)).toBe(false);
});

test("however many provision at once, all of it is there once one of them is done", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { aws, clock, another } = setup();
    let state = seed;
    const random = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
    aws.intercept = async () => {
      if (random() < 0.1) throw random() < 0.5 ? refusal("ServiceUnavailable", 503) : noAnswer();
      if (random() < 0.5) await sleep(clock, random() * 50);
    };
    aws.hiddenForMs = random() < 0.5 ? 500 : 0;
    const types = ["placed", "paid", "refunded"];
    await during(
      clock,
      Promise.all(
        types.map(async (type) => {
          await sleep(clock, random() * 300);
          const topology = { ...all, groups: [...all.groups.slice(0, 1), ...topicWith(type).groups] };
          expect(await another().provision(topology, "apply", never), `seed ${seed}`).toEqual([]);
          expect(aws.topic("events").subscriptions).toHaveLength(1);
          expect(aws.queue("orders").attributes["RedrivePolicy"]).toContain(aws.queue("orders__dlq").arn);
        }),
      ),
    );
    expect(aws.queues.size).toBe(4);
  }
});

test("when something is refused for good that is told at once, and nothing is tried any longer", async () => {
  const { aws, clock, apply } = setup();
  aws.intercept = ({ api, target }) => {
    if (api !== "createQueue") return;
    throw target === "orders__dlq" ? refusal("AccessDenied", 403) : refusal("QueueDeletedRecently");
  };
  const before = clock.now();
  await expect(apply(all)).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  expect([clock.now() - before < 1_000, clock.pending]).toEqual([true, 0]);
});
