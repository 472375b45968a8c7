/** What consuming costs in requests, and that it costs publishing nothing. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Bus, Subscription, Transport } from "@posthorn/core";
import { createBus, queue, topic } from "@posthorn/core";
import { sqs } from "@posthorn/sqs-sns";
import { expect, test } from "vitest";
import { z } from "zod";
import { useSqs } from "./brokers-in-use.ts";
import type { Traffic } from "./sqs-traffic.ts";
import { watchTraffic } from "./sqs-traffic.ts";

const broker = useSqs();
const schema = z.object({ number: z.int() });
const key = ({ number }: { number: number }): string => String(number);

/** As users have it: no option but where the broker is. */
function open(endpoint: string): Transport {
  const { region, credentials } = broker();
  return sqs({ region, credentials, endpoint });
}

test("fifty open polls do not hold up a send", async () => {
  const sends = 200;
  await using traffic = await watchTraffic(broker().endpoint);
  await using bus = createBus({ service: "service", transport: open(traffic.link.endpoint) });
  for (let number = 1; number <= 50; number++)
    bus.handle(queue(`polled-${number}`).command("work", { schema }), () => undefined);
  const Told = queue("polled-told").command("tell", { schema });
  bus.declare(Told);
  await bus.start();
  await expect.poll(() => traffic.underWay("ReceiveMessage").length).toBe(50);
  const polls = traffic.underWay("ReceiveMessage");
  const before = traffic.seen.length;
  for (let number = 1; number <= sends; number++) await bus.send(Told, { number });
  const stillOpen = polls.filter(({ over }) => !over);
  const others = traffic.seen.slice(before);
  expect(new Set(stillOpen.map(({ place }) => place)).size).toBe(50);
  expect(others.map(({ action, place }) => `${action} ${place}`)).toEqual(
    Array.from({ length: sends }, () => "SendMessageBatch polled-told"),
  );
  expect(others.every(({ answered, over }) => answered && over)).toBe(true);
});

interface Idle {
  readonly who: string;
  /** Declares and registers. `open` makes a bus, which is started afterwards. */
  readonly setUp: (open: (service: string) => Bus) => Subscription | undefined;
  /** Polls that are open at a time, by queue. */
  readonly polls: Readonly<Record<string, number>>;
}

const idle: readonly Idle[] = [
  {
    who: "a consumer of a queue",
    setUp: (open) => open("service").handle(queue("idle").command("work", { schema }), () => undefined),
    polls: { idle: 1 },
  },
  {
    who: "a group of a topic",
    setUp: (open) => open("billing").subscribe(topic("idle-events").event("told", { schema }), () => undefined),
    polls: { "idle-events--billing": 1 },
  },
  {
    who: "three consumers of one queue",
    setUp(open) {
      const Work = queue("idle-shared").command("work", { schema });
      for (const service of ["one", "two", "three"]) open(service).handle(Work, () => undefined);
      return undefined;
    },
    polls: { "idle-shared": 3 },
  },
  {
    who: "a consumer of an ordered queue, which has a delay queue beside it",
    setUp: (open) =>
      open("service").handle(
        queue("idle-in-order", { ordered: true }).command("work", { schema, key }),
        () => undefined,
      ),
    polls: { "idle-in-order.fifo": 1, "idle-in-order__delay": 1 },
  },
  {
    who: "an ordered group of a topic, which has a delay queue beside it",
    setUp: (open) =>
      open("billing").subscribe(
        topic("idle-told-in-order", { ordered: true }).event("told", { schema, key }),
        () => undefined,
      ),
    polls: { "idle-told-in-order--billing.fifo": 1, "idle-told-in-order--billing__delay": 1 },
  },
  {
    who: "a service that only sends",
    setUp(open) {
      open("service").declare(
        queue("idle-sent").command("work", { schema }),
        topic("idle-published").event("told", { schema }),
      );
      return undefined;
    },
    polls: {},
  },
];

const pollMs = 20_000;

type Counts = Readonly<Record<string, number>>;

function count(places: Iterable<string>): Counts {
  const counts: Record<string, number> = {};
  for (const place of places) counts[place] = (counts[place] ?? 0) + 1;
  return counts;
}

/** Requests that come from now on: other than polls by what they ask, polls by their queue. */
async function requestsOf(traffic: Traffic, windowMs: number): Promise<{ polls: Counts; others: readonly string[] }> {
  const before = traffic.seen.length;
  await sleep(windowMs);
  const seen = traffic.seen.slice(before);
  return {
    polls: count(seen.filter(({ action }) => action === "ReceiveMessage").map(({ place }) => place)),
    others: seen.filter(({ action }) => action !== "ReceiveMessage").map(({ action, place }) => `${action} ${place}`),
  };
}

