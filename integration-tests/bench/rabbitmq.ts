// Posthorn against plain amqplib, on one broker, the same queue type, body, prefetch and confirms.
import amqp from "amqplib";
import { createBus, queue } from "@posthorn/core";
import type { Bus } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import { z } from "zod";
import { resolveRabbitmq } from "../brokers/resolve.ts";
import { compare } from "./measure.ts";
import type { Result, Tidy } from "./measure.ts";

const messages = 10_000;
const inFlight = 1_024;
const concurrency = 100;
const order = { orderId: "019a0000-0000-7000-8000-000000000000", sku: "x".repeat(170), quantity: 3 };

export async function benchRabbitmq(rounds: number): Promise<readonly Result[]> {
  const { brokers, missing } = await resolveRabbitmq({ versions: ["4.0"], log: console.error });
  const [broker] = brokers;
  if (broker === undefined) throw new Error(`No RabbitMQ: ${missing.map(({ reason }) => reason).join("; ")}`);
  try {
    const name = `bench-${process.pid}`;
    const PlaceOrder = queue(name).command("place-order", {
      schema: z.object({ orderId: z.uuid(), sku: z.string(), quantity: z.int().positive() }),
    });
    await using sender = createBus({ service: "bench", transport: rabbitmq({ url: broker.url }) });
    sender.declare(PlaceOrder);
    await sender.start();
    const connection = await amqp.connect(broker.url, { noDelay: true });
    const channel = await connection.createConfirmChannel();

    const ourPublish = (): Promise<void> => windowed(() => sender.send(PlaceOrder, order));
    const rawPublish = (): Promise<void> =>
      windowed(
        () =>
          new Promise((resolve, reject) => {
            const body = Buffer.from(JSON.stringify(order));
            const options = {
              persistent: true,
              mandatory: true,
              messageId: order.orderId,
              type: "place-order",
              contentType: "application/json",
            };
            channel.publish("", name, body, options, (error: unknown) =>
              error === null ? resolve(undefined) : reject(error),
            );
          }),
      );
    const purge = async (): Promise<void> => void (await channel.purgeQueue(name));

    const results = [
      await compare({ name: "publish", messages, prepare: purge, ours: ourPublish, raw: rawPublish }, rounds),
      await compare(
        {
          name: "consume",
          messages,
          prepare: rawPublish,
          ours: () => ourConsume(broker.url, PlaceOrder),
          raw: () => rawConsume(broker.url, name),
        },
        rounds,
      ),
    ];
    await channel.deleteQueue(name);
    await connection.close();
    return results;
  } finally {
    await broker.stop();
  }
}

async function ourConsume(url: string, contract: Parameters<Bus["handle"]>[0]): Promise<Tidy> {
  const bus = createBus({ service: "bench", transport: rabbitmq({ url }), concurrency });
  const all = Promise.withResolvers<void>();
  let count = 0;
  bus.handle(contract, () => {
    if (++count === messages) all.resolve();
  });
  await bus.start();
  await all.promise;
  return () => bus.close();
}

async function rawConsume(url: string, name: string): Promise<Tidy> {
  const connection = await amqp.connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  await channel.prefetch(concurrency * 5);
  const all = Promise.withResolvers<void>();
  let count = 0;
  await channel.consume(name, (message) => {
    if (message === null) return;
    JSON.parse(message.content.toString());
    channel.ack(message);
    if (++count === messages) all.resolve();
  });
  await all.promise;
  return () => connection.close();
}

/** As a service under load would: a bounded number under way. */
async function windowed(send: () => Promise<unknown>): Promise<void> {
  let sent = 0;
  const lane = async (): Promise<void> => {
    while (sent < messages) {
      sent++;
      await send();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}
