/** E: a handler that takes too long has failed, whatever it does later. */
import assert from "node:assert/strict";
import { isPosthornError } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import type { Keyed } from "../contracts.ts";
import { keyedWorkOf, numbers, workOf } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const overdueCases: readonly ContractCase[] = [
  {
    id: "E8",
    title:
      "a handler that takes longer than it may gets its signal, its attempt fails with HANDLING_TIMEOUT, and what it returns later is void",
    tier: "core",
    async run(world) {
      world.tolerate("message.overdue");
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { maxHandlingMs: 100 });
      const hold = world.gate();
      const got = world.recorder<Numbered>(({ context }) => (context.attempt === 1 ? hold.opened : undefined));
      bus.handle(contract, got.handler);
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await got.waitFor(2, world.bounds.patienceMs + world.bounds.delayToleranceMs);
      const [overdue] = await world.event(bus, "message.overdue");
      assert.deepEqual([overdue?.message.id, overdue?.message.attempt, overdue?.maxHandlingMs], [id, 1, 100]);
      const [failed] = await world.event(bus, "message.failed");
      assert.ok(isPosthornError(failed?.error, "HANDLING_TIMEOUT"), String(failed?.error));
      assert.equal(got.calls[0]?.context.signal.aborted, true, "the overdue handler was told");
      assert.equal(got.calls[1]?.context.attempt, 2, "its message is tried again meanwhile");
      await world.event(bus, "message.handled", 1);
      hold.open();
      await bus.send(contract, { n: 2 });
      await got.waitFor(3);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 3, "it is not handled again");
      const handled = world.events(bus).filter(({ name }) => name === "message.handled");
      assert.equal(handled.length, 2, "the late return counts as nothing");
    },
  },
  {
    id: "E8d",
    title: "a message whose handler always takes too long is dead after its attempts, with that reason",
    tier: "core",
    async run(world) {
      world.tolerate("message.overdue");
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { concurrency: 5 });
      const hold = world.gate();
      const got = world.recorder<Numbered>(({ data }) => (data.n === 0 ? hold.opened : undefined));
      const subscription = bus.handle(contract, got.handler, { maxHandlingMs: 60 });
      await bus.start();
      await Promise.all(numbers(10).map((n) => bus.send(contract, { n })));
      await world.event(bus, "message.dead-lettered");
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead.map(({ reason, attempts, errorName }) => ({ reason, attempts, errorName })),
        [{ reason: "ATTEMPTS_EXHAUSTED", attempts: 3, errorName: "HANDLING_TIMEOUT" }],
      );
      hold.open();
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(
        [got.calls.filter(({ data }) => data.n === 0).length, got.calls.length],
        [3, 12],
        "three attempts at the slow one, one at each other",
      );
    },
  },
  {
    id: "E8c",
    title: "an overdue handler keeps its place until it ends: never more run than allowed",
    tier: "core",
    async run(world) {
      world.tolerate("message.overdue");
      const contract = workOf(world.queue());
      const other = workOf(world.queue("sentinel"));
      const bus = world.bus("shop", { maxHandlingMs: 80 });
      const hold = world.gate();
      const got = world.recorder<Numbered>(({ data }) => (data.n < 2 ? hold.opened : undefined));
      const sentinel = world.recorder<Numbered>();
      bus.handle(contract, got.handler, { concurrency: 2 });
      bus.handle(other, sentinel.handler);
      await bus.start();
      await Promise.all(numbers(2).map((n) => bus.send(contract, { n })));
      await got.waitFor(2);
      await Promise.all(numbers(8).map((n) => bus.send(contract, { n: n + 2 })));
      await world.event(bus, "message.overdue", 2);
      for (const n of numbers(5)) {
        await bus.send(other, { n });
        await sentinel.waitFor(n + 1);
      }
      assert.equal(got.calls.length, 2, "both places are taken");
      hold.open();
      await world.event(bus, "message.handled", 5 + 10, world.bounds.patienceMs + world.bounds.delayToleranceMs);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.mostRunning, 2);
    },
  },
  {
    id: "E8o",
    title:
      "on an ordered channel the next of a key waits until the overdue handler has ended, and its message was tried again",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      world.tolerate("message.overdue");
      const contract = keyedWorkOf(world.orderedQueue());
      const bus = world.bus("shop", { maxHandlingMs: 80 });
      const hold = world.gate();
      const got = world.recorder<Keyed>(({ data, context }) =>
        data.key === "slow" && data.seq === 0 && context.attempt === 1 ? hold.opened : undefined,
      );
      bus.handle(contract, got.handler);
      await bus.start();
      for (const seq of [0, 1]) await bus.send(contract, { key: "slow", seq });
      await world.event(bus, "message.overdue");
      for (const seq of numbers(5)) await bus.send(contract, { key: "quick", seq });
      await got.waitFor(6);
      assert.deepEqual(
        got.calls.filter(({ data }) => data.key === "slow").map(({ data }) => data.seq),
        [0],
        "its key waits",
      );
      hold.open();
      await got.waitFor(8);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(
        got.calls.filter(({ data }) => data.key === "slow").map(({ data, context }) => [data.seq, context.attempt]),
        [
          [0, 1],
          [0, 2],
          [1, 1],
        ],
      );
    },
  },
];
