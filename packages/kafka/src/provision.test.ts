import { sleep } from "@posthorn/core/transport";
import type { Topology, TransportEnvironment } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { FakeKafka } from "./broker.fixture.ts";
import { createFakeKafka, during } from "./broker.fixture.ts";
import { ConnectionFailure } from "./client.ts";
import { errorCodes } from "./errors.ts";
import { readOptions } from "./options.ts";
import type { Provisioner } from "./provision.ts";
import { createProvisioner } from "./provision.ts";

const never = new AbortController().signal;
const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "events", ordered: false } as const;
const queueTopology: Topology = { channels: [orders], groups: [{ channel: orders, name: "orders", types: [] }] };
const topicTopology: Topology = { channels: [events], groups: [{ channel: events, name: "billing", types: ["t"] }] };
const partitions = 3;

interface Setup {
  readonly kafka: FakeKafka;
  readonly clock: VirtualClock;
  readonly provisioner: Provisioner;
  readonly apply: (topology: Topology) => ReturnType<Provisioner["provision"]>;
  readonly another: () => Provisioner;
}

function setup(options: Record<string, unknown> = {}): Setup {
  const clock = createVirtualClock();
  const kafka = createFakeKafka(clock);
  const environment: TransportEnvironment = { clock, random: () => 0 };
  const another = (): Provisioner =>
    createProvisioner({ cluster: kafka.cluster, settings: readOptions({ partitions, ...options }), environment });
  const provisioner = another();
  return {
    kafka,
    clock,
    provisioner,
    another,
    apply: (topology) => during(clock, provisioner.provision(topology, "apply", never)),
  };
}

const committed = (kafka: FakeKafka, group: string): Record<string, number> =>
  Object.fromEntries(Array.from(kafka.groups.get(group) ?? [], ([place, offset]) => [place, Number(offset)]));

test("what is missing is made; then two questions tell that nothing is", async () => {
  const { kafka, apply } = setup();
  expect(await apply(queueTopology)).toEqual([]);
  expect(Array.from(kafka.topics, ([name, { logs }]) => [name, logs.length])).toEqual([
    ["orders", 3],
    ["orders.retry", 3],
    ["orders.dlq", 1],
    ["orders.delay", 10],
  ]);
  kafka.asked.length = 0;
  expect(await apply(queueTopology)).toEqual([]);
  expect(kafka.asked).toEqual(["topics", "topicConfigs"]);
});

test("without a word about replicas there are three, also when some brokers are down, or as many as brokers", async () => {
  const { kafka, apply } = setup();
  await apply(queueTopology);
  kafka.registered = 3;
  const channel = { kind: "queue", name: "bills", ordered: false } as const;
  await apply({ channels: [channel], groups: [] });
  expect(kafka.topics.get("bills")?.replicas).toBe(3);
  for (const id of [2, 3, 4, 5]) kafka.nodes.add(id);
  await apply(topicTopology);
  expect([kafka.topics.get("orders")?.replicas, kafka.topics.get("events")?.replicas]).toEqual([1, 3]);
});

test("to verify or plan makes nothing, and tells what is missing", async () => {
  const { kafka, clock, provisioner, apply } = setup();
  for (const mode of ["verify", "plan"] as const) {
    const changes = await during(clock, provisioner.provision(queueTopology, mode, never));
    expect(changes.map(({ problem, name }) => `${problem} ${name}`)).toEqual([
      "missing orders",
      "missing orders.retry",
      "missing orders.dlq",
      "missing orders.delay",
    ]);
  }
  expect(kafka.topics.size).toBe(0);
  await apply(queueTopology);
  kafka.topics.delete("orders.dlq");
  expect(await during(clock, provisioner.provision(queueTopology, "verify", never))).toEqual([
    { problem: "missing", object: "topic", name: "orders.dlq" },
  ]);
});

test("the retry topic has the partitions that the channel's topic has", async () => {
  const { kafka, clock, provisioner, apply } = setup();
  kafka.makeTopic("orders", 7);
  expect(await apply(queueTopology)).toEqual([]);
  expect(kafka.topics.get("orders.retry")?.logs).toHaveLength(7);
  kafka.topics.get("orders")?.logs.push({ start: 0n, end: 0n, leader: 1, records: [] });
  expect(await during(clock, provisioner.provision(queueTopology, "verify", never))).toEqual([
    {
      problem: "different",
      object: "topic",
      name: "orders.retry",
      field: "partitions",
      expected: "8",
      actual: "7",
    },
  ]);
});

