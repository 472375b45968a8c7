import { EventEmitter } from "node:events";
import type { Delivery, Settlement } from "@posthorn/core/transport";
import { systemClock } from "@posthorn/core/transport";
import type { ConsumeMessage } from "amqplib";
import { expect, test, vi } from "vitest";
import type { Connection } from "./connection.ts";
import { createOrderedIntake, priorityOf } from "./ordered-intake.ts";

interface Pending {
  readonly n: number;
  readonly lost: AbortSignal;
  readonly settle: (settlement: Settlement) => void;
}

/** An intake over channels that do nothing but note what is asked of them. */
async function intakeOf(options: { paused?: boolean; maxInFlight?: number } = {}) {
  const log: string[] = [];
  const pending: Pending[] = [];
  let deliver: (message: ConsumeMessage | null) => void = () => undefined;
  let tag = 0;
  const createChannel = async () => {
    const channel = Object.assign(new EventEmitter(), {
      checkQueue: async () => log.push("open"),
      prefetch: async () => undefined,
      consume: async (_queue: string, onMessage: typeof deliver) => {
        log.push("consume");
        deliver = onMessage;
      },
      ack: ({ fields }: ConsumeMessage) => log.push(`ack ${fields.deliveryTag}`),
      nack: () => log.push("nack"),
      close: async () => {
        log.push("close");
        channel.emit("close");
      },
    });
    return channel;
  };
  const connection = { model: { createChannel }, closed: false } as unknown as Connection;
  const intake = createOrderedIntake({
    link: { connection, blocked: undefined, start: vi.fn(), close: vi.fn(), ready: async () => connection },
    environment: { clock: systemClock, random: () => 0 },
    queue: "orders.shard.0",
    instance: "a",
    receive: (delivery: Delivery) =>
      new Promise((settle) => pending.push({ n: Number(delivery.message.id), lost: delivery.lost, settle })),
    maxInFlight: options.maxInFlight ?? 1_024,
    paused: options.paused ?? false,
    restoreQueue: async () => false,
    onLost: () => log.push("lost"),
    onRestored: () => log.push("restored"),
    onFailed: () => undefined,
    onEnded: () => log.push("ended"),
  });
  await intake.start({ signal: new AbortController().signal });
  const send = (...ids: number[]): void => {
    for (const id of ids) {
      const fields = { deliveryTag: ++tag, redelivered: false, exchange: "", routingKey: "", consumerTag: "" };
      deliver({ fields, properties: { messageId: String(id) }, content: Buffer.alloc(0) } as unknown as ConsumeMessage);
    }
  };
  const settled = async (n: number, settlement: Settlement): Promise<void> => {
    pending.find((one) => one.n === n)?.settle(settlement);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { consumption: intake.consumption, log, pending, send, settled, received: () => pending.map(({ n }) => n) };
}

test("deliveries are handed over in order, and no more at a time than a shard's part", async () => {
  const { send, received, settled } = await intakeOf({ maxInFlight: 16 });
  send(1, 2, 3);
  expect(received()).toEqual([1, 2]);
  await settled(1, "accept");
  expect(received()).toEqual([1, 2, 3]);
});

test("while it is paused the consumer stays, and what comes is handed over in order afterwards", async () => {
  const { consumption, send, received, log } = await intakeOf();
  consumption.pause();
  send(1, 2);
  expect(received()).toEqual([]);
  consumption.resume();
  expect(received()).toEqual([1, 2]);
  expect(log).toEqual(["open", "consume"]);
});

test("one that begins paused does not consume before it is resumed", async () => {
  const { consumption, log } = await intakeOf({ paused: true });
  expect(log).toEqual(["open"]);
  consumption.resume();
  await vi.waitFor(() => expect(log).toEqual(["open", "consume"]));
});

test("it stops when the last delivery is settled, and gives back all that is open at once, by closing the channel", async () => {
  const { consumption, send, settled, log } = await intakeOf();
  send(1, 2, 3);
  void consumption.stop();
  send(4);
  await settled(2, "release");
  await settled(3, "release");
  expect(log).toEqual(["open", "consume"]);
  await settled(1, "accept");
  expect(log).toEqual(["open", "consume", "ack 1", "close", "ended"]);
});

test("a release takes back all that follows: their leases are lost, and a new channel brings them again", async () => {
  const { send, settled, log, pending, received } = await intakeOf();
  send(1, 2, 3);
  await settled(1, "accept");
  await settled(2, "release");
  expect(pending.map(({ lost }) => lost.aborted)).toEqual([true, true, true]);
  expect(log.slice(0, 5)).toEqual(["open", "consume", "ack 1", "close", "lost"]);
  await vi.waitFor(() => expect(log.slice(5, 7)).toEqual(["open", "consume"]));
  send(2, 3);
  expect(received()).toEqual([1, 2, 3, 2, 3]);
});

test("instances rank differently for each shard, so that shards spread", () => {
  const instances = ["a", "b", "c", "d"];
  const first = Array.from({ length: 80 }, (_, shard) => {
    const ranks = instances.map((instance) => priorityOf(instance, `orders.shard.${shard}`));
    return ranks.indexOf(Math.max(...ranks));
  });
  for (const index of instances.keys()) expect(first.filter((one) => one === index).length).toBeGreaterThan(8);
});
