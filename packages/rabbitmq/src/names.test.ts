import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import type { Address, Message } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { delayedRoute } from "./ladder.ts";
import { routeOf } from "./names.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;
const message = { id: "id", type: "order-placed", key: "customer 7", notBefore: 0 } as Message;

/** `exchange/routing key`, with a `!` where the message comes back when nobody takes it. */
function wayTo(address: Address, sent = message): string {
  const { exchange, routingKey, mandatory } = routeOf(address);
  return `${exchange}/${routingKey(sent)}${mandatory ? "!" : ""}`;
}

test("every address has its route", () => {
  expect(wayTo(channelAddress(orders))).toBe("/orders!");
  expect(wayTo(channelAddress(events))).toBe("order-events/order-placed");
  expect(wayTo(inletAddress(orders, "orders"))).toBe("/orders!");
  expect(wayTo(inletAddress(events, "billing"))).toBe("/order-events.billing!");
  expect(wayTo(deadLetterAddress(events, "billing"))).toBe("/order-events.billing.dlq!");
  expect(() => routeOf({ kind: "reply", id: "reply:x", inbox: "x" })).toThrow("reply");
});

test("on an ordered channel the key's shard is part of it, but for dead letters", () => {
  const ordered = { ...orders, ordered: true };
  const orderedEvents = { ...events, ordered: true };
  expect(wayTo(channelAddress(ordered))).toBe("/orders.shard.4!");
  expect(wayTo(channelAddress(orderedEvents))).toBe("order-events/4.order-placed");
  expect(wayTo(inletAddress(orderedEvents, "billing"))).toBe("/order-events.billing.shard.4!");
  expect(wayTo(deadLetterAddress(orderedEvents, "billing"))).toBe("/order-events.billing.dlq!");
});

test("the longest names fit into the protocol's 255 bytes, delayed as well", () => {
  const name = "n".repeat(100);
  const longest = { ...message, type: "t".repeat(100) };
  for (const ordered of [false, true]) {
    const channel = { kind: "topic", name, ordered } as const;
    for (const address of [channelAddress(channel), inletAddress(channel, name), deadLetterAddress(channel, name)]) {
      const route = routeOf(address);
      const delayed = delayedRoute(route, () => 0, 1_000);
      for (const key of [route.routingKey(longest), delayed.routingKey(longest)])
        expect(Buffer.byteLength(key), key).toBeLessThanOrEqual(255);
    }
  }
});
