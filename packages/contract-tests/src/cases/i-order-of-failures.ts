/** I: a message that fails blocks its key, and only its key, until it is handled or dead. */
import assert from "node:assert/strict";
import { deadLetter, discard } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { keyedHappenedOn, keyedWorkOf, numbers } from "../contracts.ts";
import type { Keyed } from "../contracts.ts";
import { assertFirstsInOrder, createOrderLog, keysOf } from "../order-log.ts";
import { deadLetters, inlet } from "../world.ts";

export const orderOfFailuresCases: readonly ContractCase[] = [
  {
    id: "I2",
    title: "what comes after a message that fails waits until that was handled; its key alone waits",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const bus = world.bus("billing", { concurrency: 1 });
      const waitMs = 300;
      const got = world.recorder<Keyed>(({ data, context }) => {
        if (data.key === "fails" && data.seq === 2 && context.attempt < 3) throw new Error("not yet");
      });
      bus.handle(contract, got.handler, {
        retry: { attempts: 3, backoff: { initialMs: waitMs, maxMs: waitMs, jitter: 0 } },
      });
      await bus.start();
      for (const seq of numbers(6)) await bus.send(contract, { key: "fails", seq });
      await world.event(bus, "message.failed", 1);
      for (const seq of numbers(20)) await bus.send(contract, { key: "fine", seq });
      await got.waitFor(28, 2 * waitMs + world.bounds.patienceMs);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      const of = (key: string): string[] =>
        got.calls.filter(({ data }) => data.key === key).map(({ data, context }) => `${data.seq}.${context.attempt}`);
      assert.deepEqual(of("fails"), ["0.1", "1.1", "2.1", "2.2", "2.3", "3.1", "4.1", "5.1"]);
      assert.deepEqual(
        of("fine"),
        numbers(20).map((seq) => `${seq}.1`),
      );
      const told = await world.event(bus, "message.failed", 2);
      assert.deepEqual(
        told.map(({ waits }) => waits),
        ["process", "process"],
        "its lease is kept meanwhile",
      );
    },
  },
  {
    id: "I2d",
    title:
      "after the last attempt the message is dead and the next of its key is handled; so with deadLetter() and discard()",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const event = keyedHappenedOn(world.orderedTopic());
      const bus = world.bus("billing");
      const got = world.recorder<Keyed>(({ data }) => {
        if (data.seq !== 1) return;
        if (data.key === "exhausts") throw new Error("always");
        if (data.key === "dies") throw deadLetter("enough");
        if (data.key === "is-discarded") throw discard("a duplicate");
      });
      const { deadLetters: dead } = bus.subscribe(event, got.handler);
      await bus.start();
      const keys = ["exhausts", "dies", "is-discarded", "is-fine"];
      await Promise.all(numbers(4).flatMap((seq) => keys.map((key) => bus.publish(event, { key, seq }))));
      await got.waitFor(18);
      await world.event(bus, "message.handled", 13);
      const found = await dead.browse();
      assert.deepEqual(
        found.map(({ message, reason, attempts }) => `${message.key} ${reason} ${attempts}`).toSorted(),
        ["dies DEAD_LETTERED 1", "exhausts ATTEMPTS_EXHAUSTED 3"],
      );
      await world.closeAndFindEmpty([bus], [inlet(event.channel, "billing")]);
      for (const key of keys)
        assert.deepEqual(
          got.calls.filter(({ data }) => data.key === key).map(({ data }) => data.seq),
          key === "exhausts" ? [0, 1, 1, 1, 2, 3] : [0, 1, 2, 3],
          key,
        );
    },
  },
  {
    id: "I2w",
    title:
      "while a key waits long for its next attempt all others go on; a bus that closes then leaves the key to another, in order",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const waitMs = 2 * world.bounds.patienceMs;
      const retry = { attempts: 2, backoff: { initialMs: waitMs, maxMs: waitMs, jitter: 0 } };
      const log = createOrderLog(world);
      const first = world.bus("billing", { concurrency: 1 });
      first.handle(
        contract,
        log.handlerOf("first", ({ data }) => {
          if (data.key === "fails" && data.seq === 2) throw new Error("later");
        }),
        { retry },
      );
      await first.start();
      for (const seq of numbers(30)) await first.send(contract, { key: "fails", seq });
      await world.event(first, "message.failed");
      const keys = keysOf(10);
      for (const seq of numbers(5)) await Promise.all(keys.map((key) => first.send(contract, { key, seq })));
      await log.waitForDistinct(2 + 50);
      assert.deepEqual(log.seqsOf("fails"), [0, 1], "the key waits");
      await world.within("the bus to close without waiting for the next attempt", first.close());
      const second = world.bus("billing");
      second.handle(contract, log.handlerOf("second"), { retry });
      await second.start();
      await log.waitForDistinct(80, world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([second], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertFirstsInOrder(log, ["fails"], 30);
      assertFirstsInOrder(log, keys, 5);
      // Where only a prefix is settled, what was handled behind a key that waits comes again.
      if (world.harness.capabilities.settlement === "message") assert.equal(log.handled.length, 80, "each once");
    },
  },
  {
    id: "I9",
    title: "dead letters of an ordered channel go back in the order in which they died",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const bus = world.bus("billing");
      let broken = true;
      const got = world.recorder<Keyed>(() => {
        if (broken) throw deadLetter("broken");
      });
      const { deadLetters: dead } = bus.handle(contract, got.handler);
      await bus.start();
      const keys = keysOf(3);
      for (const seq of numbers(10)) await Promise.all(keys.map((key) => bus.send(contract, { key, seq })));
      await world.event(bus, "message.dead-lettered", 30, 2 * world.bounds.patienceMs);
      broken = false;
      assert.deepEqual(await dead.redrive(), { redriven: 30, unmatched: 0, guarded: 0 });
      await got.waitFor(60);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      const redriven = got.calls.slice(30);
      for (const key of keys)
        assert.deepEqual(
          redriven.filter(({ data }) => data.key === key).map(({ data }) => data.seq),
          numbers(10),
          `${key}, and its key with it`,
        );
      assert.ok(redriven.every(({ data, message }) => message.key === data.key));
    },
  },
];
