/**
 * The delay ladder: how a message waits on the broker until it is due, without a plugin.
 *
 * A delay is a binary number of ticks, and each of its bits has a queue in which a message waits for so long: level k for 2^k
 * ticks. The routing key says the bits, the highest first, and then the destination. A message enters at its highest set bit; when
 * it has waited there it is dead-lettered to the next exchange below, which takes it into its queue or, where the bit is 0, on to
 * the exchange below that. The last exchange takes it to its destination. All messages of a queue wait equally long,
 * so none holds up another. One ladder serves all channels of a virtual host.
 *
 * Nothing is lost on the way: every queue is a quorum queue that keeps a message until the next one has confirmed it.
 */
import type { Declaration } from "./declarations.ts";
import { bindingDeclaration, exchangeDeclaration, noDeliveryLimit, queueDeclaration } from "./declarations.ts";
import type { Route } from "./names.ts";

/** The shortest delay. */
export const tickMs = 100;
const levels = 18;
/** What all levels together make: seven and a quarter hours. */
export const longestDelayMs: number = (2 ** levels - 1) * tickMs;

/** Where a delayed message is published. */
export const ladderExchange = "posthorn.delay";
/** What has waited long enough comes here. */
export const dueExchange = "posthorn.delay.due";
const unroutedExchange = "posthorn.delay.unrouted";
const undeliverableQueue = "posthorn.delay.undeliverable";
const nobodyQueue = "posthorn.delay.nobody";

const level = (k: number): string => `posthorn.delay.${k}`;
const anyBits = (count: number): string => "*.".repeat(count);

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
  bindingDeclaration(unroutedExchange, `${anyBits(levels)}q.#`, "queue", undeliverableQueue),
  bindingDeclaration(unroutedExchange, `${anyBits(levels)}t.#`, "queue", nobodyQueue),
  exchangeDeclaration(dueExchange, { "alternate-exchange": unroutedExchange }),
  ...Array.from({ length: levels }, (_, k) => levelDeclarations(k)).flat(),
  exchangeDeclaration(ladderExchange),
  ...Array.from({ length: levels }, (_, k) =>
    bindingDeclaration(ladderExchange, `${"0.".repeat(levels - 1 - k)}1.#`, "queue", level(k)),
  ),
];

function levelDeclarations(k: number): readonly Declaration[] {
  const below = k === 0 ? dueExchange : level(k - 1);
  const queue = queueDeclaration(level(k), {
    "x-queue-type": "quorum",
    "x-message-ttl": tickMs * 2 ** k,
    "x-dead-letter-exchange": below,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  });
  // The highest one is entered by the entrance only.
  if (k === levels - 1) return [queue];
  const above = anyBits(levels - 1 - k);
  return [
    queue,
    exchangeDeclaration(level(k)),
    bindingDeclaration(level(k), `${above}1.#`, "queue", level(k)),
    bindingDeclaration(level(k), `${above}0.#`, "exchange", below),
  ];
}

/** The key by which a queue takes what is due for itself. */
export function dueKeyOfQueue(queue: string): string {
  return `${anyBits(levels)}q.${queue}`;
}

/** The key by which a queue takes what is due for a topic and a routing key of it. */
export function dueKeyOfTopic(topic: string, routingKey: string): string {
  return `${anyBits(levels)}t.${topic}.${routingKey}`;
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
      return `${bitsOf(ticksOf(delayMs, longestMs))}.${destination}.${route.routingKey(message)}`;
    },
    mandatory: true,
    addedHeaderBytes: (routingKey) => {
      const stops = routingKey.slice(0, 2 * levels).split("1").length - 1;
      return deathsBytes + stops * (deathBytes + routingKey.length);
    },
  };
}

/** Rounded up, so that nothing is early; at least one. */
function ticksOf(delayMs: number, longestMs: number): number {
  const longest = Math.floor(Math.min(longestMs, longestDelayMs) / tickMs);
  return Math.max(1, Math.min(Math.ceil(delayMs / tickMs), longest));
}

function bitsOf(ticks: number): string {
  return ticks.toString(2).padStart(levels, "0").split("").join(".");
}
