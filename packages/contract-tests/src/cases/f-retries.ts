/** F: a handler's failure is tried again by policy, and hurts nobody else. */
import assert from "node:assert/strict";
import type { Bus, QueueContract, RetryPolicy, Subscription } from "@posthorn/core";
import { deadLetter, discard, retryAfter } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { handledNumbers, happenedOn, numbers, workOf } from "../contracts.ts";
import type { Reaction, Recorder } from "../recorder.ts";
import type { Numbered } from "../schema.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

/** Timers may fire a little early by the monotonic clock. */
const timerSlackMs = 2;

interface Working {
  readonly contract: QueueContract<Numbered, Numbered>;
  readonly bus: Bus;
  readonly got: Recorder<Numbered>;
  readonly subscription: Subscription;
}

async function working(
  world: World,
  react: Reaction<Numbered>,
  retry?: RetryPolicy,
  options: { concurrency?: number; random?: () => number } = {},
): Promise<Working> {
  const contract = workOf(world.queue());
  const bus = world.bus("shop", options);
  const got = world.recorder<Numbered>(react);
  const subscription = bus.handle(contract, got.handler, retry === undefined ? {} : { retry });
  await bus.start();
  return { contract, bus, got, subscription };
}

const gapsOf = ({ calls }: Recorder<Numbered>): number[] =>
  calls.slice(1).map((call, index) => call.startedAt - (calls[index]?.startedAt ?? 0));

