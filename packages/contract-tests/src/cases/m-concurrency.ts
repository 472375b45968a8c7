/** M: never more at a time than allowed, whoever is slow. */
import assert from "node:assert/strict";
import { channelAddress, inletAddress, isPosthornError } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import { handledNumbers, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { plain, queueTopology } from "../topology.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";
import { wrapTransport } from "../wrap-transport.ts";

/** What a bus may have fetched for `concurrency` handlers: bounded, whatever the backlog. */
const fetchedAtMost = (concurrency: number): number => 4 * concurrency + 32;

export const concurrencyCases: readonly ContractCase[] = [
  {
    id: "M1",
    title: "with concurrency 10 and 20 slow messages exactly 10 handlers run at a time, and then all 20 are handled",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const other = workOf(world.queue("sentinel"));
      const bus = world.bus("shop");
      const hold = world.gate();
      const got = world.recorder<Numbered>(() => hold.opened);
      const sentinel = world.recorder<Numbered>();
      bus.handle(contract, got.handler, { concurrency: 10 });
      bus.handle(other, sentinel.handler);
      await bus.start();
      await Promise.all(numbers(20).map((n) => bus.send(contract, { n })));
      await got.waitFor(10);
      await bus.send(other, { n: 1 });
      await sentinel.waitFor(1);
      assert.equal(got.running, 10);
      hold.open();
      await got.waitFor(20);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual([got.mostRunning, got.calls.length], [10, 20]);
    },
  },
  {
    id: "M2",
    title: "the concurrency can be raised and lowered while it runs, and holds at once",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const gates = numbers(60).map(() => world.gate());
      const got = world.recorder<Numbered>((_, index) => gates[index]?.opened);
      const subscription = bus.handle(contract, got.handler, { concurrency: 2 });
      await bus.start();
      await Promise.all(numbers(60).map((n) => bus.send(contract, { n })));
      await got.waitFor(2);
      subscription.concurrency = 6;
      await got.waitFor(6);
      assert.equal(got.mostRunning, 6);
      subscription.concurrency = 1;
      gates.slice(0, 5).forEach((gate) => gate.open());
      await world.eventually("what ran to finish", () => got.running === 1);
      for (const next of numbers(10)) {
        gates[5 + next]?.open();
        await got.waitFor(7 + next);
        assert.equal(got.running, 1, "one at a time by now");
      }
      gates.forEach((gate) => gate.open());
      await got.waitFor(60);
      assert.equal(got.mostRunning, 6);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "M3",
    title: "behind a long backlog a slow consumer holds a bounded number of messages",
    tier: "core",
    slowness: 3,
    async run(world) {
      const { backlog, patienceMs } = world.bounds;
      const contract = workOf(world.queue());
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      for (let sent = 0; sent < backlog; sent += 1_000)
        await Promise.all(numbers(Math.min(1_000, backlog - sent)).map((n) => sender.send(contract, { n: sent + n })));
      const inner = world.harness.openTransport();
      let handedOver = 0;
      // A broker that knows only what was settled cannot tell what was fetched.
      const transport = wrapTransport(inner, {
        consume: (source, receive, options) =>
          inner.consume(
            source,
            (delivery) => {
              if (source.id === inletAddress(contract.channel, contract.channel.name).id) handedOver++;
              return receive(delivery);
            },
            options,
          ),
      });
      const bus = world.bus("billing", { transport, concurrency: 5 });
      const hold = world.gate();
      const got = world.recorder<Numbered>(() => hold.opened);
      const subscription = bus.handle(contract, got.handler);
      const other = workOf(world.queue("sentinel"));
      const sentinel = world.recorder<Numbered>();
      bus.handle(other, sentinel.handler);
      await bus.start();
      await got.waitFor(5);
      // While these go to and fro a greedy consumer fetches on.
      for (const n of numbers(20)) {
        await bus.send(other, { n });
        await sentinel.waitFor(n + 1);
      }
      const ready = await world.native.ready(inlet(contract.channel));
      assert.ok(
        ready >= backlog - fetchedAtMost(5),
        `${backlog - ready} of ${backlog} messages were fetched for 5 handlers`,
      );
      assert.ok(handedOver <= fetchedAtMost(5), `${handedOver} of ${backlog} messages were handed over for 5 handlers`);
      const inFlight = await world.native.inFlight(inlet(contract.channel));
      assert.ok(inFlight === undefined || inFlight <= fetchedAtMost(5), `${inFlight} messages are unsettled`);
      assert.equal(got.running, 5);
      hold.open();
      subscription.concurrency = 100;
      await got.waitFor(backlog, 6 * patienceMs);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(new Set(got.calls.map((call) => call.data.n)).size, backlog);
    },
  },
  {
    id: "M4t",
    title: "a dispatch whose signal fires while the broker blocks publishers answers soon, and honestly",
    tier: "fault",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      await world.faults.blockPublishers();
      world.defer(() => world.faults.unblockPublishers());
      const controller = new AbortController();
      const dispatched = transport.dispatch([{ address: channelAddress(info), message: plainMessage() }], {
        signal: controller.signal,
      });
      controller.abort();
      const [receipt] = await world.within("the dispatch to answer", dispatched, world.bounds.patienceMs);
      assert.ok(receipt?.accepted === false, "it is not accepted");
      assert.ok(["CONNECTION_LOST", "UNKNOWN_OUTCOME"].includes(receipt.error.code), receipt.error.code);
      await world.faults.unblockPublishers();
      const arrives = receipt.error.code === "UNKNOWN_OUTCOME" ? [0, 1] : [0];
      await world.eventually("publishing to work again", async () => {
        const [again] = await transport.dispatch(
          [{ address: channelAddress(info), message: plainMessage({ id: "again" }) }],
          world.waiting,
        );
        return again?.accepted === true;
      });
      const { ready } = await transport.admin.depth(inletAddress(info, info.name), world.waiting);
      assert.ok(arrives.includes(ready - 1), `${ready} messages wait, of which one was sent afterwards`);
    },
  },
  {
    id: "M4f",
    title:
      "while the broker blocks publishers, a publish fails by its timeout, memory stays bounded, and all goes on afterwards",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { maxPendingMessages: 100, publishTimeoutMs: 500 });
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      await bus.send(contract, { n: -1 });
      await got.waitFor(1);
      await world.faults.blockPublishers();
      world.defer(() => world.faults.unblockPublishers());
      const started = performance.now();
      const outcomes = await world.within(
        "every publish to end by its timeout",
        Promise.all(
          numbers(150).map((n) =>
            bus.send(contract, { n }).then(
              () => "sent",
              (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
            ),
          ),
        ),
        500 + world.bounds.patienceMs,
      );
      const count = (...codes: string[]): number => outcomes.filter((outcome) => codes.includes(outcome)).length;
      assert.equal(
        count("BUFFER_FULL"),
        50,
        `what is over the bound fails at once: ${JSON.stringify(Object.groupBy(outcomes, String), (_, value: unknown) => (Array.isArray(value) ? value.length : value))}`,
      );
      assert.equal(count("PUBLISH_TIMEOUT", "UNKNOWN_OUTCOME"), 100, "the others fail by their timeout");
      assert.ok(performance.now() - started >= 450, "and not before");
      assert.notEqual(bus.health().transport.status, "connected", "the health says so");
      await world.faults.unblockPublishers();
      await world.eventually("publishing to work again", () => bus.send(contract, { n: 1_000 }).then(() => true), {
        withinMs: world.bounds.resumeMs,
      });
      await world.eventually("the health to be good again", () => bus.health().transport.status === "connected", {
        withinMs: world.bounds.resumeMs,
      });
      await world.eventually("the message", () => got.calls.some((call) => call.data.n === 1_000));
      const definite = numbers(150).filter((n) => outcomes[n] === "PUBLISH_TIMEOUT" || outcomes[n] === "BUFFER_FULL");
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(
        got.calls.filter((call) => definite.includes(call.data.n)).map((call) => call.data.n),
        [],
        "what was said not to be sent never surfaces",
      );
    },
  },
  {
    id: "M5",
    title: "a paused subscription starts nothing and keeps its leases; resumed, it handles everything",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const other = workOf(world.queue("sentinel"));
      const bus = world.bus("shop");
      const hold = world.gate();
      const got = world.recorder<Numbered>(({ data }) => (data.n === 0 ? hold.opened : undefined));
      const sentinel = world.recorder<Numbered>();
      const subscription = bus.handle(contract, got.handler);
      bus.handle(other, sentinel.handler);
      await bus.start();
      await bus.send(contract, { n: 0 });
      await got.waitFor(1);
      subscription.pause();
      assert.equal(subscription.paused, true);
      for (const n of [1, 2, 3, 4, 5]) {
        await bus.send(contract, { n });
        await bus.send(other, { n });
      }
      await sentinel.waitFor(5);
      assert.equal(got.calls.length, 1, "nothing new was started");
      assert.equal(got.calls[0]?.context.signal.aborted, false, "what runs goes on");
      hold.open();
      await world.event(bus, "message.handled", 6);
      assert.equal(got.calls.length, 1);
      subscription.resume();
      await got.waitFor(6);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(handledNumbers(got.calls), numbers(6));
    },
  },
];