test("what exists otherwise is told and left as it is, also when somebody makes it at the same moment", async () => {
  const { kafka, apply } = setup();
  kafka.intercept = (api) => {
    if (api === "createTopics" && !kafka.topics.has("orders"))
      kafka.makeTopic("orders", partitions, { "cleanup.policy": "compact" });
  };
  expect(await apply(queueTopology)).toEqual([
    {
      problem: "different",
      object: "topic",
      name: "orders",
      field: "cleanup.policy",
      expected: "delete",
      actual: "compact",
    },
  ]);
  expect(kafka.topics.get("orders")?.config).toEqual({ "cleanup.policy": "compact" });
});

test("settings that the account may not see are not compared", async () => {
  const { kafka, apply } = setup();
  kafka.makeTopic("orders", partitions, { "cleanup.policy": "compact" });
  kafka.refusals.set("topicConfigs", [errorCodes.TOPIC_AUTHORIZATION_FAILED]);
  expect(await apply(queueTopology)).toEqual([]);
});

test("it is done when every broker shows the new topics; one that is down needs not", async () => {
  const { kafka, clock, provisioner } = setup();
  kafka.nodes.add(2).add(3);
  kafka.hidden.set(2, new Set(["orders.dlq"]));
  kafka.intercept = (api, node) => {
    if (api === "metadata" && node === 3) throw new ConnectionFailure("It is down.", false);
  };
  let done = false;
  const applying = provisioner.provision(queueTopology, "apply", never).then(() => (done = true));
  await clock.advance(3_000);
  expect(done).toBe(false);
  kafka.hidden.clear();
  await during(clock, applying);
});

test("a new group of a topic begins at the logs' ends, a queue's at their starts", async () => {
  const { kafka, apply } = setup();
  kafka.makeTopic("orders", partitions);
  kafka.makeTopic("events", partitions);
  for (const topic of ["orders", "events"]) kafka.append(topic, 1, {}, {});
  await apply(queueTopology);
  await apply(topicTopology);
  expect(committed(kafka, "orders")).toEqual({});
  expect(committed(kafka, "events.billing")).toEqual({ "events 0": 0, "events 1": 2, "events 2": 0 });
  kafka.append("events", 1, {});
  await apply(topicTopology);
  expect(committed(kafka, "events.billing")).toMatchObject({ "events 1": 2 });
});

test("a group that was made once and whose offsets have expired does not begin at the ends", async () => {
  const { kafka, apply } = setup();
  await apply(topicTopology);
  kafka.groups.clear();
  kafka.append("events", 1, {});
  await apply(topicTopology);
  expect(committed(kafka, "events.billing")).toEqual({});
});

test("offsets that a group has are kept, and while it has members they are theirs", async () => {
  const { kafka, apply } = setup();
  kafka.makeTopic("events", partitions);
  kafka.append("events", 0, {}, {});
  kafka.append("events", 1, {}, {});
  kafka.groups.set("events.billing", new Map([["events 0", 1n]]));
  await apply(topicTopology);
  expect(committed(kafka, "events.billing")).toEqual({ "events 0": 1, "events 1": 2, "events 2": 0 });
  kafka.topics.delete("events.billing.retry");
  kafka.groups.set("events.billing", new Map([["events 0", 1n]]));
  kafka.consumed.add("events.billing");
  expect(await apply(topicTopology)).toEqual([]);
  expect(committed(kafka, "events.billing")).toEqual({ "events 0": 1 });
});

