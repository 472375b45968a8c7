/** C: an event goes to every group. */
import assert from "node:assert/strict";
import type { ContractCase } from "../case.ts";
import { handledNumbers, happenedOn, numbers } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const publishSubscribeCases: readonly ContractCase[] = [
  {
    id: "C1",
    title: "two groups both get all events, and each event once",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const services = ["billing", "shipping"].map((service) => {
        const bus = world.bus(service);
        const got = world.recorder<Numbered>();
        bus.subscribe(event, got.handler);
        return { bus, got };
      });
      const publisher = world.bus("shop");
      publisher.declare(event);
      await Promise.all([...services.map(({ bus }) => bus.start()), publisher.start()]);
      await Promise.all(numbers(20).map((n) => publisher.publish(event, { n })));
      await Promise.all(services.map(({ got }) => got.waitFor(20)));
      await world.closeAndFindEmpty(
        services.map(({ bus }) => bus),
        [inlet(event.channel, "billing"), inlet(event.channel, "shipping")],
      );
      for (const { got } of services) assert.deepEqual(handledNumbers(got.calls), numbers(20));
    },
  },
  {
    id: "C1g",
    title: "one bus can consume a topic as two groups, and each of them gets all events",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const bus = world.bus("shop");
      const got = ["one", "two"].map((group) => {
        const recorder = world.recorder<Numbered>();
        const subscription = bus.subscribe(event, recorder.handler, { group });
        assert.equal(subscription.group, group);
        return recorder;
      });
      await bus.start();
      await Promise.all(numbers(5).map((n) => bus.publish(event, { n })));
      await Promise.all(got.map((recorder) => recorder.waitFor(5)));
      await world.closeAndFindEmpty([bus], [inlet(event.channel, "one"), inlet(event.channel, "two")]);
      for (const { calls } of got) assert.deepEqual(handledNumbers(calls), numbers(5));
    },
  },
  {
    id: "C2",
    title: "a group that is offline finds what was published meanwhile when it starts",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const online = world.bus("billing");
      online.subscribe(event, () => undefined);
      await online.start();
      await online.close();
      const publisher = world.bus("shop");
      publisher.declare(event);
      await publisher.start();
      for (const n of [1, 2, 3]) await publisher.publish(event, { n });
      assert.equal(
        await world.native.ready(inlet(event.channel, "billing")),
        3,
        "they wait for the group on the broker",
      );
      const again = world.bus("billing");
      const got = world.recorder<Numbered>();
      again.subscribe(event, got.handler);
      await again.start();
      await got.waitFor(3);
      await world.closeAndFindEmpty([again], [inlet(event.channel, "billing")]);
      assert.deepEqual(handledNumbers(got.calls), [1, 2, 3]);
    },
  },
  {
    id: "C3",
    title: "an event that nobody subscribed to is published without an error",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const publisher = world.bus("shop");
      publisher.declare(event);
      await publisher.start();
      const sent = await Promise.all(numbers(10).map((n) => publisher.publish(event, { n })));
      assert.equal(new Set(sent.map(({ id }) => id)).size, 10);
    },
  },
  {
    id: "C4",
    title: "a group gets only the types it subscribed to, also when one is the beginning of another",
    tier: "core",
    async run(world) {
      const channel = world.topic();
      const types = ["order", "order.placed", "order.placed.late", "ORDER", "orders"].map((type) =>
        channel.event(type, { schema: anything<Numbered>() }),
      );
      const [, placed] = types;
      assert.ok(placed !== undefined);
      const subscriber = world.bus("billing");
      const got = world.recorder<Numbered>();
      const subscription = subscriber.subscribe(placed, got.handler);
      const publisher = world.bus("shop");
      publisher.declare(...types);
      await Promise.all([subscriber.start(), publisher.start()]);
      await Promise.all(types.map((event, n) => publisher.publish(event, { n })));
      await publisher.publish(placed, { n: 50 });
      await got.waitFor(2);
      assert.equal((await subscription.deadLetters.browse()).length, 0);
      await world.eventually(
        "what is left out to be gone, too",
        async () => (await world.native.ready(inlet(channel, "billing"))) === 0,
      );
      await world.closeAndFindEmpty([subscriber], [inlet(channel, "billing"), deadLetters(channel, "billing")]);
      assert.deepEqual(handledNumbers(got.calls), [1, 50]);
    },
  },
  {
    id: "C5",
    title: "when one group stops, the other goes on, and what comes meanwhile waits for the one that stopped",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const bus = world.bus("shop");
      const stopped = world.recorder<Numbered>();
      const goesOn = world.recorder<Numbered>();
      const subscription = bus.subscribe(event, stopped.handler, { group: "stops" });
      bus.subscribe(event, goesOn.handler, { group: "goes-on" });
      await bus.start();
      await bus.publish(event, { n: 1 });
      await Promise.all([stopped.waitFor(1), goesOn.waitFor(1)]);
      await subscription.stop();
      await bus.publish(event, { n: 2 });
      await bus.publish(event, { n: 3 });
      await goesOn.waitFor(3);
      await world.eventually(
        "both to wait for the group that stopped",
        async () => (await world.native.ready(inlet(event.channel, "stops"))) === 2,
      );
      await world.closeAndFindEmpty([bus], [inlet(event.channel, "goes-on")]);
      assert.deepEqual([handledNumbers(stopped.calls), handledNumbers(goesOn.calls)], [[1], [1, 2, 3]]);
      const again = world.bus("shop");
      const rest = world.recorder<Numbered>();
      again.subscribe(event, rest.handler, { group: "stops" });
      await again.start();
      await rest.waitFor(2);
      await world.closeAndFindEmpty([again], [inlet(event.channel, "stops")]);
      assert.deepEqual(handledNumbers(rest.calls), [2, 3]);
    },
  },
];
