import { createBus, queue } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import amqp from "amqplib";
import { expect, test } from "vitest";
import { z } from "zod";
import { useRabbitmq } from "./brokers-in-use.ts";

const broker = useRabbitmq("4.0");

test("a message that the broker gives up by its own delivery limit is a dead letter like any other", async () => {
  const PlaceOrder = queue("limited").command("place-order", { schema: z.object({ sku: z.string() }) });
  const transport = rabbitmq({ url: broker().url, deliveryLimit: 2 });
  await using bus = createBus({ service: "limited", transport });
  const subscription = bus.handle(PlaceOrder, () => undefined);
  subscription.pause();
  await bus.start();
  const { id } = await bus.send(PlaceOrder, { sku: "a" });

  // What a consumer that dies with each delivery does to it: the broker counts, and nobody settles.
  const connection = await amqp.connect(broker().url);
  for (let delivery = 1; delivery <= 3; delivery++) {
    const channel = await connection.createChannel();
    await expect.poll(() => channel.get("limited")).toMatchObject({ properties: { messageId: id } });
    await channel.close();
  }
  await connection.close();

  await expect.poll(async () => (await subscription.deadLetters.depth()).ready, { timeout: 10_000 }).toBe(1);
  const [dead] = await subscription.deadLetters.browse();
  expect(dead).toMatchObject({ reason: "DELIVERY_LIMIT", channel: "limited", attempts: 0, message: { id } });
  expect((await subscription.depth()).ready).toBe(0);
});
