/** Delays that are longer than what SQS can delay at a time, which here is little. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Bus, Transport } from "@posthorn/core";
import { createBus, deliverAt, queue, topic } from "@posthorn/core";
import { sqs } from "@posthorn/sqs-sns";
import { expect, test } from "vitest";
import { z } from "zod";
import { useSqs } from "./brokers-in-use.ts";
import type { Traffic } from "./sqs-traffic.ts";
import { watchTraffic } from "./sqs-traffic.ts";

const broker = useSqs();
const longestDelayMs = 2_000;
const shortestMs = 8_000;
const longestMs = 12_000;
const perChannel = 30;

const schema = z.object({ number: z.int(), dueAt: z.int() });
type Reminder = z.infer<typeof schema>;
const key = ({ number }: Reminder): string => String(number % 5);

/** One of each kind of channel, which no other test uses. */
function contractsOf(name: string) {
  return {
    "a queue": queue(name).command("remind", { schema }),
    "an ordered queue": queue(`${name}-in-order`, { ordered: true }).command("remind", { schema, key }),
    "a group of a topic": topic(`${name}-told`).event("reminded", { schema }),
    "an ordered group of a topic": topic(`${name}-told-in-order`, { ordered: true }).event("reminded", { schema, key }),
  };
}

type Contracts = ReturnType<typeof contractsOf>;
const kinds = ["a queue", "an ordered queue", "a group of a topic", "an ordered group of a topic"] as const;
const all = kinds.flatMap((kind) => Array.from({ length: perChannel }, (_, number) => `${kind} ${number}`));

/** What became of the reminders, whoever handled them. */
interface Course {
  readonly early: string[];
  /** How often each was handled. */
  readonly handled: Map<string, number>;
}

function open({ link }: Traffic): Transport {
  const { region, credentials } = broker();
  return sqs({
    region,
    credentials,
    endpoint: link.endpoint,
    longestDelayMs,
    visibilitySeconds: 5,
    waitSeconds: 5,
    requestTimeoutMs: 2_000,
  });
}

async function consume(traffic: Traffic, contracts: Contracts, { early, handled }: Course): Promise<Bus> {
  const bus = createBus({ service: "reminder", transport: open(traffic), observe: () => undefined });
  const handler =
    (kind: (typeof kinds)[number]) =>
    ({ data: { number, dueAt } }: { readonly data: Reminder }): void => {
      const name = `${kind} ${number}`;
      if (Date.now() < dueAt) early.push(name);
      handled.set(name, (handled.get(name) ?? 0) + 1);
    };
  bus.handle(contracts["a queue"], handler("a queue"));
  bus.handle(contracts["an ordered queue"], handler("an ordered queue"));
  bus.subscribe(contracts["a group of a topic"], handler("a group of a topic"));
  bus.subscribe(contracts["an ordered group of a topic"], handler("an ordered group of a topic"));
  await bus.start();
  return bus;
}

/** @returns the names of the reminders, by the ids of their messages */
async function remindLater(traffic: Traffic, contracts: Contracts): Promise<ReadonlyMap<string, string>> {
  await using bus = createBus({ service: "sender", transport: open(traffic) });
  bus.declare(...Object.values(contracts));
  await bus.start();
  const names = new Map<string, string>();
  const spreadMs = (longestMs - shortestMs) / perChannel;
  const sendOne = async (kind: (typeof kinds)[number], number: number): Promise<void> => {
    const dueAt = Math.ceil(Date.now() + shortestMs + number * spreadMs);
    const data = { number, dueAt };
    const contract = contracts[kind];
    const { id } = await (contract.channel.kind === "queue"
      ? bus.send(contract as Contracts["a queue"], data, deliverAt(dueAt))
      : bus.publish(contract as Contracts["a group of a topic"], data, deliverAt(dueAt)));
    names.set(id, `${kind} ${number}`);
  };
  await Promise.all(kinds.flatMap((kind) => Array.from({ length: perChannel }, (_, number) => sendOne(kind, number))));
  return names;
}

interface SendBody {
  readonly Entries: readonly {
    readonly DelaySeconds?: number;
    readonly MessageAttributes: { readonly posthorn: { readonly StringValue: string } };
  }[];
}

