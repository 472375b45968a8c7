/** A8: messages from programs that have never heard of Posthorn. */
import assert from "node:assert/strict";
import { utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { workOf } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { inlet } from "../world.ts";

const event = {
  specversion: "1.0",
  id: "ce-1",
  type: "work",
  source: "/elsewhere",
  time: "2026-01-02T03:04:05.678Z",
  correlationid: "flow-1",
  tenant: "acme",
};

export const foreignCases: readonly ContractCase[] = [
  {
    id: "A8",
    title: "a foreign message that names its type and id reaches the handler of that type",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      await world.native.publish(contract.channel, {
        body: utf8(' { "n" : 1 } '),
        contentType: "Application/JSON; charset=UTF-8",
        id: "foreign-1",
        type: "work",
        headers: { tenant: "acme" },
      });
      const [call] = await got.waitFor(1);
      assert.deepEqual(
        { data: call?.data, id: call?.message.id, tenant: call?.message.headers["tenant"] },
        { data: { n: 1 }, id: "foreign-1", tenant: "acme" },
      );
      assert.ok(call?.message.time instanceof Date);
    },
  },
  {
    id: "A8u",
    title:
      "a message without an envelope reaches the handler that takes untyped ones, under one id over all redeliveries",
    tier: "core",
    async run(world) {
      const contract = world.queue().command("work", { schema: anything<Numbered>(), untyped: true });
      const first = world.bus("shop");
      const hold = world.gate();
      const seen = world.recorder<Numbered>(({ context }, index) => {
        if (index === 0) throw new Error("once more");
        return Promise.race([
          hold.opened,
          new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(new Error("stopped")))),
        ]);
      });
      first.handle(contract, seen.handler);
      await first.start();
      await world.native.publish(contract.channel, { body: utf8('{"n":1}') });
      await seen.waitFor(2);
      await first.close({ timeoutMs: 0 });
      const second = world.bus("shop");
      const again = world.recorder<Numbered>();
      second.handle(contract, again.handler);
      await second.start();
      await again.waitFor(1, world.bounds.redeliveryMs);
      const ids = [...seen.calls, ...again.calls].map((call) => call.message.id);
      assert.ok(ids[0] !== undefined && ids[0].length > 0, "it gets an id");
      assert.deepEqual(new Set(ids).size, 1, `one id over all deliveries, not ${ids.join(", ")}`);
      assert.deepEqual(again.calls[0]?.data, { n: 1 });
    },
  },
  {
    id: "A8n",
    title: "a message without an envelope that nobody takes goes to the dead letters, and its neighbours flow",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      await world.native.publish(contract.channel, { body: utf8("hello") });
      await world.native.publish(contract.channel, {
        body: utf8("{}"),
        type: "",
        contentType: "",
        headers: { "": "x", "posthorn-dead-letter": "no json", "posthorn-redrive-count": "-1" },
      });
      await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.event(bus, "message.dead-lettered", 2);
      const dead = await subscription.deadLetters.browse();
      assert.deepEqual(
        dead.map(({ reason, attempts }) => ({ reason, attempts })),
        [
          { reason: "NO_HANDLER", attempts: 0 },
          { reason: "NO_HANDLER", attempts: 0 },
        ],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 1);
    },
  },
  {
    id: "A8b",
    title: "a CloudEvent in binary mode arrives like our own",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      await world.native.publish(contract.channel, {
        body: utf8('{"n":1}'),
        contentType: "application/json",
        cloudEvent: event,
      });
      const [call] = await got.waitFor(1);
      assert.deepEqual(cloudEventFacts(call), expected);
    },
  },
  {
    id: "A8s",
    title: "a CloudEvent in structured mode arrives like our own, with a charset, in any case, and with binary data",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      const bodies = [
        { ...event, datacontenttype: "application/json", data: { n: 1 } },
        { ...event, datacontenttype: "application/json", data_base64: btoa('{"n":1}') },
        { ...event, data: { n: 1 } },
      ];
      for (const contentType of [
        "application/cloudevents+json",
        "application/cloudevents+json; charset=utf-8",
        "Application/CloudEvents+JSON;charset=UTF-8",
      ]) {
        for (const body of bodies)
          await world.native.publish(contract.channel, { body: utf8(JSON.stringify(body)), contentType });
      }
      const calls = await got.waitFor(3 * bodies.length);
      for (const call of calls) assert.deepEqual(cloudEventFacts(call), expected);
    },
  },
];

const expected = {
  data: { n: 1 },
  id: "ce-1",
  type: "work",
  source: "/elsewhere",
  time: Date.parse(event.time),
  correlationId: "flow-1",
  tenant: "acme",
  contentType: "application/json",
};

function cloudEventFacts(
  call:
    | {
        readonly data: unknown;
        readonly message: {
          id: string;
          type: string;
          source: string;
          time: Date;
          correlationId: string;
          contentType: string;
          headers: Readonly<Record<string, string>>;
        };
      }
    | undefined,
): unknown {
  if (call === undefined) return undefined;
  const { id, type, source, time, correlationId, headers, contentType } = call.message;
  return {
    data: call.data,
    id,
    type,
    source,
    time: time.getTime(),
    correlationId,
    tenant: headers["tenant"],
    contentType,
  };
}
