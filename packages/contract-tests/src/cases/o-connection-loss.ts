/** O: whatever breaks on the way to the broker heals by itself, and is told honestly. */
import assert from "node:assert/strict";
import type { Bus, QueueContract } from "@posthorn/core";
import { isPosthornError } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { handledNumbers, happenedOn, numbers, workOf } from "../contracts.ts";
import type { Link } from "../harness.ts";
import type { Recorder } from "../recorder.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

interface Linked {
  readonly link: Link;
  readonly bus: Bus;
  readonly contract: QueueContract<Numbered, Numbered>;
  readonly got: Recorder<Numbered>;
}

/** A bus that sends to itself over a link of its own. */
async function linked(world: World, options: { concurrency?: number } = {}): Promise<Linked> {
  const contract = workOf(world.queue());
  const link = await world.faults.openLink();
  world.defer(() => link.close());
  const bus = world.bus("shop", { transport: link.openTransport(), ...options });
  const got = world.recorder<Numbered>();
  bus.handle(contract, got.handler);
  await bus.start();
  await bus.send(contract, { n: 0 });
  await got.waitFor(1);
  return { link, bus, contract, got };
}

/** Sends until it succeeds, as a fault may still be going on; then waits until it is handled. */
async function worksAgain(
  world: World,
  bus: Bus,
  contract: QueueContract<Numbered, Numbered>,
  got: Recorder<Numbered>,
  n: number,
): Promise<void> {
  const withinMs = world.bounds.resumeMs;
  await world.eventually(
    "sending to work again",
    () => bus.send(contract, { n }, { timeoutMs: withinMs }).then(() => true),
    { withinMs },
  );
  await world.eventually("the message to be handled", () => got.calls.some((call) => call.data.n === n), {
    withinMs,
    seen: () => ({ health: bus.health(), events: world.events(bus).slice(-8) }),
  });
}

/** A bus whose first handler runs until it is let go. */
interface HoldingOver extends Linked {
  readonly id: string;
  readonly signal: AbortSignal;
  readonly letGo: () => void;
}

async function holdingOver(world: World): Promise<HoldingOver> {
  const contract = workOf(world.queue());
  const link = await world.faults.openLink();
  world.defer(() => link.close());
  const bus = world.bus("shop", { transport: link.openTransport() });
  const hold = world.gate();
  const got = world.recorder<Numbered>((_, index) => (index === 0 ? hold.opened : undefined));
  bus.handle(contract, got.handler);
  await bus.start();
  const { id } = await bus.send(contract, { n: 1 });
  const [call] = await got.waitFor(1);
  const { signal } = call?.context ?? assert.fail("no call");
  return { link, bus, contract, got, id, signal, letGo: () => hold.open() };
}

/** Its signal fires, its message comes again once the link is whole, and what its handler does later is void. */
async function losesLease(
  world: World,
  { link, bus, contract, got, id, signal, letGo }: HoldingOver,
  withinMs: number,
): Promise<void> {
  await world.eventually("the signal to fire", () => signal.aborted, { withinMs });
  await link.restore();
  await got.waitFor(2, world.bounds.resumeMs + world.bounds.redeliveryMs);
  letGo();
  await worksAgain(world, bus, contract, got, 2);
  await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
  assert.deepEqual(got.calls.map((call) => call.message.id).slice(0, 2), [id, id]);
  assert.equal(got.calls.length, 3, "the void settlement brought nothing back a second time");
}

const disconnections = (world: World, bus: Bus): number =>
  world.events(bus).filter(({ name }) => name === "transport.disconnected").length;

