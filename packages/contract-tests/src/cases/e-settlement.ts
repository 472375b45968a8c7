/** E: what was handled is gone, what was not comes back. */
import assert from "node:assert/strict";
import type { Message, Settlement } from "@posthorn/core/transport";
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import { text } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { handledNumbers, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { numberedRollCall } from "../roll-call.ts";
import type { Numbered } from "../schema.ts";
import { plain, queueTopology } from "../topology.ts";
import { deadLetters, inlet } from "../world.ts";

export const settlementCases: readonly ContractCase[] = [
  {
    id: "E1",
    title: "what a handler has handled does not come back when its consumer restarts",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const first = world.bus("shop");
      const got = world.recorder<Numbered>();
      first.handle(contract, got.handler);
      await first.start();
      await Promise.all(numbers(20).map((n) => first.send(contract, { n })));
      await got.waitFor(20);
      await first.close();
      const second = world.bus("shop");
      const again = world.recorder<Numbered>();
      second.handle(contract, again.handler);
      await second.start();
      await second.send(contract, { n: 99 });
      await again.waitFor(1);
      await world.closeAndFindEmpty([second], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(
        again.calls.map((call) => call.data.n),
        [99],
      );
      assert.equal(got.calls.length, 20);
    },
  },
  {
    id: "E2",
    title: "a message whose handler throws once comes again under the same id, as attempt 2",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>((_, index) => {
        if (index === 0) throw new Error("once");
      });
      bus.handle(contract, got.handler);
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 }, { headers: { tenant: "acme" } });
      const calls = await got.waitFor(2, world.bounds.redeliveryMs);
      assert.deepEqual(
        calls.map(({ message, context }) => [message.id, context.attempt, message.headers["tenant"]]),
        [
          [id, 1, "acme"],
          [id, 2, "acme"],
        ],
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 2);
    },
  },
  {
    id: "E2r",
    title: "what a consumer gives back comes again, whole, and only to its own group",
    tier: "core",
    async run(world) {
      const channel = world.topic();
      const info = plain(channel);
      const transport = await world.transport({
        channels: [info],
        groups: ["one", "two"].map((name) => ({ channel: info, name, types: ["work"] })),
      });
      const seen: Record<string, string[]> = { one: [], two: [] };
      const message = plainMessage({
        headers: { tenant: "acme", trailing: " x " },
        key: "k",
        correlationId: "flow",
        causationId: "cause",
      });
      const deliveries: Message[] = [];
      for (const group of ["one", "two"]) {
        const consumption = await transport.consume(
          inletAddress(info, group),
          async (delivery): Promise<Settlement> => {
            const here = seen[group] ?? [];
            here.push(delivery.message.id);
            deliveries.push(delivery.message);
            return group === "one" && here.length < 3 ? "release" : "accept";
          },
          { ...world.waiting, maxInFlight: 5 },
        );
        world.defer(() => consumption.stop());
      }
      await transport.dispatch([{ address: channelAddress(info), message }], world.waiting);
      await world.eventually("three deliveries to the group that gives back", () => seen["one"]?.length === 3, {
        withinMs: world.bounds.redeliveryMs,
        seen: () => seen,
      });
      await world.eventually(
        "nothing to wait for either group",
        async () =>
          (await world.native.ready(inlet(channel, "one"))) + (await world.native.ready(inlet(channel, "two"))) === 0,
      );
      const plainly = ({ headers, body, ...envelope }: Message): unknown => ({
        ...envelope,
        headers: { ...headers },
        body: text(body),
      });
      for (const delivery of deliveries) assert.deepEqual(plainly(delivery), plainly(message));
      assert.deepEqual(seen, { one: [message.id, message.id, message.id], two: [message.id] });
    },
  },
  {
    id: "E2o",
    title: "every delivery has objects of its own, whatever was done to those of another",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      const seen: string[] = [];
      const consumption = await transport.consume(
        inletAddress(info, info.name),
        async ({ message }): Promise<Settlement> => {
          const count = seen.push(`${text(message.body)} ${message.headers["tenant"]}`);
          message.body.fill(0);
          Reflect.set(message.headers, "tenant", "spoiled");
          return count < 3 ? "release" : "accept";
        },
        { ...world.waiting, maxInFlight: 1 },
      );
      world.defer(() => consumption.stop());
      await transport.dispatch(
        [{ address: channelAddress(info), message: plainMessage({ headers: { tenant: "acme" } }) }],
        world.waiting,
      );
      await world.eventually("three deliveries", () => seen.length === 3, { withinMs: world.bounds.redeliveryMs });
      assert.deepEqual(seen, ['{"n":1} acme', '{"n":1} acme', '{"n":1} acme']);
    },
  },
  {
    id: "E3f",
    title: "when a consumer is killed inside its handlers, another one takes what it held",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      const ids = await Promise.all(numbers(20).map(async (n) => (await sender.send(contract, { n })).id));
      const doomed = await world.faults.startHangingConsumer({
        queue: contract.channel.name,
        type: contract.type,
        concurrency: 5,
      });
      world.defer(() => doomed.kill());
      await world.within("five handlers of the doomed consumer to start", doomed.handling(5), world.bounds.resumeMs);
      await doomed.kill();
      const survivor = world.bus("shop");
      const got = world.recorder<Numbered>();
      survivor.handle(contract, got.handler);
      await survivor.start();
      await got.waitFor(20, world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([survivor], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(got.calls.map((call) => call.message.id).toSorted(), ids.toSorted());
    },
  },
  {
    id: "E4",
    title: "the attempt number over three failures is 1, 2, 3",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>(() => {
        throw new Error("always");
      });
      const subscription = bus.handle(contract, got.handler);
      await bus.start();
      await bus.send(contract, { n: 1 });
      await world.event(bus, "message.dead-lettered");
      assert.deepEqual(
        got.calls.map((call) => call.context.attempt),
        [1, 2, 3],
      );
      assert.deepEqual(
        (await subscription.deadLetters.browse()).map(({ attempts }) => attempts),
        [3],
      );
    },
  },
  {
    id: "E5",
    title: "a settlement that comes after the transport was closed throws nothing and settles nothing",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const source = inletAddress(info, info.name);
      const first = await world.transport(queueTopology(channel));
      const held = world.gate();
      const lost: AbortSignal[] = [];
      await first.consume(
        source,
        async (delivery) => {
          lost.push(delivery.lost);
          await held.opened;
          return "accept";
        },
        { ...world.waiting, maxInFlight: 1 },
      );
      await first.dispatch([{ address: channelAddress(info), message: plainMessage() }], world.waiting);
      await world.eventually("the delivery", () => lost.length === 1);
      await world.within("the transport to close hard", first.close({ signal: AbortSignal.abort() }));
      await world.eventually("the lease to be lost with the transport", () => lost[0]?.aborted === true);
      const second = await world.transport(queueTopology(channel));
      const got: string[] = [];
      const consumption = await second.consume(
        source,
        async ({ message }) => {
          got.push(message.id);
          return "accept";
        },
        { ...world.waiting, maxInFlight: 1 },
      );
      world.defer(() => consumption.stop());
      await world.eventually("the message to come again", () => got.length === 1, {
        withinMs: world.bounds.redeliveryMs,
      });
      held.open();
      await second.dispatch([{ address: channelAddress(info), message: plainMessage() }], world.waiting);
      await world.eventually("the next message", () => got.length === 2);
    },
  },
  {
    id: "E6f",
    title: "a consumer that was frozen beyond its lease learns that it lost it, and its late settlement touches nobody",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const frozen = world.bus("shop", { transport: link.openTransport(), concurrency: 1 });
      const hold = world.gate();
      const held = world.recorder<Numbered>((_, index) => (index === 0 ? hold.opened : undefined));
      frozen.handle(contract, held.handler);
      await frozen.start();
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      const { id } = await sender.send(contract, { n: 0 });
      await held.waitFor(1);
      const successor = world.bus("shop", { concurrency: 1 });
      const got = world.recorder<Numbered>();
      successor.handle(contract, got.handler);
      await successor.start();
      await link.stall();
      await got.waitFor(1, world.bounds.detectMs + world.bounds.redeliveryMs);
      assert.equal(got.calls[0]?.message.id, id);
      await link.restore();
      const signal = held.calls[0]?.context.signal;
      await world.eventually("the frozen handler's signal to fire", () => signal?.aborted === true, {
        withinMs: world.bounds.detectMs,
      });
      hold.open();
      await world.eventually("the frozen consumer to be back", () => frozen.health().transport.status === "connected", {
        withinMs: world.bounds.resumeMs,
        seen: () => frozen.health(),
      });
      await Promise.all(numbers(20).map((n) => sender.send(contract, { n: n + 1 })));
      await world.eventually("the rest", () => held.calls.length + got.calls.length >= 22);
      await world.closeAndFindEmpty([frozen, successor], [inlet(contract.channel), deadLetters(contract.channel)]);
      const all = handledNumbers([...held.calls, ...got.calls]);
      assert.deepEqual(all, [0, ...numbers(21)], "the held one twice, every other one once");
    },
  },
  {
    id: "E7",
    title: "a handler that outlives the lease three times is called once, and the group goes on afterwards",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const [slow, other] = [world.bus("shop", { concurrency: 2 }), world.bus("shop", { concurrency: 2 })];
      const hold = world.gate();
      const got = world.recorder<Numbered>(({ data }) => (data.n === 0 ? hold.opened : undefined));
      const rollCall = numberedRollCall(world);
      for (const [index, bus] of [slow, other].entries()) {
        bus.handle(contract, rollCall.answering(`instance ${index}`, got.handler));
        await bus.start();
      }
      await rollCall.complete((call) => slow.send(contract, call));
      await slow.send(contract, { n: 0 });
      await got.waitFor(1);
      const started = performance.now();
      // Others come and go meanwhile, so that the time is no mere wait.
      for (let n = 1; performance.now() - started < 3 * world.bounds.leaseMs; n++) {
        await slow.send(contract, { n });
        await got.waitFor(n + 1);
      }
      assert.equal(got.calls[0]?.context.signal.aborted, false, "its lease was kept");
      hold.open();
      await world.closeAndFindEmpty([slow, other], [inlet(contract.channel), deadLetters(contract.channel)]);
      const handled = got.calls.map((call) => call.data.n);
      assert.equal(new Set(handled).size, handled.length, "none was handled twice");
    },
  },
];
