/** H: what cannot be handled is kept, whole, with the reason. */
import assert from "node:assert/strict";
import type { DeadLetter } from "@posthorn/core";
import { deadLetter } from "@posthorn/core";
import type { Receipt } from "@posthorn/core/transport";
import { failed, PosthornError } from "@posthorn/core/transport";
import { awkwardBytes, hex, utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { blobOf, workOf } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";
import { wrapTransport } from "../wrap-transport.ts";

const fail = (): never => {
  throw new RangeError("the price is negative");
};

export const deadLetterCases: readonly ContractCase[] = [
  {
    id: "H1",
    title: "a dead letter has the original bytes, headers and envelope, and says why, how often, where and when",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = channel.command("work", { version: 2, schema: anything<Numbered>(), key: () => "the key" });
      const bus = world.bus("billing", { serviceVersion: "1.2.3" });
      const subscription = bus.handle(contract, fail);
      const shop = world.bus("shop");
      shop.declare(contract);
      await Promise.all([bus.start(), shop.start()]);
      const before = Date.now();
      const { id } = await shop.send(
        contract,
        { n: 1 },
        { headers: { tenant: "acme", odd: " x " }, correlationId: "flow", causationId: "cause" },
      );
      await world.event(bus, "message.dead-lettered");
      const after = Date.now();
      const all = await subscription.deadLetters.browse();
      const [dead] = all;
      assert.ok(dead !== undefined && all.length === 1, `one dead letter, not ${all.length}`);
      const { message, firstFailedAt, lastFailedAt, ...why } = dead;
      assert.deepEqual(why, {
        reason: "ATTEMPTS_EXHAUSTED",
        errorName: "RangeError",
        errorMessage: "the price is negative",
        attempts: 3,
        channel: channel.name,
        group: channel.name,
        service: "billing",
        serviceVersion: "1.2.3",
        redriveCount: 0,
      });
      assert.ok(
        firstFailedAt !== undefined &&
          lastFailedAt !== undefined &&
          before <= firstFailedAt.getTime() &&
          firstFailedAt < lastFailedAt &&
          lastFailedAt.getTime() <= after,
        `${firstFailedAt?.toISOString()} … ${lastFailedAt?.toISOString()}`,
      );
      const {
        id: deadId,
        type,
        version,
        source,
        contentType,
        key,
        correlationId,
        causationId,
        headers,
        body,
      } = message;
      assert.deepEqual(
        {
          deadId,
          type,
          version,
          source,
          contentType,
          key,
          correlationId,
          causationId,
          headers: { ...headers },
          body: new TextDecoder().decode(body),
        },
        {
          deadId: id,
          type: "work",
          version: 2,
          source: "shop",
          contentType: "application/json",
          key: "the key",
          correlationId: "flow",
          causationId: "cause",
          headers: { tenant: "acme", odd: " x " },
          body: '{"n":1}',
        },
      );
      await world.closeAndFindEmpty([bus], [inlet(channel)]);
    },
  },
  {
    id: "H1b",
    title: "a dead letter's body is the original byte for byte, however the message was written",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const bus = world.bus("shop");
      const blob = blobOf(channel);
      const subscription = bus.handle(blob, fail, { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } });
      bus.handle(workOf(channel), fail, { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } });
      await bus.start();
      const written = '\r\n{ "n" : 1.0e0 ,\t"n":  1, "text": "\\u00e9 é" } ';
      await bus.send(blob, awkwardBytes);
      await world.native.publish(channel, {
        body: utf8(written),
        contentType: "application/json",
        type: "work",
        id: "foreign",
      });
      await world.event(bus, "message.dead-lettered", 2);
      const bodies = (await subscription.deadLetters.browse()).map(({ message }) => hex(message.body));
      assert.deepEqual(bodies.toSorted(), [hex(awkwardBytes), hex(utf8(written))].toSorted());
      const raw = await world.native.bodies(deadLetters(channel));
      assert.deepEqual(raw.map(hex).toSorted(), bodies.toSorted(), "and so they are on the broker");
    },
  },
  {
    id: "H2f",
    title:
      "when the connection breaks between the dead letter and the settlement, the message is dead at least once and never lost",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const inner = link.openTransport();
      let breaks = 0;
      const transport = wrapTransport(inner, {
        async dispatch(batch, options) {
          const receipts = await inner.dispatch(batch, options);
          if (batch[0]?.address.kind === "dead-letters" && breaks++ === 0) await link.down();
          return receipts;
        },
      });
      const bus = world.bus("shop", { transport });
      const got = world.recorder<Numbered>(() => {
        throw deadLetter("no");
      });
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await world.eventually("the connection to break behind the dead letter", () => breaks > 0);
      await link.restore();
      await world.eventually(
        "the message to be settled",
        async () =>
          (await world.native.ready(inlet(contract.channel))) === 0 &&
          bus.health().handling === 0 &&
          bus.health().transport.status === "connected",
        { withinMs: world.bounds.resumeMs + world.bounds.redeliveryMs },
      );
      await bus.send(contract, { n: 2 });
      const dead = await world.eventually(
        "both to be dead",
        async (): Promise<readonly DeadLetter[] | false> => {
          const found = await subscription.deadLetters.browse();
          return new Set(found.map(({ message }) => message.id)).size === 2 && found;
        },
        { withinMs: world.bounds.redeliveryMs },
      );
      assert.ok(dead.some(({ message }) => message.id === id));
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
    },
  },
  {
    id: "H2b",
    title: "while the broker takes no messages, what must be dead-lettered is kept: a successor gets it",
    tier: "fault",
    async run(world) {
      world.tolerate("message.handover-failed");
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const hold = world.gate();
      const got = world.recorder<Numbered>(async () => {
        await hold.opened;
        throw deadLetter("no");
      });
      bus.handle(contract, got.handler);
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.faults.blockPublishers();
      world.defer(() => world.faults.unblockPublishers());
      hold.open();
      await world.eventually("the handler to have failed", () => got.running === 0);
      await world.within("close", bus.close({ timeoutMs: 100 }));
      assert.ok(
        !world.events(bus).some(({ name }) => name === "message.dead-lettered"),
        "nothing is told to be dead-lettered",
      );
      await world.faults.unblockPublishers();
      const successor = world.bus("shop");
      const again = world.recorder<Numbered>();
      successor.handle(contract, again.handler);
      await successor.start();
      await again.waitFor(1, world.bounds.redeliveryMs);
      assert.equal(again.calls[0]?.message.id, id);
      await world.closeAndFindEmpty([successor], [inlet(contract.channel)]);
    },
  },
  {
    id: "H3",
    title: "while the broker refuses the dead letter, the message stays, the error is told, and nothing turns hot",
    tier: "core",
    async run(world) {
      world.tolerate("message.handover-failed");
      const contract = workOf(world.queue());
      const inner = world.harness.openTransport();
      let refused = 0;
      let refuses = true;
      const transport = wrapTransport(inner, {
        async dispatch(batch, options) {
          if (!refuses || batch[0]?.address.kind !== "dead-letters") return inner.dispatch(batch, options);
          refused++;
          return batch.map((): Receipt =>
            failed(new PosthornError("ACCESS_REFUSED", "This account may not write dead letters.")),
          );
        },
      });
      const bus = world.bus("shop", { transport });
      const got = world.recorder<Numbered>(({ data }) => {
        if (data.n === 1) throw deadLetter("no");
      });
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      await bus.send(contract, { n: 1 });
      await world.event(bus, "message.handover-failed");
      for (let n = 2; n < 50; n++) await bus.send(contract, { n });
      await got.waitFor(49);
      const started = performance.now();
      await world.event(bus, "message.handover-failed", 2);
      const perSecond = refused / Math.max(1, (performance.now() - started) / 1_000);
      assert.ok(perSecond < 20, `no hot loop: ${refused} tries`);
      assert.deepEqual(got.calls.filter((call) => call.data.n === 1).length, 1, "its handler is not called again");
      refuses = false;
      await world.event(bus, "message.dead-lettered", 1);
      assert.equal((await subscription.deadLetters.browse()).length, 1);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
    },
  },
  {
    id: "H3d",
    title:
      "when the dead-letter channel was deleted, no message is lost: it stays, or the channel comes back and has it",
    tier: "core",
    async run(world) {
      world.tolerate("message.handover-failed");
      const contract = workOf(world.queue());
      const bus = world.bus("shop", { publishTimeoutMs: world.bounds.patienceMs });
      const got = world.recorder<Numbered>(() => {
        throw deadLetter("no");
      });
      bus.handle(contract, got.handler);
      await bus.start();
      await world.native.delete(deadLetters(contract.channel));
      const { id } = await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.eventually(
        "a word about the dead letter",
        () =>
          world.events(bus).some(({ name }) => name === "message.handover-failed" || name === "message.dead-lettered"),
        { withinMs: 3 * world.bounds.patienceMs },
      );
      await bus.close({ timeoutMs: 0 });
      // A fresh start makes what is missing. Whatever the broker did meanwhile, the message must be somewhere.
      const again = world.bus("shop");
      const rest = world.recorder<Numbered>(() => {
        throw deadLetter("no");
      });
      const subscription = again.handle(contract, rest.handler);
      await again.start();
      await world.eventually(
        "the message among the dead letters",
        async () => (await subscription.deadLetters.browse()).some(({ message }) => message.id === id),
        { withinMs: world.bounds.redeliveryMs, seen: () => world.events(bus).map(({ name }) => name) },
      );
      await world.closeAndFindEmpty([again], [inlet(contract.channel)]);
    },
  },
];