export const connectionLossCases: readonly ContractCase[] = [
  {
    id: "O1",
    title:
      "after the connection was reset, consumer, publisher and concurrency are back, and nothing was handled twice that was settled",
    tier: "fault",
    async run(world) {
      const { link, bus, contract, got } = await linked(world, { concurrency: 2 });
      const event = happenedOn(world.topic("events"));
      const subscriber = world.bus("billing", { transport: link.openTransport(), concurrency: 3 });
      const hold = world.gate();
      const events = world.recorder<Numbered>(({ data }) => (data.n >= 100 ? hold.opened : undefined));
      subscriber.subscribe(event, events.handler);
      await subscriber.start();
      for (const round of [1, 2, 3]) {
        const told = [bus, subscriber].map((each) => disconnections(world, each));
        await link.cut();
        if (world.native.keepsConnections)
          await Promise.all(
            [bus, subscriber].map((each, index) =>
              world.event(each, "transport.disconnected", (told[index] ?? 0) + 1, world.bounds.detectMs),
            ),
          );
        await worksAgain(world, bus, contract, got, round);
        await world.eventually(
          "the health to be good again",
          () => [bus, subscriber].every((each) => each.health().transport.status === "connected"),
          { withinMs: world.bounds.resumeMs },
        );
      }
      const publisher = world.bus("shop");
      publisher.declare(event);
      await publisher.start();
      await Promise.all(numbers(10).map((n) => publisher.publish(event, { n: 100 + n })));
      await events.waitFor(3, world.bounds.resumeMs);
      await worksAgain(world, bus, contract, got, 50);
      assert.equal(events.running, 3, "the concurrency holds as before");
      hold.open();
      await events.waitFor(10);
      await world.closeAndFindEmpty(
        [bus, subscriber],
        [inlet(contract.channel), deadLetters(contract.channel), inlet(event.channel, "billing")],
      );
      assert.equal(events.mostRunning, 3);
      assert.deepEqual([...new Set(got.calls.map((call) => call.data.n))], [0, 1, 2, 3, 50]);
    },
  },
  {
    id: "O1h",
    title:
      "a handler that runs while the connection is reset learns that its lease is lost, and its message comes again; where leases outlive connections it keeps it, and is called once",
    tier: "fault",
    async run(world) {
      const holding = await holdingOver(world);
      const { link, bus, contract, got, id, signal, letGo } = holding;
      await link.cut();
      if (!world.native.leaseOutlivesConnection) {
        await losesLease(world, holding, world.bounds.detectMs);
        return;
      }
      const started = performance.now();
      // Others come over the next connection meanwhile, for longer than the lease would last by itself.
      let n = 2;
      do await worksAgain(world, bus, contract, got, n++);
      while (performance.now() - started < 2 * world.bounds.leaseMs);
      assert.equal(signal.aborted, false, "its lease was kept");
      letGo();
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.filter((call) => call.message.id === id).length, 1, "and its settlement held");
    },
  },
  {
    id: "O1d",
    title:
      "a handler whose connection stays down for longer than its lease learns that it is lost, and its message comes again",
    tier: "fault",
    async run(world) {
      const holding = await holdingOver(world);
      await holding.link.down();
      await losesLease(world, holding, world.bounds.leaseMs + world.bounds.detectMs);
    },
  },
  {
    id: "O2",
    title: "after the broker closed all connections, everything resumes",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      for (const round of [1, 2]) {
        const told = disconnections(world, bus);
        await world.faults.closeConnections();
        if (world.native.keepsConnections)
          await world.event(bus, "transport.disconnected", told + 1, world.bounds.detectMs);
        await worksAgain(world, bus, contract, got, round);
        await world.eventually("the health to be good again", () => bus.health().transport.status === "connected", {
          withinMs: world.bounds.resumeMs,
        });
      }
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "O3",
    title:
      "when the broker ends a consumer while the connection lives, its lease is lost, its message comes again, and it goes on",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const other = workOf(world.queue("other"));
      const bus = world.bus("shop");
      const hold = world.gate();
      const got = world.recorder<Numbered>((_, index) => (index === 0 ? hold.opened : undefined));
      const others = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      bus.handle(other, others.handler);
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.faults.breakConsumers(inlet(contract.channel));
      const signal = got.calls[0]?.context.signal;
      await world.eventually("the handler's signal to fire", () => signal?.aborted === true, {
        withinMs: world.bounds.detectMs,
      });
      await got.waitFor(2, world.bounds.resumeMs);
      assert.equal(got.calls[1]?.message.id, id);
      hold.open();
      await worksAgain(world, bus, contract, got, 2);
      await worksAgain(world, bus, other, others, 3);
      await world.closeAndFindEmpty(
        [bus],
        [inlet(contract.channel), deadLetters(contract.channel), inlet(other.channel)],
      );
      assert.equal(got.calls.length, 3, "each delivery has its cause");
    },
  },
  {
    id: "O4",
    title: "when a group's queue is deleted under its consumer, it is made again and consumed again",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const events = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      bus.subscribe(event, events.handler);
      await bus.start();
      await world.native.delete(inlet(contract.channel));
      await world.native.delete(inlet(event.channel, "shop"));
      await worksAgain(world, bus, contract, got, 1);
      // An event without a group is fine: only the one that arrives shows that the group is back.
      let n = 0;
      await world.eventually(
        "an event to arrive",
        async () => {
          await bus.publish(event, { n: n++ });
          return events.calls.length > 0;
        },
        { withinMs: world.bounds.resumeMs, seen: () => world.events(bus).slice(-8) },
      );
      const sentinel = n;
      await bus.publish(event, { n: sentinel });
      await world.eventually("the last event", () => events.calls.some((call) => call.data.n === sentinel));
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), inlet(event.channel, "shop")]);
    },
  },
  {
    id: "O5",
    title: "a connection that goes silent is noticed, a publish ends by its own timeout, and all goes on afterwards",
    tier: "fault",
    async run(world) {
      const { link, bus, contract, got } = await linked(world);
      await link.stall();
      const started = performance.now();
      await rejectsWith(
        ["UNKNOWN_OUTCOME", "PUBLISH_TIMEOUT"],
        () =>
          world.within(
            "the publish to end",
            bus.send(contract, { n: 1 }, { timeoutMs: 300 }),
            300 + world.bounds.patienceMs,
          ),
        "a publish into silence",
      );
      assert.ok(performance.now() - started >= 290, "not before its timeout");
      await world.event(bus, "transport.disconnected", 1, world.bounds.detectMs);
      assert.notEqual(bus.health().transport.status, "connected");
      await link.restore();
      await worksAgain(world, bus, contract, got, 2);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "O6",
    title: "a publish that arrived without its answer has an unknown outcome, and can be repeated under the same id",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const sender = world.bus("shop", { transport: link.openTransport() });
      sender.declare(contract);
      await sender.start();
      await sender.send(contract, { n: 0 });
      await link.swallowAnswers();
      const id = "the-same-message";
      await rejectsWith(
        "UNKNOWN_OUTCOME",
        () => sender.send(contract, { n: 1 }, { id, timeoutMs: 500 }),
        "a publish whose answer is swallowed",
      );
      await world.eventually(
        "it to be there all the same",
        async () => (await world.native.ready(inlet(contract.channel))) === 2,
      );
      await link.restore();
      const sent = await world.eventually(
        "the repetition to succeed",
        () => sender.send(contract, { n: 1 }, { id, timeoutMs: world.bounds.resumeMs }),
        { withinMs: world.bounds.resumeMs },
      );
      assert.equal(sent.id, id);
      const owner = world.bus("billing");
      const got = world.recorder<Numbered>();
      owner.handle(contract, got.handler);
      await owner.start();
      await got.waitFor(3);
      await world.closeAndFindEmpty([owner], [inlet(contract.channel)]);
      assert.equal(got.calls.filter((call) => call.message.id === id).length, 2, "both copies have the id");
    },
  },
  {
    id: "O7",
    title: "publishes while the connection is down wait and arrive, or fail by their timeout and never arrive",
    tier: "fault",
    async run(world) {
      const { link, bus, contract, got } = await linked(world);
      await link.down();
      // What is on its way while the connection ends has an unknown outcome; this is about what comes afterwards.
      await world.eventually(
        "sending to find the connection gone",
        () =>
          bus
            .send(contract, { n: -1 }, { timeoutMs: 50 })
            .catch((error: unknown) => isPosthornError(error, "PUBLISH_TIMEOUT")),
        { withinMs: world.bounds.detectMs },
      );
      // One after the other: a message that goes to the transport together with others that still wait cannot tell whether it was sent.
      const short = await world.within(
        "the impatient ones to end",
        Promise.all(
          numbers(10).map((n) =>
            bus.send(contract, { n: 100 + n }, { timeoutMs: 200 }).then(
              () => "sent",
              (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
            ),
          ),
        ),
      );
      assert.deepEqual([...new Set(short)], ["PUBLISH_TIMEOUT"]);
      const long = Promise.all(
        numbers(10).map((n) => bus.send(contract, { n: 1 + n }, { timeoutMs: 2 * world.bounds.resumeMs })),
      );
      assert.equal(bus.health().pendingMessages, 10, "the patient ones wait");
      await link.restore();
      await world.within("the patient ones to be sent", long, 2 * world.bounds.resumeMs);
      await world.eventually(
        "all of them to arrive",
        () => numbers(11).every((n) => got.calls.some((call) => call.data.n === n)),
        { withinMs: world.bounds.resumeMs },
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      // The first one's settlement may have been lost with the connection.
      assert.deepEqual(
        [...new Set(handledNumbers(got.calls))].filter((n) => n >= 0),
        numbers(11),
        "and nothing else",
      );
    },
  },
];
