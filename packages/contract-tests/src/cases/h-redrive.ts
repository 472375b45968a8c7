/** H4: dead letters go back to the group that failed, and to no other. */
import assert from "node:assert/strict";
import { deadLetter } from "@posthorn/core";
import { hex } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { handledNumbers, happenedOn, numbers, workOf } from "../contracts.ts";
import { morgue } from "../morgue.ts";
import type { Recorder } from "../recorder.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

const attemptsOf = ({ calls }: Recorder<Numbered>, from: number): number[] =>
  calls.slice(from).map(({ context }) => context.attempt);

export const redriveCases: readonly ContractCase[] = [
  {
    id: "H4",
    title:
      "a redrive sends every dead letter of a group back to that group alone, under the same id, with attempts counted afresh; run again it finds nothing",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      const [failing, fine] = [world.bus("failing"), world.bus("fine")];
      let broken = true;
      const failed = world.recorder<Numbered>(() => {
        if (broken) throw new Error("broken");
      });
      const got = world.recorder<Numbered>();
      const { deadLetters: dead } = failing.subscribe(event, failed.handler);
      const { deadLetters: none } = fine.subscribe(event, got.handler);
      await Promise.all([failing.start(), fine.start()]);
      const ids = await Promise.all(numbers(5).map(async (n) => (await fine.publish(event, { n })).id));
      await world.event(failing, "message.dead-lettered", 5);
      await got.waitFor(5);
      broken = false;
      assert.deepEqual(await none.redrive(), { redriven: 0, unmatched: 0, guarded: 0 });
      const before = failed.calls.length;
      assert.deepEqual(await world.within("the redrive", dead.redrive()), { redriven: 5, unmatched: 0, guarded: 0 });
      await failed.waitFor(before + 5);
      const again = failed.calls.slice(before);
      assert.deepEqual(again.map(({ message }) => message.id).toSorted(), ids.toSorted(), "under their ids");
      assert.deepEqual(attemptsOf(failed, before), [1, 1, 1, 1, 1], "attempts are counted afresh");
      const told = await world.event(failing, "dead-letter.redriven", 5);
      assert.deepEqual(
        told.map(({ group, redriveCount }) => `${group} ${redriveCount}`),
        numbers(5).map(() => "failing 1"),
      );
      assert.deepEqual(await dead.redrive(), { redriven: 0, unmatched: 0, guarded: 0 }, "the second run finds none");
      assert.deepEqual(await dead.browse(), []);
      await world.closeAndFindEmpty(
        [failing, fine],
        ["failing", "fine"].flatMap((group) => [inlet(event.channel, group), deadLetters(event.channel, group)]),
      );
      assert.deepEqual([failed.calls.length, handledNumbers(got.calls)], [before + 5, numbers(5)]);
    },
  },
  {
    id: "H4e",
    title: "what is redriven is the message as it was sent: bytes, headers, key, time and flow",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = channel.command("work", { version: 3, schema: anything<Numbered>(), key: () => "the key" });
      const bus = world.bus("shop");
      let broken = true;
      const got = world.recorder<Numbered>(() => {
        if (broken) throw new Error("broken");
      });
      const { deadLetters: dead } = bus.handle(contract, got.handler);
      await bus.start();
      await bus.send(
        contract,
        { n: 1 },
        { headers: { tenant: "acme", odd: " x " }, correlationId: "flow", causationId: "cause" },
      );
      await world.event(bus, "message.dead-lettered");
      broken = false;
      await dead.redrive();
      await got.waitFor(4);
      const envelopes = got.calls.map(({ message }) => ({
        id: message.id,
        type: message.type,
        version: message.version,
        source: message.source,
        time: message.time,
        contentType: message.contentType,
        key: message.key,
        correlationId: message.correlationId,
        causationId: message.causationId,
        headers: message.headers,
        data: message.data,
      }));
      assert.deepEqual(envelopes[3], envelopes[0]);
      await world.closeAndFindEmpty([bus], [inlet(channel), deadLetters(channel)]);
    },
  },
  {
    id: "H4o",
    title: "one dead letter can be redriven by its id; when it dies again its redrive count is 1",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead, ids } = await morgue(world, 4);
      const chosen = ids[2] ?? "";
      assert.deepEqual(await dead.redrive({ ids: [chosen, "nobody"] }), { redriven: 1, unmatched: 3, guarded: 0 });
      await world.event(bus, "message.dead-lettered", 5);
      assert.equal(got.calls[4]?.message.id, chosen);
      assert.deepEqual(
        Object.fromEntries((await dead.browse()).map(({ message, redriveCount }) => [message.id, redriveCount])),
        Object.fromEntries(ids.map((id) => [id, id === chosen ? 1 : 0])),
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.deepEqual(attemptsOf(got, 4), [1]);
    },
  },
  {
    id: "H4w",
    title: "dead letters can be chosen by reason, error, type, time and anything else; the others stay",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const [work, other] = [workOf(channel), channel.command("other", { schema: anything<Numbered>() })];
      const bus = world.bus("shop", { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } });
      let broken = true;
      const react = ({ data }: { readonly data: Numbered }): void => {
        if (!broken) return;
        if (data.n === 0) throw new RangeError("too far");
        if (data.n === 1) throw new TypeError("not that");
        throw deadLetter("enough");
      };
      const got = world.recorder<Numbered>(react);
      const { deadLetters: dead } = bus.handle(work, got.handler);
      bus.handle(other, got.handler);
      await bus.start();
      const wanted = [
        [work, 0],
        [work, 1],
        [work, 2],
        [other, 0],
        [other, 1],
        [other, 3],
      ] as const;
      for (const [index, [contract, n]] of wanted.entries()) {
        await bus.send(contract, { n });
        await world.event(bus, "message.dead-lettered", index + 1);
      }
      broken = false;
      const counts = async (
        redriving: Promise<{ readonly redriven: number; readonly unmatched: number }>,
      ): Promise<readonly number[]> => {
        const { redriven, unmatched } = await redriving;
        return [redriven, unmatched];
      };
      assert.deepEqual(await counts(dead.redrive({ failedBefore: new Date(0) })), [0, 6], "none is as old as that");
      assert.deepEqual(await counts(dead.redrive({ errorName: "RangeError", type: "work" })), [1, 5]);
      assert.deepEqual(await counts(dead.redrive({ reason: "DEAD_LETTERED" })), [2, 3]);
      assert.deepEqual(await counts(dead.redrive({ type: "work" })), [1, 2]);
      assert.deepEqual(
        await counts(dead.redrive({ where: ({ errorMessage }) => errorMessage.includes("far") })),
        [1, 1],
      );
      assert.deepEqual(await counts(dead.redrive({ failedBefore: new Date(Date.now() + 60_000) })), [1, 0]);
      await got.waitFor(12);
      await world.closeAndFindEmpty([bus], [inlet(channel), deadLetters(channel)]);
      assert.deepEqual(
        got.calls
          .slice(6)
          .map(({ message, data }) => `${message.type} ${data.n}`)
          .toSorted(),
        wanted.map(([contract, n]) => `${contract.type} ${n}`).toSorted(),
      );
    },
  },
  {
    id: "H4g",
    title: "a bus that consumes nothing can redrive the dead letters of any group, and of that group only",
    tier: "core",
    async run(world) {
      const event = happenedOn(world.topic());
      let broken = true;
      const services = ["billing", "shipping"].map((service) => {
        const bus = world.bus(service);
        const got = world.recorder<Numbered>(() => {
          if (broken) throw deadLetter("broken");
        });
        bus.subscribe(event, got.handler);
        return { service, bus, got };
      });
      const operator = world.bus("operator");
      const desk = operator.deadLetters(event.channel, "shipping");
      await rejectsWith("NOT_STARTED", () => desk.redrive(), "a redrive before start");
      await Promise.all([operator, ...services.map(({ bus }) => bus)].map((bus) => bus.start()));
      const [billing, shipping] = services;
      assert.ok(billing !== undefined && shipping !== undefined);
      const queue = world.queue("with-one-group");
      await rejectsWith("INVALID_DECLARATION", () => operator.deadLetters(queue, "shipping"), "a group of a queue");
      const publisher = world.bus("shop");
      publisher.declare(event);
      await publisher.start();
      await Promise.all(numbers(3).map((n) => publisher.publish(event, { n })));
      for (const { bus } of services) await world.event(bus, "message.dead-lettered", 3);
      broken = false;
      assert.equal((await desk.depth()).ready, 3);
      assert.deepEqual(await desk.redrive(), { redriven: 3, unmatched: 0, guarded: 0 });
      await shipping.got.waitFor(6);
      const others = await operator.deadLetters(event.channel, "billing").browse();
      assert.deepEqual(
        others.map(({ group, redriveCount }) => `${group} ${redriveCount}`),
        ["billing 0", "billing 0", "billing 0"],
      );
      await world.closeAndFindEmpty(
        [operator, ...services.map(({ bus }) => bus)],
        services.map(({ service }) => inlet(event.channel, service)),
      );
      assert.deepEqual([billing.got.calls.length, shipping.got.calls.length], [3, 6]);
    },
  },
  {
    id: "H4u",
    title: "what could not be understood is redriven byte for byte, and dead again with its redrive counted",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      const { deadLetters: dead } = bus.handle(contract, got.handler);
      await bus.start();
      const body = Uint8Array.of(0x7b, 0xff, 0x00, 0x22);
      await world.native.publish(contract.channel, {
        body,
        contentType: "application/json",
        type: "work",
        id: "broken",
      });
      await world.event(bus, "message.dead-lettered");
      assert.equal((await dead.redrive()).redriven, 1);
      await world.event(bus, "message.dead-lettered", 2);
      assert.deepEqual(
        (await dead.browse()).map(({ message, reason, redriveCount }) => [hex(message.body), reason, redriveCount]),
        [[hex(body), "UNDECODABLE", 1]],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 0);
    },
  },
];