export const retryCases: readonly ContractCase[] = [
  {
    id: "F1",
    title: "with N attempts, N-1 failures end handled and N failures end dead, with exactly N calls each",
    tier: "core",
    async run(world) {
      const counts = new Map<number, number>();
      const { contract, bus, got, subscription } = await working(
        world,
        ({ data }) => {
          const count = (counts.get(data.n) ?? 0) + 1;
          counts.set(data.n, count);
          if (count <= data.n) throw new Error(`failure ${count} of ${data.n}`);
        },
        { attempts: 4, backoff: { initialMs: 5, maxMs: 20, jitter: 0 } },
      );
      await Promise.all([0, 1, 3, 4].map((n) => bus.send(contract, { n })));
      await world.event(bus, "message.dead-lettered");
      await world.event(bus, "message.handled", 3);
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead.map(({ reason, attempts, errorMessage }) => ({ reason, attempts, errorMessage })),
        [{ reason: "ATTEMPTS_EXHAUSTED", attempts: 4, errorMessage: "failure 4 of 4" }],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(Object.fromEntries(counts), { 0: 1, 1: 2, 3: 4, 4: 4 });
      assert.equal(got.calls.length, 11);
    },
  },
  {
    id: "F2",
    title: "the waits between attempts grow, never fall short of the policy, and take chance off as it says",
    tier: "core",
    async run(world) {
      const retry: RetryPolicy = { attempts: 5, backoff: { initialMs: 40, maxMs: 200, factor: 3, jitter: 0.5 } };
      const fail = (): never => {
        throw new Error("always");
      };
      // Half of the share that is left to chance comes off: 40, 120, 200, 200 less a quarter.
      const { contract, bus, got } = await working(world, fail, retry, { random: () => 0.5 });
      await bus.send(contract, { n: 1 });
      await got.waitFor(5);
      const gaps = gapsOf(got);
      [30, 90, 150, 150].forEach((expected, index) => {
        const gap = gaps[index] ?? 0;
        assert.ok(
          gap >= expected - timerSlackMs && gap <= expected + world.bounds.patienceMs / 2,
          `wait ${index + 1} was ${gap} ms, expected ${expected}: ${gaps.join(", ")}`,
        );
      });
      await world.event(bus, "message.dead-lettered");
      const told = await world.event(bus, "message.failed", 4);
      assert.deepEqual(
        told.map(({ retryInMs }) => retryInMs),
        [30, 90, 150, 150],
      );
    },
  },
  {
    id: "F3",
    title:
      "deadLetter() goes straight to the dead letters after one attempt, also when it was wrapped in another error",
    tier: "core",
    async run(world) {
      const { contract, bus, got, subscription } = await working(world, ({ data }) => {
        if (data.n === 1) throw deadLetter("the order is from 1970");
        if (data.n === 2) throw new Error("outer", { cause: new Error("middle", { cause: deadLetter("wrapped") }) });
      });
      await Promise.all(numbers(5).map((n) => bus.send(contract, { n })));
      await got.waitFor(5);
      await world.event(bus, "message.dead-lettered", 2);
      const dead = await subscription.deadLetters.browse();
      const facts = dead.map(({ reason, attempts, errorMessage }) => `${reason} ${attempts} ${errorMessage}`);
      assert.deepEqual(facts.toSorted(), ["DEAD_LETTERED 1 the order is from 1970", "DEAD_LETTERED 1 wrapped"]);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(handledNumbers(got.calls), numbers(5), "one call each, and the neighbours flow");
    },
  },
  {
    id: "F3d",
    title: "discard() forgets the message: no further attempt, no dead letter",
    tier: "core",
    async run(world) {
      const { contract, bus, got } = await working(world, ({ data }) => {
        if (data.n === 1) throw discard("a duplicate");
      });
      await Promise.all([1, 2].map((n) => bus.send(contract, { n })));
      const [told] = await world.event(bus, "message.discarded");
      assert.equal(told?.reason, "a duplicate");
      await got.waitFor(2);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 2);
    },
  },
  {
    id: "F3r",
    title: "retryAfter() waits as long as it says, and counts as an attempt",
    tier: "core",
    async run(world) {
      const { contract, bus, got, subscription } = await working(
        world,
        () => {
          throw retryAfter("80ms");
        },
        { attempts: 3, backoff: { initialMs: 1, maxMs: 1 } },
      );
      await bus.send(contract, { n: 1 });
      await world.event(bus, "message.dead-lettered");
      const gaps = gapsOf(got);
      assert.ok(
        gaps.length === 2 && gaps.every((gap) => gap >= 80 - timerSlackMs),
        `two waits of 80 ms, not ${gaps.join(", ")}`,
      );
      assert.deepEqual(
        (await subscription.deadLetters.browse()).map(({ reason, attempts }) => [reason, attempts]),
        [["ATTEMPTS_EXHAUSTED", 3]],
      );
    },
  },
  {
    id: "F4",
    title: "when one group fails, another group is called once",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const [failing, fine] = [world.bus("failing"), world.bus("fine")];
      const failed = world.recorder<Numbered>((_, index) => {
        if (index < 2) throw new Error("not yet");
      });
      const got = world.recorder<Numbered>();
      failing.subscribe(event, failed.handler);
      fine.subscribe(event, got.handler);
      await Promise.all([failing.start(), fine.start()]);
      await fine.publish(event, { n: 1 });
      await Promise.all([failed.waitFor(3), got.waitFor(1)]);
      await world.closeAndFindEmpty(
        [failing, fine],
        [
          inlet(event.channel, "failing"),
          inlet(event.channel, "fine"),
          deadLetters(event.channel, "failing"),
          deadLetters(event.channel, "fine"),
        ],
      );
      assert.deepEqual([failed.calls.length, got.calls.length], [3, 1]);
    },
  },
  {
    id: "F4d",
    title: "when one group gives a message up, only that group has a dead letter",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const [failing, fine] = [world.bus("failing"), world.bus("fine")];
      const subscription = failing.subscribe(event, () => {
        throw deadLetter("no");
      });
      const got = world.recorder<Numbered>();
      const other = fine.subscribe(event, got.handler);
      await Promise.all([failing.start(), fine.start()]);
      await fine.publish(event, { n: 1 });
      await world.event(failing, "message.dead-lettered");
      await got.waitFor(1);
      assert.deepEqual(
        [(await subscription.deadLetters.browse()).length, (await other.deadLetters.browse()).length],
        [1, 0],
      );
      assert.equal((await subscription.deadLetters.browse())[0]?.group, "failing");
      await world.closeAndFindEmpty([failing, fine], [inlet(event.channel, "failing"), inlet(event.channel, "fine")]);
      assert.equal(got.calls.length, 1);
    },
  },
  {
    id: "F5",
    title: "while one message waits for its next attempt, the others are handled",
    tier: "core",
    async run(world) {
      const retry: RetryPolicy = {
        attempts: 2,
        backoff: { initialMs: 2 * world.bounds.patienceMs, maxMs: 2 * world.bounds.patienceMs, jitter: 0 },
      };
      const { contract, bus, got } = await working(
        world,
        ({ data, context }) => {
          if (data.n === 0 && context.attempt === 1) throw new Error("later");
        },
        retry,
        { concurrency: 1 },
      );
      await bus.send(contract, { n: 0 });
      await got.waitFor(1);
      await Promise.all(numbers(30).map((n) => bus.send(contract, { n: n + 1 })));
      await got.waitFor(31);
      assert.deepEqual(handledNumbers(got.calls), numbers(31), "all others, while the first one waits");
    },
  },
];
