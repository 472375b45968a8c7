/**
 * One of three brokers ends, in the midst of work. On 4.4 alone: to start brokers, and to start them again, takes most of the time, and what is
 * looked at is the adapter's own.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Bus, BusEvent } from "@posthorn/core";
import { createBus, deadLetter, isPosthornError, queue } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import { expect, test } from "vitest";
import { z } from "zod";
import type { ServerControl } from "./brokers/broker.ts";
import type { KafkaNode } from "./brokers/kafka-cluster.ts";
import { activeController, findCoordinator, partitions } from "./brokers/kafka-requests.ts";
import { useKafkaCluster } from "./brokers-in-use.ts";
import { steps } from "./instances/steps.ts";

const cluster = useKafkaCluster("4.4");
const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
const everyMs = 100;
const publishTimeoutMs = 20_000;
const resumeMs = 20_000;
const letters = 5;
const { channel, Taken } = steps("walked");
const group = "walkers";

/** Buses whose connection is watched. */
function watched() {
  const events: string[] = [];
  const buses: Bus[] = [];
  const states = new Set<string>();
  const observe = ({ name, ...event }: BusEvent): void => {
    if (name.startsWith("transport.")) events.push(`${name}: ${"detail" in event ? event.detail : ""}`);
  };
  const timer = setInterval(() => {
    for (const bus of buses) states.add(bus.health().transport.status);
  }, 20);
  return {
    events,
    states,
    open(service: string): Bus {
      const transport = kafka({ brokers: cluster().brokers, sessionTimeoutMs: 6_000, requestTimeoutMs: 4_000 });
      const bus = createBus({ service, transport, observe, publishTimeoutMs, concurrency: keys.length });
      buses.push(bus);
      return bus;
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await Promise.all(buses.map((bus) => bus.close({ timeoutMs: 10_000 })));
    },
  };
}

/** Publishes a step of each key every so often. */
function walk(publisher: Bus) {
  const accepted = new Set<string>();
  const failures: unknown[] = [];
  const published = new Map<string, number>();
  let longestMs = 0;
  let walking = true;
  const publish = async (key: string): Promise<void> => {
    const number = (published.get(key) ?? 0) + 1;
    published.set(key, number);
    const began = performance.now();
    await publisher.publish(Taken, { key, number }).then(
      () => accepted.add(`${key} ${number}`),
      (error: unknown) => failures.push(error),
    );
    longestMs = Math.max(longestMs, performance.now() - began);
  };
  const work = (async () => {
    const underWay: Promise<void>[] = [];
    while (walking) {
      underWay.push(...keys.map(publish));
      await sleep(everyMs);
    }
    await Promise.all(underWay);
  })();
  const end = async (): Promise<void> => {
    walking = false;
    await work;
  };
  return {
    accepted,
    failures,
    published,
    get longestMs() {
      return longestMs;
    },
    end,
    [Symbol.asyncDispose]: end,
  };
}

function nodeOf(id: number): KafkaNode {
  const node = cluster().nodes.find((each) => each.id === id);
  if (node === undefined) throw new Error(`There is no node ${id}.`);
  return node;
}

/** Whom to ask while all of them are up. */
const anyone = (): KafkaNode["address"] => nodeOf(1).address;

async function someLeader(): Promise<KafkaNode> {
  const [partition] = (await partitions(anyone())).filter(({ topic }) => topic === channel.name);
  return nodeOf(partition?.leader ?? -1);
}

interface Strike {
  readonly whom: string;
  readonly node: () => Promise<KafkaNode>;
  readonly strike: (control: ServerControl) => Promise<void>;
  readonly heal: (control: ServerControl) => Promise<void>;
}

const killed = {
  strike: (control: ServerControl) => control.kill(),
  heal: (control: ServerControl) => control.start(),
};
const silent = {
  strike: (control: ServerControl) => control.pause(),
  heal: (control: ServerControl) => control.resume(),
};