/** How often each reminder was sent with a delay, and the longest of these, in seconds. */
function hopsOf(traffic: Traffic, names: ReadonlyMap<string, string>): { hops: Map<string, number>; longest: number } {
  const hops = new Map(all.map((name) => [name, 0]));
  let longest = 0;
  for (const { action, body } of traffic.seen) {
    if (action !== "SendMessageBatch") continue;
    for (const { DelaySeconds = 0, MessageAttributes } of (JSON.parse(body.toString()) as SendBody).Entries) {
      const { id } = JSON.parse(MessageAttributes.posthorn.StringValue) as { id: string };
      const name = names.get(id);
      if (name === undefined || DelaySeconds === 0) continue;
      hops.set(name, (hops.get(name) ?? 0) + 1);
      longest = Math.max(longest, DelaySeconds);
    }
  }
  return { hops, longest };
}

const leastHops = (traffic: Traffic, names: ReadonlyMap<string, string>): number =>
  Math.min(...hopsOf(traffic, names).hops.values());

/** All have been sent on, and some are just being sent on again. */
async function untilBusy(traffic: Traffic, names: ReadonlyMap<string, string>): Promise<void> {
  await expect.poll(() => leastHops(traffic, names)).toBeGreaterThanOrEqual(2);
  await expect.poll(() => traffic.underWay("SendMessageBatch").length, { interval: 1 }).toBeGreaterThan(0);
}

/** Each hop delays by whole seconds, and by no more than SQS is asked for at a time. */
function expectHops(traffic: Traffic, names: ReadonlyMap<string, string>): void {
  const { hops, longest } = hopsOf(traffic, names);
  const counts = [...hops.values()];
  console.log(`hops of ${counts.length}: ${Math.min(...counts)} to ${Math.max(...counts)}`);
  expect(longest * 1_000).toBe(longestDelayMs);
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(2);
  expect(Math.max(...counts)).toBeGreaterThanOrEqual(4);
}

test("what is due later than SQS can delay is handled once and not before, though its consumer is replaced by another meanwhile", async () => {
  await using traffic = await watchTraffic(broker().endpoint);
  const contracts = contractsOf("relayed");
  const course: Course = { early: [], handled: new Map() };
  const first = await consume(traffic, contracts, course);
  const names = await remindLater(traffic, contracts);
  await untilBusy(traffic, names);
  await first.close();
  expect([...course.handled]).toEqual([]);
  await using second = await consume(traffic, contracts, course);
  await expect.poll(() => course.handled.size).toBe(all.length);
  // What comes twice comes with the second of a delay's last hop.
  await sleep(longestDelayMs);
  expect(course.early).toEqual([]);
  expect([...course.handled].filter(([, times]) => times !== 1)).toEqual([]);
  expect(second.health().transport.status).toBe("connected");
  expectHops(traffic, names);
});

test("what is due later than SQS can delay outlives the broker's end, is handled, and not before", async () => {
  const { control } = broker();
  if (control === undefined) throw new Error("The broker was not started by the tests: it cannot be ended.");
  await using traffic = await watchTraffic(broker().endpoint);
  const contracts = contractsOf("restarted");
  const course: Course = { early: [], handled: new Map() };
  await using bus = await consume(traffic, contracts, course);
  const names = await remindLater(traffic, contracts);
  await untilBusy(traffic, names);
  await control.kill();
  expect([...course.handled]).toEqual([]);
  await control.start();
  await expect.poll(() => course.handled.size).toBe(all.length);
  await sleep(longestDelayMs);
  expect(course.early).toEqual([]);
  expectHops(traffic, names);
  // What was sent on at that moment, and not answered, may be there twice.
  const cut = traffic.seen.filter(({ action, answered, over }) => action === "SendMessageBatch" && over && !answered);
  const twice = [...course.handled.values()].filter((times) => times > 1).length;
  console.log(`${cut.length} sends were cut, ${twice} of ${all.length} handled more than once`);
  expect(twice).toBeLessThanOrEqual(cut.length * 10);
  expect(bus.health().transport.status).toBe("connected");
});
