/** G: a delayed message is handled when it is due, and not before. */
import assert from "node:assert/strict";
import { deliverAfter, deliverAt } from "@posthorn/core";
import type { Message, Settlement } from "@posthorn/core/transport";
import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import { text } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import type { Arrival } from "../clocked.ts";
import { arrivalsInto, assertPunctual } from "../clocked.ts";
import { ascending, happenedOn, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { seededChance } from "../seeded.ts";
import { plain, topicTopology } from "../topology.ts";
import { deadLetters, inlet } from "../world.ts";

export const delayCases: readonly ContractCase[] = [
  {
    id: "G1",
    title: "a delayed command is handled when it is due and not before, however its time was given",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const arrivals: Arrival[] = [];
      const got = world.recorder<Numbered>(arrivalsInto(arrivals));
      bus.handle(contract, got.handler);
      await bus.start();
      const start = Date.now();
      const due = new Map([
        [0, start + 700],
        [1, start + 700],
        [2, start + 400],
        [3, start + 1_000],
        [4, start],
      ]);
      await bus.send(contract, { n: 0 }, deliverAfter("700ms"));
      await bus.send(contract, { n: 1 }, deliverAt(new Date(start + 700)));
      await bus.send(contract, { n: 2 }, { delayMs: 400 });
      await bus.send(contract, { n: 3 }, deliverAt(new Date(start + 1_000).toISOString()));
      await bus.send(contract, { n: 4 });
      await got.waitFor(5, 1_000 + world.bounds.delayToleranceMs);
      assertPunctual(arrivals, (n) => due.get(n) ?? 0, world.bounds);
      assert.deepEqual(
        got.calls.map(({ context }) => context.attempt),
        [1, 1, 1, 1, 1],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(ascending(arrivals.map(({ n }) => n)), numbers(5), "each once");
    },
    inverse: {
      title: "a delay fails with UNSUPPORTED_CAPABILITY, and nothing is sent",
      async run(world) {
        const contract = workOf(world.queue());
        const bus = world.bus("shop");
        bus.declare(contract);
        await bus.start();
        for (const delay of [deliverAfter("1m"), deliverAt(Date.now() + 60_000)]) {
          const error = await rejectsWith(
            "UNSUPPORTED_CAPABILITY",
            () => bus.send(contract, { n: 1 }, delay),
            "a delayed send",
          );
          assert.match(error.message, /delay|notBefore/i, "the message names what is not supported");
        }
        await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      },
    },
  },
  {
    id: "G1p",
    title: "a delayed event is handled by each group once it is due, once",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const event = happenedOn(world.topic());
      const groups = ["billing", "shipping"].map((service) => {
        const bus = world.bus(service);
        const arrivals: Arrival[] = [];
        const got = world.recorder<Numbered>(arrivalsInto(arrivals));
        bus.subscribe(event, got.handler);
        return { service, bus, arrivals, got };
      });
      const publisher = world.bus("shop");
      publisher.declare(event);
      await Promise.all([publisher, ...groups.map(({ bus }) => bus)].map((bus) => bus.start()));
      const delays = [600, 0, 300];
      const start = Date.now();
      for (const [n, delayMs] of delays.entries()) await publisher.publish(event, { n }, deliverAfter(delayMs));
      for (const { got, arrivals } of groups) {
        await got.waitFor(delays.length, 600 + world.bounds.delayToleranceMs);
        assertPunctual(arrivals, (n) => start + (delays[n] ?? 0), world.bounds);
      }
      await world.closeAndFindEmpty(
        groups.map(({ bus }) => bus),
        groups.map(({ service }) => inlet(event.channel, service)),
      );
      for (const { arrivals } of groups) assert.deepEqual(ascending(arrivals.map(({ n }) => n)), [0, 1, 2]);
    },
  },
  {
    id: "G1t",
    title:
      "a transport delays what goes to a channel or an inlet, and nothing else; the inlet's message reaches its group alone",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const channel = world.topic();
      const info = plain(channel);
      const transport = await world.transport(topicTopology(channel, "work", "one", "two"));
      const seen: { readonly group: string; readonly at: number; readonly message: Message }[] = [];
      for (const group of ["one", "two"]) {
        const consumption = await transport.consume(
          inletAddress(info, group),
          async ({ message }): Promise<Settlement> => {
            seen.push({ group, at: Date.now(), message });
            return "accept";
          },
          { ...world.waiting, maxInFlight: 5 },
        );
        world.defer(() => consumption.stop());
      }
      const notBefore = Date.now() + 500;
      const toAll = plainMessage({ notBefore, headers: { tenant: "acme" } });
      const toOne = plainMessage({ notBefore, attempt: 3, headers: { trailing: " x " } });
      const dead = plainMessage({ notBefore });
      const receipts = await Promise.all(
        [
          { address: channelAddress(info), message: toAll },
          { address: inletAddress(info, "one"), message: toOne },
          { address: deadLetterAddress(info, "one"), message: dead },
        ].map((outbound) => transport.dispatch([outbound], world.waiting)),
      );
      assert.deepEqual(receipts, [[{ accepted: true }], [{ accepted: true }], [{ accepted: true }]]);
      assert.equal(await world.native.ready(deadLetters(channel, "one")), 1, "a dead letter is never delayed");
      await world.eventually("three deliveries", () => seen.length >= 3, {
        withinMs: 500 + world.bounds.delayToleranceMs,
      });
      for (const { at } of seen) assert.ok(at >= notBefore, `delivered ${notBefore - at} ms early`);
      await world.eventually(
        "nothing to wait for either group",
        async () =>
          (await world.native.ready(inlet(channel, "one"))) + (await world.native.ready(inlet(channel, "two"))) === 0,
      );
      const plainly = ({ headers, body, ...envelope }: Message): unknown => ({
        ...envelope,
        headers: { ...headers },
        body: text(body),
      });
      const expected = [
        ["one", toAll],
        ["two", toAll],
        ["one", toOne],
      ] as const;
      for (const [group, message] of expected) {
        const found = seen.filter((each) => each.group === group && each.message.id === message.id);
        assert.deepEqual(
          found.map((each) => plainly(each.message)),
          [plainly(message)],
          `once to the group ${group}, and whole`,
        );
      }
      assert.equal(seen.length, 3, "and nothing else");
    },
  },
  {
    id: "G2",
    title: "long delays hold up neither shorter ones that were given later nor what is not delayed",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const arrivals: Arrival[] = [];
      const got = world.recorder<Numbered>(arrivalsInto(arrivals));
      bus.handle(contract, got.handler);
      await bus.start();
      const longMs = Math.max(1_000, world.bounds.patienceMs / 3);
      const start = Date.now();
      await Promise.all(numbers(20).map((n) => bus.send(contract, { n }, { delayMs: longMs })));
      await Promise.all(numbers(20).map((n) => bus.send(contract, { n: 100 + n }, { delayMs: 100 })));
      await Promise.all(numbers(20).map((n) => bus.send(contract, { n: 200 + n })));
      await got.waitFor(60, longMs + world.bounds.delayToleranceMs);
      assertPunctual(arrivals, (n) => start + (n < 100 ? longMs : n < 200 ? 100 : 0), world.bounds);
      const firstLong = arrivals.findIndex(({ n }) => n < 100);
      assert.equal(firstLong, 40, "the long ones come last");
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(arrivals.length, 60);
    },
  },
  {
    id: "G2r",
    title: "sixty messages with delays of all kinds each come when they are due, once, and none early",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const arrivals: Arrival[] = [];
      const got = world.recorder<Numbered>(arrivalsInto(arrivals));
      bus.handle(contract, got.handler);
      await bus.start();
      const chance = seededChance(60);
      const due = numbers(60).map(() => Date.now() + chance.between(100, 2_000));
      await Promise.all(due.map((time, n) => bus.send(contract, { n }, { notBefore: new Date(time) })));
      await got.waitFor(60, 2_000 + world.bounds.delayToleranceMs);
      assertPunctual(arrivals, (n) => due[n] ?? 0, world.bounds);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(ascending(arrivals.map(({ n }) => n)), numbers(60));
    },
  },
];
