/** I: keys change hands without changing their order: instances come and go, connections and brokers break. */
import assert from "node:assert/strict";
import type { Bus, QueueContract, Transport } from "@posthorn/core";
import type { Settlement } from "@posthorn/core/transport";
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import type { Keyed } from "../contracts.ts";
import { keyedWorkOf, numbers } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import type { OrderLog } from "../order-log.ts";
import { assertFirstsInOrder, assertOrderAcross, createOrderLog, keysOf } from "../order-log.ts";
import { plain, queueTopology } from "../topology.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

interface Stream {
  readonly contract: QueueContract<Keyed, Keyed>;
  readonly log: OrderLog;
  readonly keys: readonly string[];
  readonly perKey: number;
  join(transport?: Transport): Promise<Bus>;
  /** Resolves when everything was sent. Each key's messages are sent one after the other. */
  readonly sent: () => Promise<unknown>;
  /** Resolves when so many different messages were handled. */
  handled(count: number): Promise<void>;
}

/** A stream of messages that goes on while instances come and go. */
async function startStream(world: World, keyCount: number, perKey: number, transport?: Transport): Promise<Stream> {
  const contract = keyedWorkOf(world.orderedQueue());
  const log = createOrderLog(world);
  const keys = keysOf(keyCount);
  const timeoutMs = 3 * world.bounds.resumeMs;
  const sender = world.bus("shop", { publishTimeoutMs: timeoutMs, ...(transport === undefined ? {} : { transport }) });
  sender.declare(contract);
  await sender.start();
  let joined = 0;
  return {
    contract,
    log,
    keys,
    perKey,
    async join(transport) {
      const bus = world.bus("billing", { concurrency: 4, ...(transport === undefined ? {} : { transport }) });
      bus.handle(contract, log.handlerOf(`instance ${joined++}`));
      await bus.start({ timeoutMs });
      return bus;
    },
    sent: () =>
      Promise.all(
        keys.map(async (key) => {
          for (const seq of numbers(perKey)) await sender.send(contract, { key, seq });
        }),
      ),
    handled: (count) => log.waitForDistinct(count, 2 * world.bounds.resumeMs + world.bounds.redeliveryMs),
  };
}

async function endStream(world: World, { contract, log, keys, perKey }: Stream, buses: readonly Bus[]): Promise<void> {
  await world.drained(buses, [inlet(contract.channel)], world.bounds.resumeMs + world.bounds.redeliveryMs);
  await world.closeAndFindEmpty(buses, [inlet(contract.channel), deadLetters(contract.channel)]);
  assertFirstsInOrder(log, keys, perKey);
}

