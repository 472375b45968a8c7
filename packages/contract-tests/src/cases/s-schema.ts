/** S: a payload is checked on its way out and on its way in. */
import assert from "node:assert/strict";
import type { StandardSchema } from "@posthorn/core";
import { text, utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { numbered, schema } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

interface Written {
  readonly at: string;
  readonly note?: string;
}

/** Reads a date out of a text, and fills in a note: what comes out is not what goes in, and would not go in again. */
const dated: StandardSchema<Written, { readonly at: Date; readonly note: string }> = schema((value) => {
  const { at, note } = value as { at?: unknown; note?: unknown };
  if (typeof at !== "string" || Number.isNaN(Date.parse(at)))
    return { issues: [{ message: "must be a timestamp", path: ["at"] }] };
  return { value: { at: new Date(at), note: typeof note === "string" ? note : "none" } };
});

export const schemaCases: readonly ContractCase[] = [
  {
    id: "S1",
    title: "a payload that does not match the schema is refused, and nothing is on the wire",
    tier: "core",
    async run(world) {
      const contract = world.queue().command("work", { schema: numbered });
      const bus = world.bus("shop");
      bus.declare(contract);
      await bus.start();
      const error = await rejectsWith("SCHEMA_VIOLATION", () => bus.send(contract, { n: 1.5 }), "a wrong payload");
      assert.match(error.message, /\bn\b/, "the message names the field");
      await rejectsWith("SCHEMA_VIOLATION", () => bus.send(contract, null as unknown as Numbered), "no payload");
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "S2",
    title: "an inbound payload that does not match is dead-lettered at once, with the path of what is wrong",
    tier: "core",
    async run(world) {
      const contract = world.queue().command("work", { schema: numbered });
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      await world.native.publish(contract.channel, {
        body: utf8('{"n":"seven"}'),
        contentType: "application/json",
        id: "wrong",
        type: "work",
      });
      await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.event(bus, "message.dead-lettered");
      const [dead, ...rest] = await subscription.deadLetters.browse();
      assert.deepEqual(
        [dead?.reason, dead?.attempts, dead?.message.id, rest.length],
        ["SCHEMA_VIOLATION", 0, "wrong", 0],
      );
      assert.match(dead?.errorMessage ?? "", /\bn: must be a whole number/, "the error names path and issue");
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 1);
    },
  },
  {
    id: "S2o",
    title: "what is sent is the schema's input, what is handled its output, parsed once for each attempt",
    tier: "core",
    async run(world) {
      const contract = world.queue().document("note", { schema: dated });
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      const input = { at: "2026-01-02T03:04:05.678Z", extra: [1] };
      await sender.send(contract, input);
      assert.deepEqual(
        (await world.native.bodies(inlet(contract.channel))).map(text),
        [JSON.stringify(input)],
        "the input is on the wire as it was given",
      );
      const owner = world.bus("billing");
      const got = world.recorder<{ readonly at: Date; readonly note: string }>((_, index) => {
        if (index === 0) throw new Error("once more");
      });
      owner.handle(contract, got.handler);
      await owner.start();
      await got.waitFor(2);
      for (const call of got.calls) assert.deepEqual(call.data, { at: new Date(input.at), note: "none" });
      await world.closeAndFindEmpty([owner], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "S2v",
    title: "an old consumer takes a newer payload with a field that it does not know",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const old = channel.command("work", { schema: numbered });
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(old, got.handler);
      await bus.start();
      await world.native.publish(channel, {
        body: utf8('{"n":1,"added":{"later":true}}'),
        contentType: "application/json",
        id: "newer",
        type: "work",
      });
      await got.waitFor(1);
      assert.deepEqual(got.calls[0]?.data, { n: 1 }, "the schema says what becomes of it");
    },
  },
];