function openPolls(traffic: Traffic): Counts {
  return count(traffic.underWay("ReceiveMessage").map(({ place }) => place));
}

/** Each with a way of its own to the broker, until the scope ends. */
async function startIdle(
  stack: AsyncDisposableStack,
): Promise<readonly (Idle & { readonly traffic: Traffic; readonly subscription: Subscription | undefined })[]> {
  return Promise.all(
    idle.map(async (each) => {
      const traffic = stack.use(await watchTraffic(broker().endpoint));
      const buses: Bus[] = [];
      const subscription = each.setUp((service) => {
        const bus = stack.use(createBus({ service, transport: open(traffic.link.endpoint) }));
        buses.push(bus);
        return bus;
      });
      for (const bus of buses) await bus.start();
      await expect.poll(() => openPolls(traffic), { message: each.who }).toEqual(each.polls);
      return { ...each, traffic, subscription };
    }),
  );
}

test("idle, nobody asks for anything but one poll of 20 seconds after the other", async () => {
  const windowMs = 45_000;
  const most = Math.floor(windowMs / pollMs) + 1;
  await using stack = new AsyncDisposableStack();
  const all = await startIdle(stack);
  await Promise.all(
    all.map(async ({ who, polls, traffic }) => {
      const requests = await requestsOf(traffic, windowMs);
      console.log(`${who}, in ${windowMs / 1_000} s: ${JSON.stringify(requests)}`);
      expect(requests.others, who).toEqual([]);
      expect(Object.keys(requests.polls).toSorted(), who).toEqual(Object.keys(polls).toSorted());
      for (const [place, atOnce] of Object.entries(polls)) {
        expect(requests.polls[place], `${who}: ${place}`).toBeLessThanOrEqual(most * atOnce);
        expect(requests.polls[place], `${who}: ${place}`).toBeGreaterThanOrEqual((most - 1) * atOnce);
      }
      await expect.poll(() => openPolls(traffic), { message: who }).toEqual(polls);
    }),
  );
}, 180_000);

test("paused, nobody asks for anything", async () => {
  await using stack = new AsyncDisposableStack();
  const all = await startIdle(stack);
  await Promise.all(
    all.map(async ({ who, polls, traffic, subscription }) => {
      if (subscription === undefined) return;
      subscription.pause();
      // What is open goes on to its end: to give it up would lose what it takes.
      await expect.poll(() => openPolls(traffic), { message: who }).toEqual({});
      expect(await requestsOf(traffic, pollMs + 5_000), who).toEqual({ polls: {}, others: [] });
      subscription.resume();
      await expect.poll(() => openPolls(traffic), { message: who }).toEqual(polls);
    }),
  );
}, 180_000);

test("under load several polls at a time, and one when that is over", async () => {
  const messages = 2_000;
  const Work = queue("loaded").command("work", { schema });
  await using traffic = await watchTraffic(broker().endpoint);
  await using sender = createBus({ service: "sender", transport: open(broker().endpoint) });
  sender.declare(Work);
  await sender.start();
  await Promise.all(Array.from({ length: messages }, (_, number) => sender.send(Work, { number })));
  await using bus = createBus({ service: "service", transport: open(traffic.link.endpoint), concurrency: 200 });
  const handled = new Set<number>();
  bus.handle(Work, ({ data }) => void handled.add(data.number));
  await bus.start();
  await expect.poll(() => handled.size).toBe(messages);
  const atOnce = (from: number): number[] =>
    traffic.seen.slice(from).flatMap((request) => (request.action === "ReceiveMessage" ? [request.atOnce] : []));
  const peak = Math.max(...atOnce(0));
  console.log(`${messages} messages: at most ${peak} polls at a time, ${atOnce(0).length} in all`);
  expect(peak).toBeGreaterThanOrEqual(4);
  expect(peak).toBeLessThanOrEqual(10);
  await expect.poll(() => openPolls(traffic)).toEqual({ loaded: 1 });
  const after = traffic.seen.length;
  const { polls, others } = await requestsOf(traffic, pollMs + 5_000);
  expect(others).toEqual([]);
  expect(polls["loaded"]).toBeLessThanOrEqual(2);
  expect(Math.max(...atOnce(after))).toBe(1);
});
