/** I: on an ordered channel the messages of a key are handled one at a time, in the order in which they were published. */
import assert from "node:assert/strict";
import type { Bus, QueueContract } from "@posthorn/core";
import { queue } from "@posthorn/core";
import { failed, PosthornError } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import type { Keyed } from "../contracts.ts";
import { keyedHappenedOn, keyedWorkOf, numbers } from "../contracts.ts";
import { assertExactOrder, assertFirstsInOrder, assertOrderAcross, createOrderLog, keysOf } from "../order-log.ts";
import { rejectsWith } from "../rejects.ts";
import { keyedRollCall } from "../roll-call.ts";
import { anything } from "../schema.ts";
import { seededChance } from "../seeded.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";
import { wrapTransport } from "../wrap-transport.ts";

/** Sends 0, 1, … of each key, round by round. */
async function sendRounds(
  bus: Bus,
  contract: QueueContract<Keyed>,
  keys: readonly string[],
  perKey: number,
): Promise<void> {
  for (const seq of numbers(perKey)) await Promise.all(keys.map((key) => bus.send(contract, { key, seq })));
}

async function startSender(world: World, contract: QueueContract<Keyed>): Promise<Bus> {
  const sender = world.bus("shop");
  sender.declare(contract);
  await sender.start();
  return sender;
}

