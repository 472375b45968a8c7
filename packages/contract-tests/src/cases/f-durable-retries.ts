/** F: long waits between attempts are spent on the broker, and hurt nobody else. */
import assert from "node:assert/strict";
import { deadLetter, discard, retryAfter } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { ascending, happenedOn, numbers, workOf } from "../contracts.ts";
import { durably } from "../durable.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const durableRetryCases: readonly ContractCase[] = [
  {
    id: "F1d",
    title: "over waits on the broker, too, N-1 failures end handled and N failures end dead, with exactly N calls each",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const counts = new Map<number, number>();
      const got = world.recorder<Numbered>(({ data }) => {
        const count = (counts.get(data.n) ?? 0) + 1;
        counts.set(data.n, count);
        if (count <= data.n) throw new Error(`failure ${count} of ${data.n}`);
      });
      const subscription = bus.handle(contract, got.handler, { retry: durably(4, 10) });
      await bus.start();
      await Promise.all([0, 1, 3, 4].map((n) => bus.send(contract, { n })));
      const withinMs = world.bounds.patienceMs + 3 * world.bounds.delayToleranceMs;
      await world.event(bus, "message.dead-lettered", 1, withinMs);
      await world.event(bus, "message.handled", 3, withinMs);
      assert.deepEqual(
        (await subscription.deadLetters.browse()).map(({ reason, attempts, errorMessage }) => ({
          reason,
          attempts,
          errorMessage,
        })),
        [{ reason: "ATTEMPTS_EXHAUSTED", attempts: 4, errorMessage: "failure 4 of 4" }],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(Object.fromEntries(counts), { 0: 1, 1: 2, 3: 4, 4: 4 });
      assert.equal(got.calls.length, 11);
    },
  },
  {
    id: "F2d",
    title: "the waits that are spent on the broker grow, and never fall short of the policy",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { random: () => 0.5 });
      const started: number[] = [];
      const got = world.recorder<Numbered>(() => {
        started.push(Date.now());
        throw new Error("always");
      });
      // Half of the share that is left to chance comes off: 100, 300, 500, 500 less a quarter.
      const retry = { attempts: 5, backoff: { initialMs: 100, maxMs: 500, factor: 3, jitter: 0.5 }, holdMs: 0 };
      bus.handle(contract, got.handler, { retry });
      await bus.start();
      await bus.send(contract, { n: 1 });
      await world.event(bus, "message.dead-lettered", 1, 1_050 + 4 * world.bounds.delayToleranceMs);
      const expected = [75, 225, 375, 375];
      const told = await world.event(bus, "message.failed", 4);
      assert.deepEqual(
        told.map(({ retryInMs, waits }) => [retryInMs, waits]),
        expected.map((retryInMs) => [retryInMs, "broker"]),
      );
      const gaps = started.slice(1).map((time, index) => time - (started[index] ?? 0));
      for (const [index, retryInMs] of expected.entries()) {
        const gap = gaps[index] ?? 0;
        assert.ok(
          gap >= retryInMs && gap <= retryInMs + world.bounds.delayToleranceMs,
          `wait ${index + 1} was ${gap} ms, expected ${retryInMs}: ${gaps.join(", ")}`,
        );
      }
    },
  },
  {
    id: "F3l",
    title:
      "a long retryAfter() is spent on the broker, a short one in the process; deadLetter() and discard() end the matter in a later attempt, too",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const started: number[] = [];
      const got = world.recorder<Numbered>(({ data, context }) => {
        if (data.n === 0) started.push(Date.now());
        if (context.attempt === 1) throw retryAfter(data.n === 3 ? "20ms" : "1.2s");
        if (data.n === 1) throw deadLetter("enough");
        if (data.n === 2) throw discard("a duplicate");
      });
      const subscription = bus.handle(contract, got.handler, {
        retry: { attempts: 3, backoff: { initialMs: 1, maxMs: 1 } },
      });
      await bus.start();
      await Promise.all(numbers(4).map((n) => bus.send(contract, { n })));
      await got.waitFor(8, 1_200 + world.bounds.delayToleranceMs);
      const told = await world.event(bus, "message.failed", 4);
      assert.deepEqual(told.map(({ retryInMs, waits }) => `${retryInMs} ${waits}`).toSorted(), [
        "1200 broker",
        "1200 broker",
        "1200 broker",
        "20 process",
      ]);
      assert.ok((started[1] ?? 0) - (started[0] ?? 0) >= 1_200, "the wait is kept");
      await world.event(bus, "message.dead-lettered");
      await world.event(bus, "message.discarded");
      assert.deepEqual(
        (await subscription.deadLetters.browse()).map(({ reason, attempts, errorMessage }) => [
          reason,
          attempts,
          errorMessage,
        ]),
        [["DEAD_LETTERED", 2, "enough"]],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 8);
    },
  },
  {
    id: "F4r",
    title:
      "a message that goes back to the broker for its next attempt comes to the group that failed, and to no other",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const event = happenedOn(world.topic());
      const [failing, fine] = [world.bus("failing"), world.bus("fine")];
      const failed = world.recorder<Numbered>(({ data, context }) => {
        if (data.n < 5 && context.attempt <= 3) throw new Error("not yet");
      });
      const got = world.recorder<Numbered>();
      failing.subscribe(event, failed.handler, { retry: durably(5, 20) });
      fine.subscribe(event, got.handler);
      await Promise.all([failing.start(), fine.start()]);
      await Promise.all(numbers(5).map((n) => fine.publish(event, { n })));
      await world.event(failing, "message.handled", 5, world.bounds.patienceMs + 3 * world.bounds.delayToleranceMs);
      await fine.publish(event, { n: 5 });
      await Promise.all([failed.waitFor(21), got.waitFor(6)]);
      await world.closeAndFindEmpty(
        [failing, fine],
        ["failing", "fine"].flatMap((group) => [inlet(event.channel, group), deadLetters(event.channel, group)]),
      );
      assert.deepEqual(
        [failed.calls.length, ascending(got.calls.map((call) => call.data.n))],
        [21, numbers(6)],
        "four attempts at each of the five here, and each once there",
      );
    },
  },
  {
    id: "F5d",
    title: "hundreds of messages that wait long for their next attempt hold up nobody",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { concurrency: 2 });
      const got = world.recorder<Numbered>(({ data }) => {
        if (data.n < 300) throw retryAfter("10m");
      });
      bus.handle(contract, got.handler);
      await bus.start();
      await Promise.all(numbers(330).map((n) => bus.send(contract, { n })));
      await world.event(bus, "message.handled", 30, 2 * world.bounds.patienceMs);
      await world.event(bus, "message.failed", 300, 2 * world.bounds.patienceMs);
      await world.eventually("nothing to be in hand", () => bus.health().handling === 0);
      await world.within("the bus to close", bus.close());
      // Whoever comes next finds neither those that wait nor anything else.
      const next = world.bus("shop", { concurrency: 2 });
      const rest = world.recorder<Numbered>();
      next.handle(contract, rest.handler);
      await next.start();
      await next.send(contract, { n: 1_000 });
      await rest.waitFor(1);
      await next.close();
      assert.deepEqual(
        rest.calls.map(({ data }) => data.n),
        [1_000],
      );
      assert.equal(got.calls.length, 330);
    },
  },
  {
    id: "F5m",
    title:
      "of more messages than a process may keep waiting the others wait on the broker, and all get their next attempt in time",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { concurrency: 1 });
      const failedAt = new Map<number, number>();
      const short: string[] = [];
      const waitMs = 700;
      const got = world.recorder<Numbered>(({ data, context }) => {
        if (context.attempt === 1) {
          failedAt.set(data.n, Date.now());
          throw new Error("once");
        }
        const waited = Date.now() - (failedAt.get(data.n) ?? 0);
        if (waited < waitMs - 2) short.push(`message ${data.n} waited ${waited} ms`);
      });
      bus.handle(contract, got.handler, { retry: { ...durably(2, waitMs), holdMs: 30_000 } });
      await bus.start();
      await Promise.all(numbers(100).map((n) => bus.send(contract, { n })));
      await got.waitFor(200, waitMs + world.bounds.patienceMs + 2 * world.bounds.delayToleranceMs);
      const told = await world.event(bus, "message.failed", 100);
      const waiting = Object.groupBy(told, ({ waits }) => waits);
      assert.ok((waiting.process?.length ?? 0) > 0, "some wait in the process");
      assert.ok((waiting.broker?.length ?? 0) > 0, "others on the broker");
      assert.deepEqual(short, []);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 200);
    },
  },
];
