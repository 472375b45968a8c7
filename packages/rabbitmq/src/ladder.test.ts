import type { Message } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { delayedRoute, ladderDeclarations, longestDelayMs } from "./ladder.ts";
import type { Route } from "./names.ts";

const toQueue: Route = { exchange: "", routingKey: () => "orders", mandatory: true };
const toTopic: Route = { exchange: "order-events", routingKey: ({ type }) => type, mandatory: false };

function keyFor(delayMs: number, longestMs = longestDelayMs, route = toQueue): string {
  const message = { type: "order.placed", notBefore: 10_000 + delayMs } as Message;
  return delayedRoute(route, () => 10_000, longestMs).routingKey(message);
}

/** How long a message with this key waits: each digit sends it through a queue of its level. */
function waitingMs(key: string): number {
  return Number.parseInt(key.split(".").slice(0, 6).join(""), 8) * 50;
}

test("the digits of the delay stand before the destination", () => {
  expect(keyFor(500)).toBe("0.0.0.0.1.2.q.orders");
  expect(keyFor(30_000)).toBe("0.0.1.1.3.0.q.orders");
  expect(keyFor(100, longestDelayMs, toTopic)).toMatch(/\.0\.2\.t\.order-events\.order\.placed$/);
});

test.each([
  [1, 50],
  [50, 50],
  [51, 100],
  [0, 50],
  [-5, 50],
  [86_400_000, 13_107_150],
])("%i ms wait for %i", (delayMs, expectedMs) => {
  expect(waitingMs(keyFor(delayMs))).toBe(expectedMs);
});

test("delays are cut to the longest that is wanted, never to nothing", () => {
  expect(waitingMs(keyFor(10_000, 1_030))).toBe(1_000);
  expect(waitingMs(keyFor(10_000, 10))).toBe(50);
});

test("whatever enters takes the levels of its digits, from the highest down, and comes out", () => {
  for (const delayMs of [100, 300, 1_700, 12_345_600, longestDelayMs]) {
    const key = keyFor(delayMs);
    const waits: number[] = [];
    let exchange = "posthorn.delay";
    while (exchange !== "posthorn.delay.due") {
      const binding = ladderDeclarations.find(
        (declaration) =>
          declaration.kind === "binding" && declaration.exchange === exchange && matches(declaration.routingKey, key),
      );
      if (binding?.kind !== "binding") throw new Error(`${exchange} has no way on for ${key}`);
      if (binding.to === "exchange") exchange = binding.destination;
      else {
        const queue = ladderDeclarations.find(({ id }) => id === `queue ${binding.destination}`);
        if (queue?.kind !== "queue") throw new Error(`${binding.destination} is not declared`);
        waits.push(Number(queue.arguments["x-message-ttl"]));
        exchange = String(queue.arguments["x-dead-letter-exchange"]);
      }
    }
    expect(waits.reduce((sum, wait) => sum + wait)).toBe(delayMs);
    expect(waits).toEqual(waits.toSorted((a, b) => b - a));
  }
});

test("every queue of it keeps a message until the next has taken it", () => {
  const levels = ladderDeclarations.filter(
    (declaration) => declaration.kind === "queue" && "x-dead-letter-exchange" in declaration.arguments,
  );
  expect(levels).toHaveLength(6 * 7);
  for (const level of levels) {
    expect(level).toMatchObject({
      arguments: {
        "x-queue-type": "quorum",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      },
    });
  }
});

test("room is kept for what the broker notes of every stop", () => {
  const { addedHeaderBytes, routingKey } = delayedRoute(toQueue, () => 0, longestDelayMs);
  const roomFor = (notBefore: number): number => addedHeaderBytes?.(routingKey({ notBefore } as Message)) ?? 0;
  expect(roomFor(100)).toBeLessThan(roomFor(1_000));
  expect(roomFor(longestDelayMs)).toBeLessThan(6_000);
});

function matches(pattern: string, key: string): boolean {
  const words = pattern.split(".");
  const given = key.split(".");
  return words.every((word, index) => word === "#" || word === "*" || word === given[index]);
}
