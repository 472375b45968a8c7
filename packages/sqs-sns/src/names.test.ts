import * as fc from "fast-check";
import type { ChannelInfo } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { namesOf } from "./names.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;
const names = namesOf({ prefix: "" });

/** All that belongs to a group, with the kind of thing that it names: queues and topics have nothing in common. */
const all = (prefix: string, channel: ChannelInfo, group: string): readonly string[] => {
  const { topic, queue, deadLetters, delay } = namesOf({ prefix });
  return [
    ...(channel.kind === "topic" ? [`topic ${topic(channel)}`] : []),
    ...[queue, deadLetters, delay].map((of) => `queue ${of(channel, group)}`),
  ];
};

test("a queue's names begin with the queue's", () => {
  expect(names.queue(orders, "orders")).toBe("orders");
  expect(names.deadLetters(orders, "orders")).toBe("orders__dlq");
  expect(names.delay(orders, "orders")).toBe("orders__delay");
});

test("a topic's group has names of its own", () => {
  expect(names.topic(events)).toBe("order-events");
  expect(names.queue(events, "billing")).toBe("order-events--billing");
  expect(names.deadLetters(events, "billing")).toBe("order-events--billing__dlq");
  expect(names.delay(events, "billing")).toBe("order-events--billing__delay");
});

test("what is ordered ends in .fifo, its delay queue does not", () => {
  const ordered = { ...events, ordered: true };
  expect(names.topic(ordered)).toBe("order-events.fifo");
  expect(names.queue(ordered, "billing")).toBe("order-events--billing.fifo");
  expect(names.deadLetters(ordered, "billing")).toBe("order-events--billing__dlq.fifo");
  expect(names.delay(ordered, "billing")).toBe("order-events--billing__delay");
});

test("a prefix stands before all names", () => {
  const { topic, queue, deadLetters, delay } = namesOf({ prefix: "test_" });
  const made = [topic(events), ...[queue, deadLetters, delay].map((of) => of(events, "billing"))];
  expect(made).toEqual([
    "test_order-events",
    "test_order-events--billing",
    "test_order-events--billing__dlq",
    "test_order-events--billing__delay",
  ]);
});

test("names that are too long, or hold a joint, are cut and told apart by a hash, which is the same everywhere", () => {
  const long = { ...orders, name: "o".repeat(100) };
  expect(names.queue(long, long.name)).toMatch(/^o{46}__[0-9a-f]{20}$/);
  expect(names.queue({ ...orders, name: "a--b" }, "a--b")).toBe("a--b__85a8241f571df4fba6ae");
  expect(names.deadLetters({ ...events, name: "a_" }, "b")).toMatch(/^a_--b__[0-9a-f]{20}__dlq$/);
  expect(names.topic({ ...events, name: "a__dlq" })).toMatch(/^a__dlq__[0-9a-f]{20}$/);
});

const name = fc.oneof(
  fc.stringMatching(/^[ab][ab_-]{0,6}$/),
  fc.stringMatching(/^[ab][ab_-]{30,99}$/),
  fc.constantFrom("a", "a__dlq", "a__delay", "a--b", "a-", "b", "dlq-", "a--b__dlq"),
);
const group = fc
  .record({ kind: fc.constantFrom("queue", "topic"), name, group: name, ordered: fc.boolean() })
  .map(({ kind, name, group, ordered }) => ({
    channel: { kind, name, ordered } as ChannelInfo,
    group: kind === "queue" ? name : group,
  }));

test("no two things have the same name, and SQS takes every one", () => {
  fc.assert(
    fc.property(fc.uniqueArray(group, { selector: (each) => JSON.stringify(each), maxLength: 30 }), (groups) => {
      const owners = new Map<string, string>();
      for (const { channel, group } of groups) {
        for (const [index, each] of all("p-", channel, group).entries()) {
          expect(each).toMatch(/^(topic|queue) (?=.{1,80}$)[A-Za-z0-9_-]+(\.fifo)?$/);
          // Groups share their topic; an ordered channel and its namesake that is not share a delay queue that only one of them uses.
          if (each.startsWith("topic") || each.endsWith("__delay")) continue;
          const owner = JSON.stringify([channel, group, index]);
          expect(owners.get(each) ?? owner).toBe(owner);
          owners.set(each, owner);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("the same names derive from equal channels, whatever the prefix's length", () => {
  const prefix = "p".repeat(40);
  expect(namesOf({ prefix }).queue(orders, "orders")).toBe(`${prefix}orders`);
  const one = namesOf({ prefix }).queue({ ...orders, name: `${"o".repeat(99)}a` }, "");
  const other = namesOf({ prefix }).queue({ ...orders, name: `${"o".repeat(99)}b` }, "");
  expect(one.slice(0, 48)).toBe(other.slice(0, 48));
  expect(one).not.toBe(other);
});
