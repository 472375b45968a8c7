/** T: what an application declared exists once it has started, and nothing is made that nobody asked for. */
import assert from "node:assert/strict";
import { queue, topic } from "@posthorn/core";
import { isPosthornError } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { happenedOn, numbers, workOf } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const topologyCases: readonly ContractCase[] = [
  {
    id: "T1",
    title: "ten clients that declare the same at the same moment, and once more, all start",
    tier: "core",
    async run(world) {
      const command = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      for (const round of [1, 2]) {
        const buses = numbers(10).map(() => {
          const bus = world.bus("shop");
          bus.handle(command, () => undefined);
          bus.subscribe(event, () => undefined);
          return bus;
        });
        await world.within(
          `round ${round}: ten starts`,
          Promise.all(buses.map((bus) => bus.start())),
          2 * world.bounds.patienceMs,
        );
        await Promise.all(buses.map((bus) => bus.close()));
      }
      for (const place of [
        inlet(command.channel),
        deadLetters(command.channel),
        inlet(event.channel, "shop"),
        deadLetters(event.channel, "shop"),
      ]) {
        assert.equal(
          await world.native.exists(place),
          true,
          `${place.kind} of ${place.channel.kind} ${place.channel.name} exists`,
        );
      }
    },
  },
  {
    id: "T2",
    title:
      "an object that exists otherwise ends start with TOPOLOGY_MISMATCH naming it and the field, and disturbs nobody",
    tier: "core",
    async run(world) {
      const conflicting = workOf(world.queue("conflicting"));
      const fine = workOf(world.queue("fine"));
      const neighbour = world.bus("shop");
      const got = world.recorder<Numbered>();
      neighbour.handle(fine, got.handler);
      await neighbour.start();
      await world.native.createConflicting(conflicting.channel);
      for (const provision of ["apply", "verify"] as const) {
        const bus = world.bus("shop", { provision });
        bus.handle(conflicting, () => undefined);
        const error = await rejectsWith("TOPOLOGY_MISMATCH", () => bus.start(), `start with provision: ${provision}`);
        assert.match(error.message, new RegExp(conflicting.channel.name), "the message names the object");
        assert.equal(bus.health().status, "closed");
      }
      const plan = world.bus("shop");
      plan.handle(conflicting, () => undefined);
      const changes = await plan.plan();
      const different = changes.find(
        ({ problem, name }) => problem === "different" && name.includes(conflicting.channel.name),
      );
      assert.ok(
        different?.field !== undefined && different.expected !== different.actual,
        `the difference names its field: ${JSON.stringify(changes)}`,
      );
      await neighbour.send(fine, { n: 1 });
      await got.waitFor(1);
      assert.ok(
        !world.events(neighbour).some(({ name }) => name === "transport.disconnected"),
        "the neighbour noticed nothing",
      );
    },
  },
  {
    id: "T3",
    title: "verify makes nothing, says what is missing, and starts where nothing is",
    tier: "core",
    async run(world) {
      const command = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const places = [
        inlet(command.channel),
        deadLetters(command.channel),
        inlet(event.channel, "shop"),
        deadLetters(event.channel, "shop"),
      ];
      const existing = async (): Promise<boolean[]> => Promise.all(places.map((place) => world.native.exists(place)));
      const declared = (provision: "apply" | "verify"): ReturnType<typeof world.bus> => {
        const bus = world.bus("shop", { provision });
        bus.handle(command, () => undefined);
        bus.subscribe(event, () => undefined);
        return bus;
      };
      const error = await rejectsWith(
        "TOPOLOGY_MISMATCH",
        () => declared("verify").start(),
        "verify of what is missing",
      );
      assert.match(error.message, new RegExp(command.channel.name));
      assert.deepEqual(await existing(), [false, false, false, false], "verify makes nothing");
      const planned = await declared("apply").plan();
      assert.ok(
        planned.length >= 4 && planned.every(({ problem }) => problem === "missing"),
        `the plan lists what is missing: ${JSON.stringify(planned)}`,
      );
      assert.deepEqual(await existing(), [false, false, false, false], "plan makes nothing");
      const applied = declared("apply");
      await applied.start();
      assert.deepEqual(
        await existing(),
        [true, true, true, true],
        "apply makes everything, the dead-letter channels too",
      );
      assert.deepEqual(await applied.plan(), [], "then there is nothing to do");
      const verified = declared("verify");
      await verified.start();
      await verified.send(command, { n: 1 });
      assert.equal(verified.health().status, "running");
      await world.native.delete(deadLetters(command.channel));
      const incomplete = await declared("verify").plan();
      assert.ok(
        incomplete.some(({ problem }) => problem === "missing"),
        "a dead-letter channel that is missing is told",
      );
    },
  },
  {
    id: "T3a",
    title: "a group exists from the first start on: what is published later waits for it",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const transport = await world.transport({
        channels: [{ kind: "topic", name: event.channel.name, ordered: false }],
        groups: [{ channel: event.channel, name: "later", types: [event.type] }],
      });
      await transport.close(world.waiting);
      const publisher = world.bus("shop");
      publisher.declare(event);
      await publisher.start();
      await publisher.publish(event, { n: 1 });
      assert.equal(await world.native.ready(inlet(event.channel, "later")), 1);
    },
  },
  {
    id: "T3b",
    title: "assume starts where everything exists, and makes nothing where it does not: that is UNROUTABLE",
    tier: "core",
    async run(world) {
      const command = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const [owner, missing] = [world.bus("shop"), world.bus("shop", { provision: "assume" })];
      missing.handle(command, () => undefined);
      await rejectsWith("UNROUTABLE", () => missing.start(), "consuming what is missing");
      const sender = world.bus("shop", { provision: "assume" });
      sender.declare(command);
      await sender.start();
      await rejectsWith("UNROUTABLE", () => sender.send(command, { n: 1 }), "sending to what is missing");
      assert.equal(await world.native.exists(inlet(command.channel)), false, "nothing was made");
      owner.handle(command, () => undefined);
      owner.subscribe(event, () => undefined);
      await owner.start();
      await owner.close();
      const bus = world.bus("shop", { provision: "assume" });
      const got = world.recorder<Numbered>();
      bus.handle(command, got.handler);
      bus.subscribe(event, got.handler);
      await bus.start();
      await bus.send(command, { n: 1 });
      await bus.publish(event, { n: 2 });
      await got.waitFor(2);
    },
  },
  {
    id: "T4",
    title: "names that not every broker carries are refused, and the longest ones work",
    tier: "core",
    async run(world) {
      for (const name of ["", "a b", "a.b", "é", "-a", "_a", "a/b", "a*", "#", "a".repeat(101), "a\n"]) {
        await rejectsWith("INVALID_NAME", () => queue(name), `the queue name ${JSON.stringify(name)}`);
        await rejectsWith("INVALID_NAME", () => topic(name), `the topic name ${JSON.stringify(name)}`);
      }
      const long = (start: string): string => start.padEnd(100, "_-x");
      const channel = topic(long(world.name("long")));
      const event = channel.event(long("type"), { schema: anything<Numbered>() });
      const refused = world.bus("shop");
      for (const group of ["dlq", "retry", "a.b", "é"])
        await rejectsWith(
          "INVALID_NAME",
          () => refused.subscribe(event, () => undefined, { group }),
          `the group ${group}`,
        );
      const bus = world.bus(long("service"));
      const groups = [long("group"), `${long("group").slice(0, -1)}y`];
      const got = groups.map((group) => {
        const recorder = world.recorder<Numbered>();
        bus.subscribe(event, recorder.handler, { group });
        return recorder;
      });
      await bus.start();
      await bus.publish(event, { n: 1 });
      await Promise.all(got.map((recorder) => recorder.waitFor(1)));
      await world.closeAndFindEmpty(
        [bus],
        groups.flatMap((group) => [inlet(channel, group), deadLetters(channel, group)]),
      );
      assert.deepEqual(
        got.map(({ calls }) => calls.length),
        [1, 1],
        "names that differ in their last character are different",
      );
    },
  },
  {
    id: "T5",
    title: "what was not declared is refused: contracts, contradictions, and handlers after start",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = workOf(channel);
      const bus = world.bus("shop");
      bus.handle(contract, () => undefined);
      await rejectsWith(
        "INVALID_DECLARATION",
        () => bus.handle(contract, () => undefined),
        "a second handler of one type",
      );
      await bus.start();
      await rejectsWith("INVALID_DECLARATION", () => bus.declare(workOf(world.queue("late"))), "declare after start");
      await rejectsWith(
        "UNDECLARED_CONTRACT",
        () => bus.send(workOf(world.queue("never")), { n: 1 }),
        "what was never declared",
      );
      assert.equal(await world.native.exists(inlet(world.queue("never"))), false);
      await bus.start().catch((error: unknown) => assert.ok(isPosthornError(error), String(error)));
      assert.equal(bus.health().status, "running", "a second start harms nothing");
    },
  },
];