export const orderChangingHandsCases: readonly ContractCase[] = [
  {
    id: "I6",
    title:
      "an instance that closes finishes what it handles; what waited behind it goes to another one, in order, once",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const hold = world.gate();
      const first = world.bus("billing", { concurrency: 4 });
      const started = world.recorder<Keyed>();
      const handler = log.handlerOf("first", ({ data }) => (data.seq === 0 ? hold.opened : undefined));
      first.handle(contract, (message, context) => {
        void started.handler(message, context);
        return handler(message, context);
      });
      await first.start();
      const keys = keysOf(3);
      await Promise.all(numbers(20).flatMap((seq) => keys.map((key) => first.send(contract, { key, seq }))));
      await started.waitFor(3);
      const second = world.bus("billing", { concurrency: 4 });
      second.handle(contract, log.handlerOf("second"));
      await second.start();
      const closing = first.close();
      await world.eventually("the first one to be closing", () => first.health().status === "closing");
      hold.open();
      await world.within("the first one to close", closing);
      await log.waitForDistinct(60, world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([second], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertOrderAcross(world, log, keys, 20);
    },
  },
  {
    id: "I6d",
    title: "an instance whose time to close is over gives everything back; another one handles it in order",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const log = createOrderLog(world);
      const first = world.bus("billing", { concurrency: 4 });
      const started = world.recorder<Keyed>(
        ({ context }) =>
          new Promise((_, reject) => {
            context.signal.addEventListener("abort", () => reject(new Error("told to stop")), { once: true });
          }),
      );
      first.handle(contract, started.handler);
      await first.start();
      const keys = keysOf(3);
      await Promise.all(numbers(20).flatMap((seq) => keys.map((key) => first.send(contract, { key, seq }))));
      await started.waitFor(3);
      await world.within("the first one to close", first.close({ timeoutMs: 50 }));
      const second = world.bus("billing", { concurrency: 4 });
      second.handle(contract, log.handlerOf("second"));
      await second.start();
      await log.waitForDistinct(60, world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([second], [inlet(contract.channel), deadLetters(contract.channel)]);
      assertOrderAcross(world, log, keys, 20);
    },
  },
  {
    id: "I6t",
    title:
      "a transport delivers the messages of a key in order to one consumption; no other one gets any while it has one unsettled, also after stop; what it releases comes again in order",
    tier: "core",
    needs: ["ordering"],
    async run(world) {
      const channel = world.orderedQueue();
      const info = plain(channel);
      const source = inletAddress(info, info.name);
      const topology = queueTopology(channel);
      // Both have their share from the beginning: who joins later may take keys over, and those who had them are told.
      const silent = new Set(["one", "other"]);
      const consumers = await Promise.all(
        ["one", "other"].map(async (name) => {
          const transport = await world.transport(topology);
          const held: { readonly id: string; readonly settle: (settlement: Settlement) => void }[] = [];
          const got: string[] = [];
          const consumption = await transport.consume(
            source,
            async ({ message }): Promise<Settlement> => {
              if (message.id.startsWith("call-")) {
                silent.delete(name);
                return "accept";
              }
              got.push(message.id);
              if (!message.id.startsWith("k-") || released) return "accept";
              return new Promise((resolve) => void held.push({ id: message.id, settle: resolve }));
            },
            { ...world.waiting, maxInFlight: 1_024 },
          );
          world.defer(() => consumption.stop());
          return { name, transport, held, got, consumption };
        }),
      );
      let released = false;
      const [sender] = consumers;
      const send = async (key: string, id: string): Promise<void> => {
        const message = plainMessage({ id, key });
        const receipts = await sender?.transport.dispatch([{ address: channelAddress(info), message }], world.waiting);
        assert.deepEqual(receipts, [{ accepted: true }]);
      };
      let calls = 0;
      await world.eventually("both to have joined", async () => {
        // Elsewhere nobody need have keys.
        if (silent.size === 0 || world.harness.capabilities.settlement === "message") return true;
        await send(`call-${calls}`, `call-${calls++}`);
        return false;
      });
      // A broker may hand out of a key only what is there at once.
      for (const { consumption } of consumers) consumption.pause();
      for (const n of numbers(6)) await send("k", `k-${n}`);
      for (const { consumption } of consumers) consumption.resume();
      const owner = await world.eventually("all six to come, one behind the other", () =>
        consumers.find(({ held }) => held.length === 6),
      );
      const successor = consumers.find((each) => each !== owner) ?? assert.fail("there are two");
      assert.deepEqual(
        owner.held.map(({ id }) => id),
        numbers(6).map((n) => `k-${n}`),
      );
      await world.within("stop", owner.consumption.stop());
      // Of so many keys some have nothing to do with the first one, however keys are spread.
      for (const n of numbers(40)) await send(`x-${n}`, `x-${n}`);
      await send("k", "k-6");
      await world.eventually(
        "other keys to come to the other one",
        () => successor.got.some((id) => id.startsWith("x-")),
        { withinMs: world.bounds.redeliveryMs },
      );
      const ofKey = (): string[] => successor.got.filter((id) => id.startsWith("k-"));
      assert.deepEqual(ofKey(), [], "the key is still with the one that stopped");
      released = true;
      owner.held.slice(0, 3).forEach(({ settle }) => settle("accept"));
      owner.held.slice(3).forEach(({ settle }) => settle("release"));
      await world.eventually("the rest of the key, and all other keys", () => new Set(successor.got).size === 44, {
        withinMs: world.bounds.redeliveryMs,
        seen: () => successor.got,
      });
      assert.deepEqual(ofKey(), ["k-3", "k-4", "k-5", "k-6"], "from the first that was released on");
      await world.eventually("nothing to be left", async () => (await world.native.ready(inlet(channel))) === 0);
    },
  },
  {
    id: "I4j",
    title: "while instances join and leave in mid-stream every key is handled in order, and nothing is skipped",
    tier: "core",
    slowness: 3,
    needs: ["ordering"],
    async run(world) {
      const stream = await startStream(world, 8, 60);
      const buses = [await stream.join()];
      const sent = stream.sent();
      await stream.handled(60);
      buses.push(await stream.join(), await stream.join());
      await stream.handled(150);
      await buses[0]?.close();
      await stream.handled(220);
      buses.push(await stream.join());
      await Promise.all([buses[1]?.close(), buses[2]?.close()]);
      await sent;
      await stream.handled(480);
      const { contract, log, keys, perKey } = stream;
      await world.closeAndFindEmpty(buses, [inlet(contract.channel), deadLetters(contract.channel)]);
      assertOrderAcross(world, log, keys, perKey);
    },
  },
  {
    id: "I4c",
    title:
      "after connections were cut or closed in mid-stream every key is still handled in order, and nothing is skipped",
    tier: "fault",
    slowness: 2,
    needs: ["ordering"],
    async run(world) {
      const links = await Promise.all(numbers(3).map(() => world.faults.openLink()));
      for (const link of links) world.defer(() => link.close());
      const stream = await startStream(world, 8, 40, links[2]?.openTransport());
      const buses = [await stream.join(links[0]?.openTransport()), await stream.join(links[1]?.openTransport())];
      const sent = stream.sent();
      await stream.handled(40);
      await links[0]?.cut();
      await stream.handled(100);
      await world.faults.closeConnections();
      await stream.handled(150);
      await links[2]?.cut();
      await links[1]?.cut();
      await stream.handled(200);
      await world.faults.breakConsumers(inlet(stream.contract.channel));
      await sent;
      await stream.handled(320);
      await endStream(world, stream, buses);
    },
  },
  {
    id: "I4f",
    title: "after the broker was killed in mid-stream every key is still handled in order, and nothing is skipped",
    tier: "fault",
    slowness: 3,
    needs: ["ordering", "durable"],
    async run(world) {
      const stream = await startStream(world, 8, 40);
      const buses = [await stream.join(), await stream.join()];
      const sent = stream.sent();
      await stream.handled(60);
      await world.faults.killBroker();
      await world.faults.startBroker();
      await sent;
      await stream.handled(320);
      await endStream(world, stream, buses);
    },
  },
];
