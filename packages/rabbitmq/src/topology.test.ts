import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { routeOf } from "./names.ts";
import { declarationsOf } from "./topology.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;

test("a topology is exchanges, then quorum queues after their dead letters, then bindings", () => {
  const topology = {
    channels: [orders, events],
    groups: [
      { channel: orders, name: "orders", types: [] },
      { channel: events, name: "billing", types: ["order-placed", "order-paid"] },
    ],
  };
  const inlet = (name: string) => ({
    kind: "queue",
    id: `queue ${name}`,
    name,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 50,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": `${name}.dlq`,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    },
  });
  const deadLetters = (name: string) => ({
    kind: "queue",
    id: `queue ${name}.dlq`,
    name: `${name}.dlq`,
    arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000 },
  });
  const binding = (routingKey: string) => ({
    kind: "binding",
    id: `binding order-events ${routingKey} order-events.billing`,
    exchange: "order-events",
    queue: "order-events.billing",
    routingKey,
  });
  expect(declarationsOf(topology, 50)).toEqual([
    { kind: "exchange", id: "exchange order-events", name: "order-events" },
    deadLetters("orders"),
    inlet("orders"),
    deadLetters("order-events.billing"),
    inlet("order-events.billing"),
    binding("order-placed"),
    binding("order-paid"),
  ]);
});

test("every address has its route", () => {
  expect(routeOf(channelAddress(orders))).toEqual({ exchange: "", routingKey: "orders", mandatory: true });
  expect(routeOf(channelAddress(events))).toEqual({
    exchange: "order-events",
    routingKey: undefined,
    mandatory: false,
  });
  expect(routeOf(inletAddress(orders, "orders"))).toEqual({ exchange: "", routingKey: "orders", mandatory: true });
  expect(routeOf(inletAddress(events, "billing"))).toEqual({
    exchange: "",
    routingKey: "order-events.billing",
    mandatory: true,
  });
  expect(routeOf(deadLetterAddress(events, "billing"))).toEqual({
    exchange: "",
    routingKey: "order-events.billing.dlq",
    mandatory: true,
  });
  expect(() => routeOf({ kind: "reply", id: "reply:x", inbox: "x" })).toThrow("reply");
});

test("the longest names fit into the protocol's 255 bytes", () => {
  const name = "n".repeat(100);
  const { routingKey } = routeOf(deadLetterAddress({ ...events, name }, name));
  expect(Buffer.byteLength(routingKey ?? "")).toBeLessThanOrEqual(255);
});
