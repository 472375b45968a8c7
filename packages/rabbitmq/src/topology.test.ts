import { expect, test } from "vitest";
import type { Declaration } from "./declarations.ts";
import { nameOf } from "./declarations.ts";
import { ladderDeclarations } from "./ladder.ts";
import { declarationsOf } from "./topology.ts";

const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;
const anyDelay = "*.".repeat(6);

const inlet = (name: string, deadLetters = `${name}.dlq`, more = {}) => ({
  kind: "queue",
  id: `queue ${name}`,
  name,
  arguments: {
    "x-queue-type": "quorum",
    "x-delivery-limit": 50,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": deadLetters,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-consumer-timeout": 43_200_000,
    ...more,
  },
});
const deadLetters = (name: string) => ({
  kind: "queue",
  id: `queue ${name}.dlq`,
  name: `${name}.dlq`,
  arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000, "x-consumer-timeout": 43_200_000 },
});
const binding = (exchange: string, routingKey: string, destination: string) => ({
  kind: "binding",
  id: `binding ${exchange} ${routingKey} ${destination}`,
  exchange,
  routingKey,
  to: "queue",
  destination,
});

test("a topology is exchanges, then quorum queues after their dead letters, then bindings, delayed ones too", () => {
  const topology = {
    channels: [orders, events],
    groups: [
      { channel: orders, name: "orders", types: [] },
      { channel: events, name: "billing", types: ["order-placed", "order.paid"] },
    ],
  };
  const due = (key: string, queue: string) => binding("posthorn.delay.due", anyDelay + key, queue);
  const billing = "order-events.billing";
  expect(declarationsOf(topology, 50)).toEqual([
    { kind: "exchange", id: "exchange order-events", name: "order-events", arguments: {} },
    deadLetters("orders"),
    inlet("orders"),
    deadLetters(billing),
    inlet(billing),
    due("q.orders", "orders"),
    due(`q.${billing}`, billing),
    binding("order-events", "order-placed", billing),
    due("t.order-events.order-placed", billing),
    binding("order-events", "order.paid", billing),
    due("t.order-events.order.paid", billing),
  ]);
});

test("an ordered channel has eight queues for each group, all with the same dead letters", () => {
  const channel = { ...events, ordered: true };
  const topology = { channels: [channel], groups: [{ channel, name: "billing", types: ["order-placed"] }] };
  const declarations = declarationsOf(topology, 50);
  const queues = declarations.filter(({ kind }) => kind === "queue");
  expect(queues).toEqual([
    deadLetters("order-events.billing"),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((shard) =>
      inlet(`order-events.billing.shard.${shard}`, "order-events.billing.dlq", { "x-single-active-consumer": true }),
    ),
  ]);
  expect(declarations).toContainEqual(binding("order-events", "7.order-placed", "order-events.billing.shard.7"));
  expect(declarations).toContainEqual(
    binding("posthorn.delay.due", `${anyDelay}t.order-events.7.order-placed`, "order-events.billing.shard.7"),
  );
});

test("nothing is declared twice or before what it needs", () => {
  const topology = { channels: [orders], groups: [{ channel: orders, name: "orders", types: [] }] };
  const known = new Set<string>();
  for (const declaration of [...ladderDeclarations, ...declarationsOf(topology, 50)]) {
    expect(known).not.toContain(declaration.id);
    for (const needed of neededBy(declaration)) expect(known, nameOf(declaration)).toContain(needed);
    known.add(declaration.id);
  }
});

/** What must exist before: otherwise the broker refuses it, or messages get no further after a declaration that broke off. */
function neededBy(declaration: Declaration): readonly string[] {
  if (declaration.kind === "binding")
    return [`exchange ${declaration.exchange}`, `${declaration.to} ${declaration.destination}`];
  const exchange =
    declaration.arguments[declaration.kind === "queue" ? "x-dead-letter-exchange" : "alternate-exchange"];
  if (exchange === undefined) return [];
  return [
    exchange === "" ? `queue ${String(declaration.arguments["x-dead-letter-routing-key"])}` : `exchange ${exchange}`,
  ];
}