export const orderingCases: readonly ContractCase[] = [
  {
    id: "I1",
    title: "of 16 keys, 100 messages each, four instances handle every one once, key by key in order and one at a time",
    tier: "core",
    slowness: 2,
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const rollCall = keyedRollCall(world);
      const instances = numbers(4).map((n) => {
        const bus = world.bus("billing", { concurrency: 8 });
        bus.handle(contract, rollCall.answering(`instance ${n}`, log.handlerOf(`instance ${n}`)));
        return bus;
      });
      const sender = await startSender(world, contract);
      await Promise.all(instances.map((bus) => bus.start()));
      await rollCall.complete((call) => sender.send(contract, call));
      const keys = keysOf(16);
      await sendRounds(sender, contract, keys, 100);
      await log.waitForDistinct(1_600, 6 * world.bounds.patienceMs);
      await world.closeAndFindEmpty(instances, [inlet(contract.channel), deadLetters(contract.channel)]);
      assertExactOrder(log, keys, 100);
      assert.ok(log.mostKeys > 1, "keys are handled side by side");
    },
    inverse: {
      title: "an ordered channel ends start with UNSUPPORTED_CAPABILITY, and nothing is made on the broker",
      async run(world) {
        const channel = queue(world.name(), { ordered: true });
        const contract = channel.command("work", { schema: anything<{ n: number }>(), key: String });
        const bus = world.bus("shop");
        bus.handle(contract, () => undefined);
        const error = await rejectsWith("UNSUPPORTED_CAPABILITY", () => bus.start(), "start with an ordered channel");
        assert.match(error.message, new RegExp(channel.name), "the message names the channel");
        assert.equal(await world.native.exists(inlet(channel)), false);
        assert.equal(bus.health().status, "closed", "a failed start closes the bus");
      },
    },
  },
  {
    id: "I1b",
    title: "a backlog that came before any consumer is handled in order by those who share it",
    tier: "core",
    slowness: 2,
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const sender = await startSender(world, contract);
      const keys = keysOf(10);
      await sendRounds(sender, contract, keys, 50);
      assert.equal(await world.native.ready(inlet(contract.channel)), 500, "they wait on the broker");
      const instances = numbers(3).map((n) => {
        const bus = world.bus("billing", { concurrency: 4 });
        bus.handle(contract, log.handlerOf(`instance ${n}`));
        return bus;
      });
      await Promise.all(instances.map((bus) => bus.start()));
      await log.waitForDistinct(500);
      await world.closeAndFindEmpty(instances, [inlet(contract.channel), deadLetters(contract.channel)]);
      // Of those who begin on a backlog the later ones take over keys of the first.
      assertOrderAcross(world, log, keys, 50);
    },
  },
  {
    id: "I1p",
    title: "each group of an ordered topic handles every key in order, at its own pace",
    tier: "core",
    slowness: 2,
    needs: ["ordering"],
    async run(world) {
      const event = keyedHappenedOn(world.orderedTopic());
      const rollCall = keyedRollCall(world);
      const groups = ["billing", "shipping"].map((group) => {
        const log = createOrderLog(world);
        const buses = numbers(2).map((n) => {
          const bus = world.bus(group, { concurrency: group === "billing" ? 1 : 10 });
          bus.subscribe(event, rollCall.answering(`${group} ${n}`, log.handlerOf(`${group} ${n}`)));
          return bus;
        });
        return { group, log, buses };
      });
      const publisher = world.bus("shop");
      publisher.declare(event);
      await Promise.all([publisher, ...groups.flatMap(({ buses }) => buses)].map((bus) => bus.start()));
      await rollCall.complete((call) => publisher.publish(event, call));
      const keys = keysOf(6);
      for (const seq of numbers(20)) await Promise.all(keys.map((key) => publisher.publish(event, { key, seq })));
      for (const { log } of groups) await log.waitForDistinct(120);
      await world.closeAndFindEmpty(
        groups.flatMap(({ buses }) => buses),
        groups.flatMap(({ group }) => [inlet(event.channel, group), deadLetters(event.channel, group)]),
      );
      for (const { log } of groups) assertExactOrder(log, keys, 20);
    },
  },
  {
    id: "I3",
    title: "a key whose handler is slow holds up no other key, also with a backlog of its own behind it",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const hold = world.gate();
      const bus = world.bus("billing", { concurrency: 2 });
      bus.handle(
        contract,
        log.handlerOf("it", ({ data }) => (data.key === "slow" && data.seq === 0 ? hold.opened : undefined)),
      );
      await bus.start();
      await sendRounds(bus, contract, ["slow"], 100);
      const keys = keysOf(20);
      await sendRounds(bus, contract, keys, 10);
      await log.waitForDistinct(200);
      assert.deepEqual(log.seqsOf("slow"), [], "all others, while the slow one goes on");
      hold.open();
      await log.waitForDistinct(300);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertFirstsInOrder(log, ["slow"], 100);
      assertFirstsInOrder(log, keys, 10);
      assert.equal(log.handled.length, 300);
      assert.deepEqual(log.overlaps, []);
    },
  },
  {
    id: "I5",
    title: "what is sent of one key without waiting in between is handled in the order of the calls",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const bus = world.bus("billing");
      bus.handle(contract, log.handlerOf("it"));
      await bus.start();
      const keys = keysOf(5);
      await Promise.all(numbers(60).flatMap((seq) => keys.map((key) => bus.send(contract, { key, seq }))));
      await log.waitForDistinct(300);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertExactOrder(log, keys, 60);
    },
  },
  {
    id: "I5r",
    title: "the order of the calls holds also while the broker refuses some of the messages at first",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const chance = seededChance(5);
      const inner = world.harness.openTransport();
      let refused = 0;
      const transport = wrapTransport(inner, {
        async dispatch(batch, options) {
          const takes = batch.map(() => refused >= 20 || !chance.chance(0.3));
          const taken = batch.filter((_, index) => takes[index] === true);
          const receipts = taken.length === 0 ? [] : [...(await inner.dispatch(taken, options))];
          return takes.map((isTaken) => {
            const receipt = isTaken ? receipts.shift() : undefined;
            if (receipt !== undefined) return receipt;
            refused++;
            return failed(new PosthornError("REJECTED", "The broker is full for a moment."));
          });
        },
      });
      const bus = world.bus("billing", { transport });
      bus.handle(contract, log.handlerOf("it"));
      await bus.start();
      const keys = keysOf(8);
      await Promise.all(numbers(20).flatMap((seq) => keys.map((key) => bus.send(contract, { key, seq }))));
      await log.waitForDistinct(160);
      assert.ok(refused > 10, `some were refused: ${refused}`);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertExactOrder(log, keys, 20);
    },
  },
  {
    id: "I8",
    title: "order holds with one handler at a time, and while the concurrency changes and the subscription pauses",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const bus = world.bus("billing", { concurrency: 1 });
      const subscription = bus.handle(contract, log.handlerOf("it"));
      await bus.start();
      const keys = keysOf(6);
      const send = (from: number): Promise<unknown> =>
        Promise.all(numbers(20).flatMap((seq) => keys.map((key) => bus.send(contract, { key, seq: from + seq }))));
      const sent = send(0);
      await log.waitForDistinct(20);
      assert.equal(log.mostKeys, 1, "one at a time");
      subscription.pause();
      await world.eventually("what ran to end", () => bus.health().handling === 0);
      await sent;
      const handled = log.handled.length;
      await send(20);
      assert.equal(log.handled.length, handled, "nothing is handled while it is paused");
      subscription.concurrency = 5;
      subscription.resume();
      const last = send(40);
      await log.waitForDistinct(200);
      subscription.concurrency = 2;
      await last;
      await log.waitForDistinct(360);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertExactOrder(log, keys, 60);
    },
  },
];
