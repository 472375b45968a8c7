/** E: the number of the attempt goes with the message, wherever it is tried next. */
import assert from "node:assert/strict";
import { retryAfter } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { workOf } from "../contracts.ts";
import { durably } from "../durable.ts";
import type { Call } from "../recorder.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

const fail = (): never => {
  throw new Error("always");
};

const attemptsOf = (calls: readonly Call<Numbered>[]): number[] => calls.map(({ context }) => context.attempt);

export const attemptCases: readonly ContractCase[] = [
  {
    id: "E4d",
    title:
      "over failures whose waits are spent on the broker the attempt number is 1, 2, 3, 4, and then the message is dead",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>(fail);
      const subscription = bus.handle(contract, got.handler, { retry: durably(4, 30) });
      await bus.start();
      const before = Date.now();
      const { id } = await bus.send(contract, { n: 1 }, { headers: { tenant: "acme" } });
      await world.event(bus, "message.dead-lettered", 1, world.bounds.patienceMs + 3 * world.bounds.delayToleranceMs);
      const after = Date.now();
      assert.deepEqual(attemptsOf(got.calls), [1, 2, 3, 4]);
      assert.deepEqual(
        got.calls.map(({ message }) => [message.id, message.headers["tenant"]]),
        got.calls.map(() => [id, "acme"]),
        "the same message",
      );
      const told = await world.event(bus, "message.failed", 3);
      assert.deepEqual(
        told.map(({ waits }) => waits),
        ["broker", "broker", "broker"],
      );
      const [dead] = await subscription.deadLetters.browse();
      assert.equal(dead?.attempts, 4);
      const spanMs = (dead?.lastFailedAt?.getTime() ?? 0) - (dead?.firstFailedAt?.getTime() ?? 0);
      assert.ok(
        dead?.firstFailedAt !== undefined && dead.firstFailedAt.getTime() >= before && spanMs >= 3 * 30,
        `its times span all attempts: ${spanMs} ms`,
      );
      assert.ok((dead.lastFailedAt?.getTime() ?? 0) <= after);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
    },
  },
  {
    id: "E4r",
    title: "the attempt number survives a restart of the consumer, and the dead letter tells of all attempts",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const retry = durably(4, 300);
      const first = world.bus("shop");
      const got = world.recorder<Numbered>(fail);
      first.handle(contract, got.handler, { retry });
      await first.start();
      const before = Date.now();
      const { id } = await first.send(contract, { n: 1 });
      await world.event(first, "message.failed", 2, world.bounds.patienceMs + world.bounds.delayToleranceMs);
      await first.close();
      assert.deepEqual(attemptsOf(got.calls), [1, 2]);
      const between = Date.now();
      const second = world.bus("shop");
      const again = world.recorder<Numbered>(fail);
      const subscription = second.handle(contract, again.handler, { retry });
      await second.start();
      await world.event(
        second,
        "message.dead-lettered",
        1,
        world.bounds.patienceMs + 2 * world.bounds.delayToleranceMs,
      );
      assert.deepEqual(attemptsOf(again.calls), [3, 4]);
      const [dead] = await subscription.deadLetters.browse();
      assert.deepEqual([dead?.message.id, dead?.attempts], [id, 4]);
      const [firstAt, lastAt] = [dead?.firstFailedAt?.getTime() ?? 0, dead?.lastFailedAt?.getTime() ?? 0];
      assert.ok(before <= firstAt && firstAt <= between, "it failed first with the first consumer");
      assert.ok(lastAt >= between && lastAt <= Date.now(), "and last with the second");
      await world.closeAndFindEmpty([second], [inlet(contract.channel)]);
    },
  },
  {
    id: "E4c",
    title:
      "a bus that closes between two attempts hands the next one over: it comes elsewhere, with its number, not early",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const waitMs = 800;
      const retry = { ...durably(2, waitMs), holdMs: 60_000 };
      const first = world.bus("shop");
      const got = world.recorder<Numbered>(fail);
      first.handle(contract, got.handler, { retry });
      await first.start();
      const sentAt = Date.now();
      const { id } = await first.send(contract, { n: 1 });
      const [told] = await world.event(first, "message.failed");
      assert.equal(told?.waits, "process");
      await world.within("the bus to close without waiting for the next attempt", first.close());
      const second = world.bus("shop");
      const times: number[] = [];
      const again = world.recorder<Numbered>(() => void times.push(Date.now()));
      second.handle(contract, again.handler, { retry });
      await second.start();
      await again.waitFor(1, waitMs + world.bounds.delayToleranceMs);
      assert.deepEqual(
        again.calls.map(({ message, context }) => [message.id, context.attempt]),
        [[id, 2]],
      );
      assert.ok((times[0] ?? 0) >= sentAt + waitMs, "the wait was kept");
      await world.closeAndFindEmpty([first, second], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length + again.calls.length, 2);
    },
  },
  {
    id: "E4k",
    title: "an attempt whose consumer is killed is made again under the same number by another one",
    tier: "fault",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const first = world.bus("shop");
      const got = world.recorder<Numbered>(() => {
        throw retryAfter(200);
      });
      first.handle(contract, got.handler, { retry: durably(3, 1) });
      await first.start();
      const { id } = await first.send(contract, { n: 1 });
      await world.event(first, "message.failed");
      await first.close();
      const doomed = await world.faults.startHangingConsumer({
        queue: contract.channel.name,
        type: contract.type,
        concurrency: 1,
      });
      world.defer(() => doomed.kill());
      await world.within(
        "the doomed consumer to get the second attempt",
        doomed.handling(1),
        world.bounds.resumeMs + world.bounds.delayToleranceMs,
      );
      await doomed.kill();
      const second = world.bus("shop");
      const again = world.recorder<Numbered>(({ context }) => {
        if (context.attempt < 3) throw new Error("once more");
      });
      second.handle(contract, again.handler, { retry: durably(3, 50) });
      await second.start();
      await again.waitFor(2, world.bounds.redeliveryMs + world.bounds.delayToleranceMs);
      assert.deepEqual(
        again.calls.map(({ message, context }) => [message.id, context.attempt]),
        [
          [id, 2],
          [id, 3],
        ],
      );
      await world.closeAndFindEmpty([second], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "E4i",
    title: "a message that waits on the broker for its next attempt comes to whichever instance is there",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const retry = durably(30, 10);
      const instances = [0, 1, 2].map(() => {
        const bus = world.bus("shop", { concurrency: 1 });
        const got = world.recorder<Numbered>(({ context }) => {
          if (context.attempt < 30) throw new Error("not yet");
        });
        bus.handle(contract, got.handler, { retry });
        return { bus, got };
      });
      await Promise.all(instances.map(({ bus }) => bus.start()));
      const [one] = instances;
      assert.ok(one !== undefined);
      await Promise.all([0, 1, 2].map((n) => one.bus.send(contract, { n })));
      await world.eventually(
        "ninety attempts",
        () => instances.reduce((sum, { got }) => sum + got.calls.length, 0) >= 90,
        {
          withinMs: world.bounds.patienceMs + 3 * world.bounds.delayToleranceMs,
          seen: () => instances.map(({ got }) => got.calls.length),
        },
      );
      await world.closeAndFindEmpty(
        instances.map(({ bus }) => bus),
        [inlet(contract.channel), deadLetters(contract.channel)],
      );
      const calls = instances
        .flatMap(({ got }) => got.calls)
        .toSorted((call, other) => call.startedAt - other.startedAt);
      for (const n of [0, 1, 2])
        assert.deepEqual(
          attemptsOf(calls.filter(({ data }) => data.n === n)),
          Array.from({ length: 30 }, (_, index) => index + 1),
          `the attempts at message ${n}, over all instances`,
        );
      assert.ok(instances.filter(({ got }) => got.calls.length > 0).length > 1, "more than one instance got some");
    },
  },
];