const strikes: readonly Strike[] = [
  { whom: "a leader", node: someLeader, ...killed },
  {
    whom: "the coordinator",
    node: async () => nodeOf(await findCoordinator(anyone(), `${channel.name}.${group}`)),
    ...killed,
  },
  { whom: "the controller", node: async () => nodeOf(await activeController(anyone())), ...killed },
  { whom: "a silent leader", node: someLeader, ...silent },
];

test("brokers end one after the other: what was confirmed is handled, in order, and nobody is cut off", async () => {
  await using all = watched();
  const Fragile = queue("fragile").command("break", { schema: z.object({}) });
  const order = new Map(keys.map((key) => [key, [] as number[]]));
  const handled = new Set<string>();
  const handlers = ["one", "other"].map(() => {
    const bus = all.open("handler");
    bus.subscribe(
      Taken,
      ({ data: { key, number } }) => {
        const step = `${key} ${number}`;
        if (!handled.has(step)) order.get(key)?.push(number);
        handled.add(step);
      },
      { group },
    );
    return bus;
  });
  const publisher = all.open("publisher");
  publisher.declare(Taken);
  const desk = all.open("desk");
  const fragile = desk.handle(Fragile, () => {
    throw deadLetter("as always");
  });
  await Promise.all([...handlers, publisher, desk].map((bus) => bus.start()));
  await Promise.all(Array.from({ length: letters }, () => desk.send(Fragile, {})));
  const dead = async (): Promise<number> => (await fragile.deadLetters.depth({ timeoutMs: resumeMs })).ready;
  await expect.poll(dead, { timeout: 10_000 }).toBe(letters);
  await using walking = walk(publisher);
  await expect.poll(() => keys.every((key) => handled.has(`${key} 1`)), { timeout: 10_000 }).toBe(true);

  const took: Record<string, number> = {};
  const timed = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const began = performance.now();
    await work();
    took[what] = Math.round(performance.now() - began);
  };
  for (const { whom, node, strike, heal } of strikes) {
    const struck = await node();
    await sleep(500);
    await strike(struck.control);
    const since = new Map(walking.published);
    const goesOn = (key: string): boolean => (order.get(key)?.at(-1) ?? 0) > (since.get(key) ?? 0);
    await Promise.all([
      timed(`${whom} (${struck.id}): traffic`, () =>
        expect.poll(() => keys.filter((key) => !goesOn(key)), { timeout: resumeMs, interval: 20 }).toEqual([]),
      ),
      timed(`${whom}: depth`, () => fragile.depth({ timeoutMs: resumeMs })),
      timed(`${whom}: listing`, async () =>
        expect(await fragile.deadLetters.browse({ timeoutMs: resumeMs })).toHaveLength(letters),
      ),
    ]);
    await timed(`${whom}: redrive`, async () => {
      const signal = AbortSignal.timeout(resumeMs);
      await expect(fragile.deadLetters.redrive({ signal })).resolves.toMatchObject({ redriven: letters });
    });
    await expect.poll(dead, { timeout: 10_000 }).toBe(letters);
    await timed(`${whom}: back`, () => heal(struck.control));
  }

  await walking.end();
  await expect
    .poll(() => [...walking.accepted].filter((step) => !handled.has(step)), { timeout: resumeMs })
    .toEqual([]);
  console.log(
    `${walking.accepted.size} confirmed, ${walking.failures.length} failed, the longest took ${Math.round(walking.longestMs)} ms; in ms: ${JSON.stringify(took, undefined, 2)}`,
  );
  for (const [key, numbers] of order) expect(numbers, key).toEqual(numbers.toSorted((one, other) => one - other));
  expect(all.events.filter((event) => event.startsWith("transport.disconnected"))).toEqual([]);
  expect([...all.states]).not.toContain("disconnected");
  expect(walking.failures.filter((error) => !isPosthornError(error) || !error.retryable)).toEqual([]);
  expect(walking.longestMs).toBeLessThan(publishTimeoutMs + 2_000);
});
