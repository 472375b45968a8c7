/** R: what cannot be understood is set aside, and stops nobody. */
import assert from "node:assert/strict";
import { utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { handledNumbers, workOf } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const undecodableCases: readonly ContractCase[] = [
  {
    id: "R1",
    title:
      "broken JSON, an empty body, an unknown content type and invalid UTF-8 are dead-lettered once each, unhandled, and their neighbours flow",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      const json = "application/json";
      const broken = [
        { body: utf8('{"n":'), contentType: json },
        { body: utf8(""), contentType: json },
        { body: Uint8Array.of(0x22, 0xff, 0xfe, 0x22), contentType: json },
        { body: utf8('{"n":1}'), contentType: "application/x-unknown" },
        { body: utf8('{"n":1}'), contentType: "application/json; charset=utf-16" },
        { body: utf8("{}"), contentType: "application/cloudevents+json" },
        { body: utf8("no json"), contentType: "application/cloudevents+json; charset=utf-8" },
      ];
      for (const [index, message] of broken.entries()) {
        await world.native.publish(contract.channel, { ...message, type: "work", id: `broken-${index}` });
        await bus.send(contract, { n: index });
      }
      await world.event(bus, "message.dead-lettered", broken.length);
      await got.waitFor(broken.length);
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead.map(({ reason, attempts }) => `${reason} ${attempts}`),
        broken.map(() => "UNDECODABLE 0"),
      );
      assert.ok(
        dead.every(({ errorMessage }) => errorMessage.length > 10),
        "each says what is wrong",
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(
        handledNumbers(got.calls),
        broken.map((_, index) => index),
      );
    },
  },
  {
    id: "R1d",
    title: "a message whose envelope contradicts itself is dead-lettered once, and its neighbours flow",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      const body = utf8('{"n":7}');
      const wrong = [
        { specversion: "1.0", type: "work", source: "/x" },
        { specversion: "1.0", id: "1", type: "work", source: "/x", time: "yesterday" },
        { specversion: "1.0", id: "2", type: "work", source: "/x", messageversion: "-1" },
      ];
      for (const cloudEvent of wrong)
        await world.native.publish(contract.channel, { body, contentType: "application/json", cloudEvent });
      await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.event(bus, "message.dead-lettered", wrong.length);
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead.map(({ reason, message }) => `${reason} ${new TextDecoder().decode(message.body)}`),
        wrong.map(() => 'UNDECODABLE {"n":7}'),
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 1);
    },
  },
  {
    id: "R2",
    title: "on a queue a type or version that nobody handles is dead-lettered, and its neighbours flow",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = workOf(channel);
      const strange = channel.command("strange", { schema: anything<Numbered>() });
      const newer = channel.command("work", { version: 2, schema: anything<Numbered>() });
      const owner = world.bus("billing");
      const got = world.recorder<Numbered>();
      const subscription = owner.handle(contract, got.handler);
      const sender = world.bus("shop");
      sender.declare(contract, strange, newer);
      await Promise.all([owner.start(), sender.start()]);
      await sender.send(strange, { n: 1 });
      await sender.send(newer, { n: 2 });
      await sender.send(contract, { n: 3 });
      await got.waitFor(1);
      await world.event(owner, "message.dead-lettered", 2);
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead
          .map(({ reason, attempts, message }) => `${reason} ${attempts} ${message.type} ${message.version}`)
          .toSorted(),
        ["NO_HANDLER 0 strange 1", "NO_HANDLER 0 work 2"],
      );
      await world.closeAndFindEmpty([owner], [inlet(channel)]);
      assert.deepEqual(
        got.calls.map((call) => call.data.n),
        [3],
      );
    },
  },
  {
    id: "R2t",
    title: "on a topic other types are left out, and an unknown version of a subscribed type is dead-lettered",
    tier: "core",
    async run(world) {
      const channel = world.topic();
      const happened = channel.event("happened", { schema: anything<Numbered>() });
      const newer = channel.event("happened", { version: 2, schema: anything<Numbered>() });
      const other = channel.event("other", { schema: anything<Numbered>() });
      const subscriber = world.bus("billing");
      const got = world.recorder<Numbered>();
      const subscription = subscriber.subscribe(happened, got.handler);
      const publisher = world.bus("shop");
      publisher.declare(happened, newer, other);
      await Promise.all([subscriber.start(), publisher.start()]);
      await publisher.publish(other, { n: 1 });
      await publisher.publish(newer, { n: 2 });
      await publisher.publish(happened, { n: 3 });
      await got.waitFor(1);
      await world.event(subscriber, "message.dead-lettered");
      assert.deepEqual(
        (await subscription.deadLetters.browse()).map(
          ({ reason, message }) => `${reason} ${message.type} ${message.version}`,
        ),
        ["NO_HANDLER happened 2"],
      );
      await world.eventually(
        "what is left out to be gone, too",
        async () => (await world.native.ready(inlet(channel, "billing"))) === 0,
      );
      await world.closeAndFindEmpty([subscriber], [inlet(channel, "billing")]);
      assert.equal(got.calls.length, 1);
      assert.equal(await world.native.ready(deadLetters(channel, "billing")), 1);
    },
  },
];
