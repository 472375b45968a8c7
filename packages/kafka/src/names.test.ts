import { deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { base, channelTopic, deadLetterTopic, delayTopic, groupId, noReplies, retryTopic, topicsOf } from "./names.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;

test("a queue's names begin with the queue's", () => {
  expect(channelTopic(orders)).toBe("orders");
  expect(base(orders, "orders")).toBe("orders");
  expect(groupId(orders, "orders")).toBe("orders");
  expect(retryTopic(orders, "orders")).toBe("orders.retry");
  expect(deadLetterTopic(orders, "orders")).toBe("orders.dlq");
  expect(delayTopic(orders, "orders")).toBe("orders.delay");
});

test("a topic's group has names of its own", () => {
  expect(channelTopic(events)).toBe("order-events");
  expect(base(events, "billing")).toBe("order-events.billing");
  expect(groupId(events, "billing")).toBe("order-events.billing");
  expect(retryTopic(events, "billing")).toBe("order-events.billing.retry");
  expect(deadLetterTopic(events, "billing")).toBe("order-events.billing.dlq");
  expect(delayTopic(events, "billing")).toBe("order-events.billing.delay");
});

test("an inlet is read from the channel and from the retries, dead letters from their topic", () => {
  expect(topicsOf(inletAddress(events, "billing"))).toEqual(["order-events", "order-events.billing.retry"]);
  expect(topicsOf(deadLetterAddress(events, "billing"))).toEqual(["order-events.billing.dlq"]);
});

test("the longest names fit into Kafka's 249 characters, and have none that it does not know", () => {
  const name = "n".repeat(100);
  const channel = { kind: "topic", name, ordered: true } as const;
  for (const topic of [channelTopic, retryTopic, deadLetterTopic, delayTopic].map((of) => of(channel, name)))
    expect(topic).toMatch(/^[A-Za-z0-9._-]{1,249}$/);
});

test("no two names are equal, also not those of a group that is called like a suffix", () => {
  const topics = [orders, { ...events, name: "events" } as const].flatMap((channel) => {
    const groups = channel.kind === "queue" ? ["orders"] : ["delay", "orders", "events"];
    return [
      channelTopic(channel),
      ...groups.flatMap((group) => [retryTopic, deadLetterTopic, delayTopic].map((of) => of(channel, group))),
    ];
  });
  expect(new Set(topics).size).toBe(topics.length);
});

test("there are no reply inboxes", () => {
  expect(noReplies()).toMatchObject({
    code: "UNSUPPORTED_CAPABILITY",
    message: expect.stringContaining("reply") as string,
  });
});
