import { expect, test } from "vitest";
import type { TopicMetadata } from "./client.ts";
import { readOptions } from "./options.ts";
import type { WantedTopic } from "./topology.ts";
import { differencesOf, missingTopic, topicsOfGroup, wantedTopics } from "./topology.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;

const size = { "max.message.bytes": "1048588" };
const kept = { "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1" };
const ownTopics = (base: string, partitions: number) => [
  { name: `${base}.retry`, partitions, exactly: true, replicationFactor: undefined, config: { ...size, ...kept } },
  {
    name: `${base}.dlq`,
    partitions: 1,
    exactly: true,
    replicationFactor: undefined,
    config: {
      ...size,
      "cleanup.policy": "compact",
      "retention.ms": "-1",
      "retention.bytes": "-1",
      "segment.ms": "86400000",
      "delete.retention.ms": "86400000",
    },
  },
  { name: `${base}.delay`, partitions: 10, exactly: true, replicationFactor: undefined, config: { ...size, ...kept } },
];

test("a channel is a topic, and each of its groups has three of its own", () => {
  const groups = [
    { channel: orders, name: "orders", types: [] },
    { channel: events, name: "billing", types: ["order-placed"] },
  ];
  const wanted = wantedTopics({ channels: [orders, events], groups }, readOptions({}));
  const channelTopic = (name: string) => ({
    name,
    partitions: 12,
    exactly: false,
    replicationFactor: undefined,
    config: { ...size, "cleanup.policy": "delete", "retention.ms": "604800000" },
  });
  expect(wanted.channels).toEqual([channelTopic("orders"), channelTopic("order-events")]);
  expect(wanted.groups.map(({ id, fromEnd }) => [id, fromEnd])).toEqual([
    ["orders", false],
    ["order-events.billing", true],
  ]);
  expect(wanted.groups.map((group) => topicsOfGroup(group, 12))).toEqual([
    ownTopics("orders", 12),
    ownTopics("order-events.billing", 12),
  ]);
});

test("a retry topic has the partitions that the channel's topic has, not those it was to have", () => {
  const groups = [{ channel: orders, name: "orders", types: [] }];
  const [group] = wantedTopics({ channels: [orders], groups }, readOptions({})).groups;
  expect(group && topicsOfGroup(group, 24)[0]).toMatchObject({ name: "orders.retry", partitions: 24 });
});

test("a topic that is only published to has nothing but itself", () => {
  const wanted = wantedTopics({ channels: [events], groups: [] }, readOptions({}));
  expect(wanted.channels.map(({ name }) => name)).toEqual(["order-events"]);
  expect(wanted.groups).toEqual([]);
});

test("the options say how topics are made, for all and for single channels", () => {
  const settings = readOptions({
    partitions: 4,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    retentionMs: -1,
    maxMessageBytes: 2_000_000,
    channels: { orders: { partitions: 6, retentionMs: 1_000 }, "order-events": { compact: true } },
  });
  const common = { "max.message.bytes": "2048588", "min.insync.replicas": "2" };
  const { channels } = wantedTopics({ channels: [orders, events], groups: [] }, settings);
  expect(channels).toMatchObject([
    { partitions: 6, replicationFactor: 3, config: { ...common, "cleanup.policy": "delete", "retention.ms": "1000" } },
    { partitions: 4, replicationFactor: 3, config: { ...common, "cleanup.policy": "compact" } },
  ]);
  expect(channels[1]?.config).not.toHaveProperty("retention.ms");
});

const wanted: WantedTopic = {
  name: "orders",
  partitions: 4,
  exactly: false,
  replicationFactor: 2,
  config: {
    "cleanup.policy": "delete",
    "retention.ms": "1000",
    "max.message.bytes": "2000",
    "min.insync.replicas": "2",
    "segment.ms": "5",
  },
};

function found(partitions: number, replicas = 2): TopicMetadata {
  const each = Array.from({ length: partitions }, (_, partition) => ({ error: 0, partition, leader: 1, replicas }));
  return { name: "orders", error: 0, partitions: each };
}

const asDeclared = { ...wanted.config };
const different = (field: string, expected: string, actual: string) => ({
  problem: "different",
  object: "topic",
  name: "orders",
  field,
  expected,
  actual,
});

test.each([
  ["as declared", wanted, found(4), asDeclared, []],
  ["more partitions", wanted, found(5), asDeclared, []],
  ["fewer partitions", wanted, found(3), asDeclared, [different("partitions", "4", "3")]],
  [
    "more partitions of a topic that must match another",
    { ...wanted, exactly: true },
    found(5),
    asDeclared,
    [different("partitions", "4", "5")],
  ],
  ["fewer replicas", wanted, found(4, 1), asDeclared, [different("replication.factor", "2", "1")]],
  ["as many replicas as suits", { ...wanted, replicationFactor: undefined }, found(4, 1), asDeclared, []],
  [
    "another policy",
    wanted,
    found(4),
    { ...asDeclared, "cleanup.policy": "compact" },
    [different("cleanup.policy", "delete", "compact")],
  ],
  [
    "one policy more",
    wanted,
    found(4),
    { ...asDeclared, "cleanup.policy": "compact,delete" },
    [different("cleanup.policy", "delete", "compact,delete")],
  ],
  ["a longer retention", wanted, found(4), { ...asDeclared, "retention.ms": "-1" }, []],
  [
    "a shorter one",
    wanted,
    found(4),
    { ...asDeclared, "retention.ms": "999" },
    [different("retention.ms", "1000", "999")],
  ],
  [
    "any where it is to be none",
    { ...wanted, config: { "retention.ms": "-1", "retention.bytes": "-1" } },
    found(4),
    { "retention.ms": "9999999999", "retention.bytes": "-1" },
    [different("retention.ms", "-1", "9999999999")],
  ],
  [
    "less room",
    wanted,
    found(4),
    { ...asDeclared, "max.message.bytes": "1999" },
    [different("max.message.bytes", "2000", "1999")],
  ],
  ["more room", wanted, found(4), { ...asDeclared, "max.message.bytes": "10000" }, []],
  [
    "fewer in sync",
    wanted,
    found(4),
    { ...asDeclared, "min.insync.replicas": "1" },
    [different("min.insync.replicas", "2", "1")],
  ],
  ["what matters to nobody", wanted, found(4), { ...asDeclared, "segment.ms": "6" }, []],
  ["settings that may not be seen", wanted, found(4), undefined, []],
])("%s", (_what, topic, metadata, config, expected) => {
  expect(differencesOf(topic, metadata, config)).toEqual(expected);
});

test("what is missing is a topic", () => {
  expect(missingTopic("orders")).toEqual({ problem: "missing", object: "topic", name: "orders" });
});
