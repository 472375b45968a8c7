/** A: what is sent is what arrives. */
import assert from "node:assert/strict";
import { systemClock } from "@posthorn/core";
import type { Clock } from "@posthorn/core";
import { hex } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { blobOf, happenedOn, workOf } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

/** Runs at the computer's pace, and never shows a whole second. */
const clockWithMilliseconds: Clock = { ...systemClock, now: () => Math.floor(Date.now() / 1_000) * 1_000 + 789 };

export const envelopeCases: readonly ContractCase[] = [
  {
    id: "A1",
    title: "every part of the envelope arrives as it was sent, the time to the millisecond",
    tier: "core",
    async run(world) {
      const contract = world
        .queue()
        .command("place-order", { version: 3, schema: anything<{ id: string }>(), key: (order) => order.id });
      const shop = world.bus("shop", { clock: clockWithMilliseconds });
      const billing = world.bus("billing");
      const got = world.recorder<{ id: string }>();
      shop.declare(contract);
      billing.handle(contract, got.handler);
      await Promise.all([shop.start(), billing.start()]);
      const before = clockWithMilliseconds.now();
      const sent = await shop.send(
        contract,
        { id: "o-7 ü" },
        { headers: { tenant: "acme", "X-Mixed": "Case" }, correlationId: "flow/1 ☺", causationId: "cause:1" },
      );
      const after = clockWithMilliseconds.now();
      const [call] = await got.waitFor(1);
      const { message, context } = call ?? assert.fail("no call");
      assert.match(sent.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/, "a new id is a UUIDv7");
      assert.equal(sent.correlationId, "flow/1 ☺");
      assert.ok(
        message.time.getTime() >= before && message.time.getTime() <= after,
        `time ${message.time.toISOString()} lies outside of when it was sent`,
      );
      assert.equal(message.time.getMilliseconds(), 789, "time keeps its milliseconds");
      assert.deepEqual(
        { ...pick(message), data: message.data, headers: { ...message.headers } },
        {
          id: sent.id,
          type: "place-order",
          version: 3,
          source: "shop",
          contentType: "application/json",
          key: "o-7 ü",
          correlationId: "flow/1 ☺",
          causationId: "cause:1",
          data: { id: "o-7 ü" },
          headers: { tenant: "acme", "X-Mixed": "Case" },
        },
      );
      assert.deepEqual(
        {
          attempt: context.attempt,
          correlationId: context.correlationId,
          channel: context.channel.name,
          group: context.group,
        },
        { attempt: 1, correlationId: "flow/1 ☺", channel: contract.channel.name, group: contract.channel.name },
      );
    },
  },
  {
    id: "A1c",
    title: "what a handler sends carries the flow's correlation id, and the id of the message that caused it",
    tier: "core",
    async run(world) {
      const command = workOf(world.queue("commands"));
      const event = happenedOn(world.topic("events"));
      const bus = world.bus("shop");
      const events = world.recorder<{ n: number }>();
      const commands = world.recorder<{ n: number }>(({ context }) => context.publish(event, { n: 2 }));
      bus.handle(command, commands.handler);
      bus.subscribe(event, events.handler);
      await bus.start();
      const first = await bus.send(command, { n: 1 });
      assert.equal(first.correlationId, first.id, "the first message of a flow gives the flow its id");
      const [caused] = await events.waitFor(1);
      assert.deepEqual(
        { correlationId: caused?.message.correlationId, causationId: caused?.message.causationId },
        { correlationId: first.id, causationId: first.id },
      );
      assert.equal(commands.calls[0]?.message.causationId, undefined);
    },
  },
  {
    id: "A4",
    title: "null, an empty text, an empty object and no bytes at all are different bodies and all arrive",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const value = channel.document("value", { schema: anything<unknown>() });
      const blob = blobOf(channel);
      const bus = world.bus("shop");
      const values = world.recorder<unknown>();
      const blobs = world.recorder<Uint8Array>();
      bus.handle(value, values.handler);
      bus.handle(blob, blobs.handler);
      await bus.start();
      const sent = [null, "", {}, [], 0, false, { a: null }, { a: undefined }];
      for (const data of sent) await bus.send(value, data);
      await bus.send(blob, new Uint8Array());
      await bus.send(blob, Uint8Array.of(0));
      await values.waitFor(sent.length);
      await blobs.waitFor(2);
      const texts = (list: readonly unknown[]): string[] => list.map((each) => JSON.stringify(each)).toSorted();
      assert.deepEqual(texts(values.calls.map((call) => call.data)), texts(sent));
      assert.deepEqual(blobs.calls.map((call) => hex(call.data)).toSorted(), ["", "00"]);
    },
  },
  {
    id: "A5",
    title: "payloads that JSON would change are refused, and everything else comes back as it was",
    tier: "core",
    async run(world) {
      const contract = world.queue().document("value", { schema: anything<unknown>() });
      const bus = world.bus("shop");
      const got = world.recorder<unknown>();
      bus.handle(contract, got.handler);
      await bus.start();
      const loop: { self?: unknown } = {};
      loop.self = loop;
      for (const bad of [
        new Date(),
        1n,
        new Map(),
        new Set(),
        Number.NaN,
        Infinity,
        undefined,
        () => 1,
        { deep: [{ at: new Date() }] },
        [undefined],
        loop,
      ]) {
        await rejectsWith("ENCODE_FAILED", () => bus.send(contract, bad), typeof bad);
      }
      const good = JSON.parse(
        '{"__proto__":{"polluted":true},"constructor":1,"minus":-0,"text":"\\u2028 \\ud83d\\ude00 \\u0000","deep":[[[{"a":1e300}]]]}',
      ) as object;
      await bus.send(contract, good);
      const [call] = await got.waitFor(1);
      assert.equal(JSON.stringify(call?.data), JSON.stringify(good));
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 1, "nothing of what was refused was sent");
    },
  },
  {
    id: "A7",
    title: "a second attempt sees the original, whatever the first did to the payload and the headers",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const blob = blobOf(channel);
      const value = channel.document("value", { schema: anything<{ list: number[] }>() });
      const bus = world.bus("shop");
      const spoilHeaders = (headers: Readonly<Record<string, string>>): void =>
        void Reflect.set(headers, "tenant", "spoiled");
      const blobs = world.recorder<Uint8Array>(({ message }, index) => {
        assert.equal(hex(message.data), "010203");
        assert.equal(message.headers["tenant"], "acme");
        message.data.fill(9);
        spoilHeaders(message.headers);
        if (index === 0) throw new Error("once more");
      });
      const values = world.recorder<{ list: number[] }>(({ message }, index) => {
        assert.deepEqual(message.data, { list: [1] });
        message.data.list.push(2);
        spoilHeaders(message.headers);
        if (index === 0) throw new Error("once more");
      });
      bus.handle(blob, blobs.handler);
      bus.handle(value, values.handler);
      await bus.start();
      await bus.send(blob, Uint8Array.of(1, 2, 3), { headers: { tenant: "acme" } });
      await bus.send(value, { list: [1] }, { headers: { tenant: "acme" } });
      await Promise.all([blobs.waitFor(2), values.waitFor(2)]);
      await world.closeAndFindEmpty([bus], [inlet(channel), deadLetters(channel)]);
      assert.deepEqual([blobs.calls.length, values.calls.length], [2, 2], "both second attempts saw the original");
    },
  },
  {
    id: "A7s",
    title: "what is sent is what it was at the call, whatever the sender does to it afterwards",
    tier: "core",
    async run(world) {
      const contract = blobOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Uint8Array>();
      bus.handle(contract, got.handler);
      await bus.start();
      const body = Uint8Array.of(1, 2, 3);
      const sending = bus.send(contract, body);
      body.fill(9);
      await sending;
      const [call] = await got.waitFor(1);
      assert.equal(hex(call?.data ?? body), "010203");
    },
  },
];

function pick(message: {
  id: string;
  type: string;
  version: number;
  source: string;
  contentType: string;
  key: string | undefined;
  correlationId: string;
  causationId: string | undefined;
}): Record<string, unknown> {
  const { id, type, version, source, contentType, key, correlationId, causationId } = message;
  return { id, type, version, source, contentType, key, correlationId, causationId };
}
