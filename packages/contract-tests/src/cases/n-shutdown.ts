/** N: a bus that closes finishes what it can and gives back the rest. */
import assert from "node:assert/strict";
import { isPosthornError } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { ascending, handledNumbers, happenedOn, numbers, workOf } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

/** The list says 5 s for a close that has nothing to wait for. */
const closesWithinMs = 5_000;

export const shutdownCases: readonly ContractCase[] = [
  {
    id: "N1",
    title: "close waits for running handlers without aborting them, and what they handled does not come back",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const hold = world.gate();
      const abortedAtTheEnd: boolean[] = [];
      const got = world.recorder<Numbered>(async ({ context }) => {
        await hold.opened;
        abortedAtTheEnd.push(context.signal.aborted);
      });
      bus.handle(contract, got.handler, { concurrency: 3 });
      await bus.start();
      await Promise.all(numbers(10).map((n) => bus.send(contract, { n })));
      await got.waitFor(3);
      const closing = bus.close();
      assert.equal(bus.health().status, "closing");
      // What had been fetched and not begun is back on the broker while the three still run.
      await world.eventually(
        "the other seven to be given back",
        async () => (await world.waitingBeside(inlet(contract.channel), 3)) === 7,
        { withinMs: world.bounds.redeliveryMs },
      );
      hold.open();
      await world.within("close", closing);
      assert.equal(got.calls.length, 3, "nothing was begun after close");
      assert.deepEqual(abortedAtTheEnd, [false, false, false], "the handlers could finish undisturbed");
      const next = world.bus("shop");
      const rest = world.recorder<Numbered>();
      next.handle(contract, rest.handler);
      await next.start();
      await rest.waitFor(7, world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([next], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(handledNumbers([...got.calls, ...rest.calls]), numbers(10), "each was handled once");
    },
  },
  {
    id: "N2",
    title: "past the deadline close aborts the handlers and gives their messages back, as no failure of theirs",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } });
      const hold = world.gate();
      const aborted: number[] = [];
      const deaf = world.recorder<Numbered>(({ data, context }) => {
        context.signal.addEventListener("abort", () => aborted.push(data.n));
        // One listens to its signal and fails, the other never ends.
        return data.n === 0
          ? new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(new Error("stopped"))))
          : hold.opened;
      });
      bus.handle(contract, deaf.handler);
      await bus.start();
      await Promise.all(numbers(2).map((n) => bus.send(contract, { n })));
      await deaf.waitFor(2);
      await world.within("close", bus.close({ timeoutMs: 50 }));
      assert.deepEqual(ascending(aborted), [0, 1], "both signals fired");
      const names: readonly string[] = world.events(bus).map(({ name }) => name);
      for (const name of ["message.failed", "message.dead-lettered", "message.handled"])
        assert.ok(!names.includes(name), `no ${name}: ${names.join(", ")}`);
      const next = world.bus("shop");
      const got = world.recorder<Numbered>();
      next.handle(contract, got.handler);
      await next.start();
      await got.waitFor(2, world.bounds.redeliveryMs);
      hold.open();
      assert.deepEqual(
        got.calls.map((call) => call.context.attempt),
        [1, 1],
        "it was no failure",
      );
      await world.closeAndFindEmpty([next], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 2);
    },
  },
  {
    id: "N3",
    title: "close lets pending publishes settle; afterwards everything says CLOSED, and closing again is fine",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const bus = world.bus("shop");
      const subscription = bus.handle(contract, () => undefined);
      bus.declare(event);
      await rejectsWith("NOT_STARTED", () => bus.send(contract, { n: 0 }), "send before start");
      await bus.start();
      await subscription.stop();
      const outcomes = Promise.all(
        numbers(500).map((n) =>
          bus.send(contract, { n }).then(
            () => "sent",
            (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
          ),
        ),
      );
      await Promise.all([world.within("close", bus.close()), world.within("a second close", bus.close())]);
      const settled = await world.within("every publish to settle", outcomes);
      const sent = settled.filter((outcome) => outcome === "sent").length;
      assert.equal(sent, 500, `pending publishes were flushed: ${[...new Set(settled)].join(", ")}`);
      assert.equal(await world.native.ready(inlet(contract.channel)), 500, "and are on the broker");
      await bus.close();
      await bus[Symbol.asyncDispose]();
      await rejectsWith("CLOSED", () => bus.send(contract, { n: 1 }), "send");
      await rejectsWith("CLOSED", () => bus.publish(event, { n: 1 }), "publish");
      await rejectsWith("CLOSED", () => bus.start(), "start");
      await rejectsWith("CLOSED", () => bus.plan(), "plan");
      await rejectsWith("CLOSED", () => subscription.depth(), "depth");
      await rejectsWith("CLOSED", () => subscription.deadLetters.browse(), "browse");
      await rejectsWith("CLOSED", () => subscription.deadLetters.purge(), "purge");
      subscription.pause();
      subscription.resume();
      await subscription.stop();
      assert.equal(bus.health().status, "closed");
      assert.equal(bus.health().transport.status, "closed");
    },
  },
  {
    id: "N4",
    title: "close before start, and while starting, ends it for good",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const never = world.bus("shop");
      never.declare(contract);
      await world.within("close before start", never.close(), closesWithinMs);
      await rejectsWith("CLOSED", () => never.start(), "start after close");
      const starting = world.bus("shop");
      starting.handle(contract, () => undefined);
      const started = starting.start().then(
        () => "started",
        (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
      );
      await world.within("close while starting", starting.close(), closesWithinMs);
      assert.ok(["started", "CLOSED", "ABORTED"].includes(await world.within("start to end", started)), await started);
      assert.equal(starting.health().status, "closed");
      assert.equal(starting.health().transport.status, "closed");
    },
  },
  {
    id: "N4f",
    title: "close while the broker cannot be reached ends within 5 s, and nothing revives it when the broker is back",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const reconnecting = world.bus("shop", { transport: link.openTransport() });
      const got = world.recorder<Numbered>();
      reconnecting.handle(contract, got.handler);
      await reconnecting.start();
      await link.down();
      await world.event(reconnecting, "transport.disconnected", 1, world.bounds.detectMs);
      const connecting = world.bus("shop", { transport: link.openTransport() });
      connecting.handle(contract, got.handler);
      const started = connecting.start().then(
        () => "started",
        (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
      );
      for (const bus of [reconnecting, connecting]) await world.within("close", bus.close(), closesWithinMs);
      assert.ok(
        ["CLOSED", "ABORTED", "CONNECTION_FAILED"].includes(await world.within("start to end", started)),
        await started,
      );
      const told = [reconnecting, connecting].map((bus) => world.events(bus).length);
      await link.restore();
      // Somebody else on the same way shows that it is open, long enough for a forgotten timer to fire.
      const fresh = world.bus("shop", { transport: link.openTransport() });
      fresh.declare(contract);
      await fresh.start();
      await fresh.send(contract, { n: 1 });
      const until = performance.now() + world.bounds.resumeMs / 4;
      await world.eventually("time in which a timer could revive them", () => performance.now() > until, {
        withinMs: world.bounds.resumeMs,
      });
      assert.deepEqual(
        [reconnecting, connecting].map((bus) => [bus.health().status, bus.health().transport.status]),
        [
          ["closed", "closed"],
          ["closed", "closed"],
        ],
      );
      assert.deepEqual(
        [reconnecting, connecting].map((bus) => world.events(bus).length),
        told,
        "they tell nothing any more",
      );
      assert.equal(got.calls.length, 0);
      assert.equal(await world.native.ready(inlet(contract.channel)), 1, "nobody took the message");
    },
  },
];
