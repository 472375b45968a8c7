/**
 * The delay ladder: how a message waits on the broker until it is due, without a plugin.
 *
 * A delay is a number of ticks, written in octal, and each value of each of its digits has a queue in which a message waits for so long: the
 * digit d at level k for d · 8^k ticks. The routing key says the digits, the highest first, and then the destination. A message enters
 * at its highest digit that is not 0; when it has waited there it is dead-lettered to the next exchange below, which takes it into the
 * queue of its digit or, where that is 0, on to the exchange below that. The last exchange takes it to its destination. All messages of a
 * queue wait equally long, so none holds up another. One ladder serves all channels of a virtual host.
 *
 * Octal, because every stop costs some 20 ms and the broker's work: a delay of 25 seconds has three stops at most, and would have nine
 * in binary.
 *
 * Nothing is lost on the way: every queue is a quorum queue that keeps a message until the next one has confirmed it.
 */
import type { Declaration } from "./declarations.ts";
import { bindingDeclaration, exchangeDeclaration, noDeliveryLimit, queueDeclaration } from "./declarations.ts";
import type { Route } from "./names.ts";

/** The shortest delay. */
export const tickMs = 50;
const levels = 6;
const base = 8;
/** What all levels together make: three hours and 38 minutes. */
export const longestDelayMs: number = (base ** levels - 1) * tickMs;

/** Where a delayed message is published. */
export const ladderExchange = "posthorn.delay";
/** What has waited long enough comes here. */
export const dueExchange = "posthorn.delay.due";
const unroutedExchange = "posthorn.delay.unrouted";
const undeliverableQueue = "posthorn.delay.undeliverable";
const nobodyQueue = "posthorn.delay.nobody";

const digits: readonly number[] = Array.from({ length: base - 1 }, (_, index) => index + 1);
const levelExchange = (k: number): string => `posthorn.delay.${k}`;
const digitQueue = (k: number, digit: number): string => `posthorn.delay.${k}.${digit}`;
const anyDigits = (count: number): string => "*.".repeat(count);

/**
 * From the bottom up, and the entrance last: a message that can enter can go all the way.
 *
 * Nothing stays at the head of a queue for want of a way on, which would hold up all behind it: what has lost its queue
 * meanwhile is kept aside, and events that nobody asked for expire at once.
 */
export const ladderDeclarations: readonly Declaration[] = [
  queueDeclaration(undeliverableQueue, { "x-queue-type": "quorum", "x-delivery-limit": noDeliveryLimit }),
  queueDeclaration(nobodyQueue, { "x-queue-type": "classic", "x-message-ttl": 0 }),
  exchangeDeclaration(unroutedExchange),
  bindingDeclaration(unroutedExchange, `${anyDigits(levels)}q.#`, "queue", undeliverableQueue),
  bindingDeclaration(unroutedExchange, `${anyDigits(levels)}t.#`, "queue", nobodyQueue),
  exchangeDeclaration(dueExchange, { "alternate-exchange": unroutedExchange }),
  ...Array.from({ length: levels }, (_, k) => levelDeclarations(k)).flat(),
  exchangeDeclaration(ladderExchange),
  ...Array.from({ length: levels }, (_, k) =>
    digits.map((digit) =>
      bindingDeclaration(ladderExchange, `${"0.".repeat(levels - 1 - k)}${digit}.#`, "queue", digitQueue(k, digit)),
    ),
  ).flat(),
];

function levelDeclarations(k: number): readonly Declaration[] {
  const below = k === 0 ? dueExchange : levelExchange(k - 1);
  const queues = digits.map((digit) =>
    queueDeclaration(digitQueue(k, digit), {
      "x-queue-type": "quorum",
      "x-message-ttl": digit * tickMs * base ** k,
      "x-dead-letter-exchange": below,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    }),
  );
  // The highest one is entered by the entrance only.
  if (k === levels - 1) return queues;
  const exchange = levelExchange(k);
  const above = anyDigits(levels - 1 - k);
  return [
    ...queues,
    exchangeDeclaration(exchange),
    bindingDeclaration(exchange, `${above}0.#`, "exchange", below),
    ...digits.map((digit) => bindingDeclaration(exchange, `${above}${digit}.#`, "queue", digitQueue(k, digit))),
  ];
}

/** The key by which a queue takes what is due for itself. */
export function dueKeyOfQueue(queue: string): string {
  return `${anyDigits(levels)}q.${queue}`;
}

/** The key by which a queue takes what is due for a topic and a routing key of it. */
export function dueKeyOfTopic(topic: string, routingKey: string): string {
  return `${anyDigits(levels)}t.${topic}.${routingKey}`;
}

/** Of an entry in `x-death`: exchange, queue, reason, count and time, beside the routing key. */
const deathBytes = 180;
/** What else the broker says of the first and the last one. */
const deathsBytes = 400;

/** The way of delayed messages to where the given route leads; delays beyond the longest are cut. */
export function delayedRoute(route: Route, now: () => number, longestMs: number): Route {
  const destination = route.exchange === "" ? "q" : `t.${route.exchange}`;
  return {
    exchange: ladderExchange,
    routingKey: (message) => {
      const delayMs = (message.notBefore ?? 0) - now();
      return `${digitsOf(ticksOf(delayMs, longestMs))}.${destination}.${route.routingKey(message)}`;
    },
    mandatory: true,
    addedHeaderBytes: (routingKey) => {
      const stops = routingKey.slice(0, 2 * levels).match(/[1-7]/g)?.length ?? 0;
      return deathsBytes + stops * (deathBytes + routingKey.length);
    },
  };
}

/** Rounded up, so that nothing is early; at least one. */
function ticksOf(delayMs: number, longestMs: number): number {
  const longest = Math.floor(Math.min(longestMs, longestDelayMs) / tickMs);
  return Math.max(1, Math.min(Math.ceil(delayMs / tickMs), longest));
}

function digitsOf(ticks: number): string {
  return ticks.toString(base).padStart(levels, "0").split("").join(".");
}
