/** G: delayed messages wait on the broker, whatever happens to those who sent them or shall handle them. */
import assert from "node:assert/strict";
import type { Bus, QueueContract } from "@posthorn/core";
import type { Outbound, Receipt } from "@posthorn/core/transport";
import { channelAddress, copyMessage, inletAddress, isPosthornError } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import type { Arrival } from "../clocked.ts";
import { arrivalsInto, assertNeverEarly, assertPunctual } from "../clocked.ts";
import { ascending, happenedOn, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import type { Numbered } from "../schema.ts";
import { plain, queueTopology } from "../topology.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";
import { withMessage, wrapTransport } from "../wrap-transport.ts";

/** The list says 5 s for a broker in good health. */
const unroutableWithinMs = 5_000;

/** Sends one message for each delay. @returns when each is due */
async function sendDelayed(
  bus: Bus,
  contract: QueueContract<Numbered>,
  delays: readonly number[],
  timeoutMs: number,
): Promise<readonly number[]> {
  const due = delays.map((delayMs) => Date.now() + delayMs);
  await Promise.all(due.map((time, n) => bus.send(contract, { n }, { notBefore: new Date(time), timeoutMs })));
  return due;
}

/** Resolves when each of `count` messages has arrived at least once. */
async function allArrived(world: World, arrivals: readonly Arrival[], count: number, withinMs: number): Promise<void> {
  await world.eventually(`${count} messages`, () => new Set(arrivals.map(({ n }) => n)).size >= count, {
    withinMs,
    seen: () => ascending(arrivals.map(({ n }) => n)),
  });
}

export const lastingDelayCases: readonly ContractCase[] = [
  {
    id: "G4",
    title:
      "delayed messages outlive every bus: they wait on the broker, and come to whoever is there when they are due",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const [commands, events]: [Arrival[], Arrival[]] = [[], []];
      const got = world.recorder<Numbered>(arrivalsInto(commands));
      const heard = world.recorder<Numbered>(arrivalsInto(events));
      const group = world.bus("billing");
      // What is due before it closes comes to it.
      group.subscribe(event, heard.handler);
      const sender = world.bus("shop");
      sender.declare(contract, event);
      await Promise.all([group.start(), sender.start()]);
      const delays = [200, 600, 1_200];
      const due = await sendDelayed(sender, contract, delays, world.bounds.patienceMs);
      for (const [n, time] of due.entries()) await sender.publish(event, { n }, { notBefore: new Date(time) });
      await Promise.all([group.close(), sender.close()]);
      const owner = world.bus("billing");
      owner.handle(contract, got.handler);
      owner.subscribe(event, heard.handler);
      await owner.start();
      await got.waitFor(3, 1_200 + world.bounds.delayToleranceMs);
      await heard.waitFor(3, world.bounds.delayToleranceMs);
      for (const arrivals of [commands, events]) assertPunctual(arrivals, (n) => due[n] ?? 0, world.bounds);
      await world.closeAndFindEmpty([owner], [inlet(contract.channel), inlet(event.channel, "billing")]);
      assert.deepEqual([commands.length, events.length], [3, 3], "each once");
    },
  },
  {
    id: "G4c",
    title:
      "delayed messages outlive cut connections, of whoever sent them and of whoever handles them; none comes early",
    tier: "fault",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const sender = world.bus("shop", { transport: link.openTransport() });
      sender.declare(contract);
      const owner = world.bus("billing", { transport: link.openTransport() });
      const arrivals: Arrival[] = [];
      const got = world.recorder<Numbered>(arrivalsInto(arrivals));
      owner.handle(contract, got.handler);
      await Promise.all([sender.start(), owner.start()]);
      const delays = numbers(20).map((n) => 100 * (n + 1));
      const due = await sendDelayed(sender, contract, delays, world.bounds.patienceMs);
      await link.cut();
      await got.waitFor(3, world.bounds.resumeMs);
      await world.faults.closeConnections();
      await allArrived(world, arrivals, 10, world.bounds.resumeMs);
      await link.cut();
      await allArrived(world, arrivals, 20, 2_000 + world.bounds.resumeMs + world.bounds.delayToleranceMs);
      assertNeverEarly(arrivals, (n) => due[n] ?? 0);
      await world.drained([owner], [inlet(contract.channel)], world.bounds.resumeMs);
      await world.closeAndFindEmpty([owner, sender], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "G4f",
    title:
      "delayed messages outlive a kill of the broker, also those that fall due while it is away; none is lost, none comes early",
    tier: "fault",
    slowness: 2,
    needs: ["delayedDelivery"],
    async run(world) {
      const { resumeMs, delayToleranceMs } = world.bounds;
      const contract = workOf(world.queue());
      const sender = world.bus("shop");
      sender.declare(contract);
      const owner = world.bus("billing");
      const arrivals: Arrival[] = [];
      const got = world.recorder<Numbered>(arrivalsInto(arrivals));
      owner.handle(contract, got.handler);
      await Promise.all([sender.start(), owner.start()]);
      const delays = numbers(30).map((n) => 200 + (n * resumeMs) / 50);
      const due = await sendDelayed(sender, contract, delays, world.bounds.patienceMs);
      await got.waitFor(1, delayToleranceMs);
      await world.faults.killBroker();
      await world.event(owner, "transport.disconnected", 1, world.bounds.detectMs);
      await world.faults.startBroker();
      const sentinel = 1_000;
      await world.eventually(
        "sending to work again",
        () => sender.send(contract, { n: sentinel }, { timeoutMs: resumeMs }).then(() => true),
        { withinMs: 2 * resumeMs },
      );
      // A broker that keeps nothing over a restart need not have kept these.
      if (world.harness.capabilities.durable) await allArrived(world, arrivals, 31, 2 * resumeMs + delayToleranceMs);
      else
        await world.eventually("what was sent afterwards", () => arrivals.some(({ n }) => n === sentinel), {
          withinMs: resumeMs,
        });
      assertNeverEarly(arrivals, (n) => due[n] ?? 0);
      if (!world.harness.capabilities.durable) return;
      await world.drained([owner], [inlet(contract.channel)], resumeMs);
      await world.closeAndFindEmpty([owner, sender], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "G5",
    title: "what is delayed and goes to a destination that does not exist fails with UNROUTABLE, too",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const good = world.queue("good");
      const transport = await world.transport(queueTopology(good));
      const lostQueue = plain(world.queue("lost"));
      const lostTopic = plain(world.topic("lost"));
      const later = (): Outbound["message"] => plainMessage({ notBefore: Date.now() + 300 });
      const bad = [
        channelAddress(lostQueue),
        inletAddress(lostQueue, lostQueue.name),
        channelAddress(lostTopic),
        inletAddress(lostTopic, "shop"),
      ];
      const receipts = await world.within(
        "receipts",
        Promise.all(
          [...bad, channelAddress(plain(good))].map((address) =>
            transport.dispatch([{ address, message: later() }], world.waiting),
          ),
        ),
        unroutableWithinMs,
      );
      const codeOf = (receipt: Receipt | undefined): string =>
        receipt?.accepted === false && isPosthornError(receipt.error) ? receipt.error.code : "accepted";
      assert.deepEqual(
        receipts.map(([receipt]) => codeOf(receipt)),
        [...bad.map(() => "UNROUTABLE"), "accepted"],
      );
      await world.eventually(
        "what was accepted to be there",
        async () => (await world.native.ready(inlet(good))) === 1,
        {
          withinMs: 300 + world.bounds.delayToleranceMs,
        },
      );
    },
  },
  {
    id: "G6",
    title:
      "what the broker cannot delay long enough is sent on to its group, again and again, and handled when it is due, once, as attempt 1",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const event = happenedOn(world.topic());
      const longestMs = 300;
      const due = new Map<string, number>();
      /** A broker whose longest delay is short, and whose envelope still says when the message is due. */
      const shortSighted = (): ReturnType<typeof wrapTransport> => {
        const inner = world.harness.openTransport();
        return wrapTransport(inner, {
          dispatch: (batch, options) =>
            inner.dispatch(
              batch.map(({ address, message }) => {
                if (message.notBefore === undefined) return { address, message };
                due.set(message.id, message.notBefore);
                const notBefore = Math.min(message.notBefore, Date.now() + longestMs);
                return { address, message: copyMessage(message, { notBefore }) };
              }),
              options,
            ),
          consume: (source, receive, options) =>
            inner.consume(
              source,
              (delivery) =>
                receive(
                  withMessage(delivery, copyMessage(delivery.message, { notBefore: due.get(delivery.message.id) })),
                ),
              options,
            ),
        });
      };
      const groups = ["billing", "shipping"].map((service) => {
        const bus = world.bus(service, { transport: shortSighted() });
        const arrivals: Arrival[] = [];
        const got = world.recorder<Numbered>(arrivalsInto(arrivals));
        bus.subscribe(event, got.handler);
        return { service, bus, arrivals, got };
      });
      const publisher = world.bus("shop", { transport: shortSighted() });
      publisher.declare(event);
      await Promise.all([publisher, ...groups.map(({ bus }) => bus)].map((bus) => bus.start()));
      const start = Date.now();
      const delays = [2_000, 500, 0];
      for (const [n, delayMs] of delays.entries()) await publisher.publish(event, { n }, { delayMs });
      for (const { got, arrivals, bus } of groups) {
        await got.waitFor(3, 2_000 + world.bounds.delayToleranceMs);
        assertPunctual(arrivals, (n) => start + (delays[n] ?? 0), world.bounds);
        assert.ok((await world.event(bus, "message.early")).length >= 2, "it came early more than once");
      }
      await world.closeAndFindEmpty(
        groups.map(({ bus }) => bus),
        groups.flatMap(({ service }) => [inlet(event.channel, service), deadLetters(event.channel, service)]),
      );
      for (const { got } of groups)
        assert.deepEqual(
          // Delays promise no order.
          got.calls
            .map(({ data, context }) => [data.n, context.attempt])
            .toSorted(([one = 0], [other = 0]) => one - other),
          [
            [0, 1],
            [1, 1],
            [2, 1],
          ],
        );
    },
  },
];