test("however several that provision at once are mixed, none skips what is published after one of them is done", async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { kafka, clock, another } = setup();
    kafka.makeTopic("events", partitions);
    const random = seeded(seed);
    kafka.intercept = async () => {
      for (let turns = Math.floor(random() * 6); turns > 0; turns--) await Promise.resolve();
      if (random() < 0.3) await new Promise<void>((resolve) => clock.setTimeout(resolve, random() * 50));
      // Others publish all the time.
      kafka.append("events", Math.floor(random() * partitions), {});
    };
    let ends: bigint[] | undefined;
    await during(
      clock,
      Promise.all(
        [1, 2, 3].map(async () => {
          await sleep(clock, random() * 100);
          await another().provision(topicTopology, "apply", never);
          ends ??= kafka.topics.get("events")?.logs.map(({ end }) => end);
        }),
      ),
    );
    const offsets = committed(kafka, "events.billing");
    for (const [partition, end] of (ends ?? []).entries())
      expect(offsets[`events ${partition}`], `seed ${seed}`).toBeLessThanOrEqual(Number(end));
    expect(Object.keys(offsets)).toHaveLength(partitions);
  }
});

test.each([
  ["TOPIC_AUTHORIZATION_FAILED", "ACCESS_REFUSED", /"orders".*Grant the account Create/],
  ["INVALID_REPLICATION_FACTOR", "INVALID_OPTION", /"orders".*So says the broker.*replicationFactor/],
  ["INVALID_PARTITIONS", "INVALID_OPTION", /partitions/],
  ["INVALID_CONFIG", "INVALID_OPTION", /minInsyncReplicas/],
  ["POLICY_VIOLATION", "INVALID_OPTION", /what the cluster allows/],
  ["INVALID_TOPIC_EXCEPTION", "INVALID_NAME", /"orders".*So says the broker.*another name/],
  ["UNKNOWN_SERVER_ERROR", "TRANSPORT_FAILED", /"orders"/],
] as const)("%s ends it with %s", async (answer, code, text) => {
  const { kafka, apply } = setup();
  // A second time, where fewer replicas are tried.
  kafka.refusals.set("createTopics", [errorCodes[answer], errorCodes[answer]]);
  await expect(apply(queueTopology)).rejects.toMatchObject({ code, message: expect.stringMatching(text) as string });
});

test("what may work later is tried again: refusals for now, and lost connections", async () => {
  const { kafka, apply } = setup();
  kafka.refusals.set("createTopics", [errorCodes.NOT_CONTROLLER, errorCodes.THROTTLING_QUOTA_EXCEEDED]);
  kafka.refusals.set("listOffsets", [errorCodes.NOT_LEADER_OR_FOLLOWER]);
  kafka.refusals.set("committedOffsets", [errorCodes.NOT_COORDINATOR, errorCodes.COORDINATOR_LOAD_IN_PROGRESS]);
  kafka.refusals.set("commitOffsets", [errorCodes.UNKNOWN_TOPIC_OR_PARTITION]);
  let failures = 0;
  kafka.intercept = (api) => {
    if (api === "commitOffsets" && failures++ < 2) throw new ConnectionFailure("The connection was cut.", true);
  };
  expect(await apply(topicTopology)).toEqual([]);
  expect(Object.keys(committed(kafka, "events.billing"))).toHaveLength(partitions);
});

test("it ends when its caller gives up", async () => {
  const { kafka, clock, provisioner } = setup();
  const giveUp = new AbortController();
  kafka.intercept = () => new Promise(() => undefined);
  const applying = provisioner.provision(queueTopology, "apply", giveUp.signal);
  await clock.advance(100);
  giveUp.abort();
  await expect(applying).rejects.toMatchObject({ code: "ABORTED" });
  await expect(provisioner.provision(queueTopology, "apply", AbortSignal.abort())).rejects.toMatchObject({
    code: "ABORTED",
  });
});

test("what was applied can be made again, and then the group begins at the start of the new log", async () => {
  const { kafka, clock, provisioner, apply } = setup();
  const inlet = { channel: events, group: "billing" };
  expect(await provisioner.restore(inlet, never)).toBe(false);
  await apply(topicTopology);
  kafka.topics.clear();
  kafka.groups.clear();
  kafka.makeTopic("events", partitions);
  kafka.append("events", 0, {});
  expect(await during(clock, provisioner.restore(inlet, never))).toBe(true);
  expect([...kafka.topics.keys()]).toEqual([
    "events",
    "events.billing.retry",
    "events.billing.dlq",
    "events.billing.delay",
  ]);
  expect(committed(kafka, "events.billing")).toEqual({});
  expect(await provisioner.restore({ channel: events, group: "other" }, never)).toBe(false);
});

/** Numbers in [0, 1) that are the same each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
