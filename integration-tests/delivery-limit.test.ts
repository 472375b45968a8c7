import { createBus, queue } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import { sqs } from "@posthorn/sqs-sns";
import amqp from "amqplib";
import { expect, test } from "vitest";
import { z } from "zod";
import { sqsClients } from "./brokers/sqs-clients.ts";
import { useRabbitmq, useSqs } from "./brokers-in-use.ts";

const rabbitmqBroker = useRabbitmq("4.0");
const sqsBroker = useSqs();
const deliveryLimit = 2;
const visibilitySeconds = 1;

test.each([
  {
    name: "RabbitMQ",
    open: () => rabbitmq({ url: rabbitmqBroker().url, deliveryLimit }),
    async deliver(queueName: string, id: string) {
      const connection = await amqp.connect(rabbitmqBroker().url);
      for (let delivery = 1; delivery <= deliveryLimit + 1; delivery++) {
        const channel = await connection.createChannel();
        await expect.poll(() => channel.get(queueName)).toMatchObject({ properties: { messageId: id } });
        await channel.close();
      }
      await connection.close();
    },
  },
  {
    name: "SQS",
    open() {
      const { endpoint, region, credentials } = sqsBroker();
      return sqs({ endpoint, region, credentials, deliveryLimit, visibilitySeconds });
    },
    async deliver(queueName: string, id: string) {
      using clients = sqsClients(sqsBroker());
      const url = await clients.createQueue(queueName);
      const attributes = { posthorn: { StringValue: expect.stringContaining(id) as string } };
      for (let delivery = 1; delivery <= deliveryLimit; delivery++)
        await expect
          .poll(() => clients.receive(url, visibilitySeconds))
          .toMatchObject([{ MessageAttributes: attributes }]);
      // Whoever asks next, once the time of the last one is over, is given nothing.
      await expect(clients.receive(url, visibilitySeconds + 1)).resolves.toEqual([]);
    },
  },
])("on $name a message that the broker gives up by its own limit is a dead letter like any other", async (broker) => {
  const PlaceOrder = queue("limited").command("place-order", { schema: z.object({ sku: z.string() }) });
  await using bus = createBus({ service: "limited", transport: broker.open() });
  const subscription = bus.handle(PlaceOrder, () => undefined);
  subscription.pause();
  await bus.start();
  const { id } = await bus.send(PlaceOrder, { sku: "a" });

  // What a consumer that dies with each delivery does to it: the broker counts, and nobody settles.
  await broker.deliver("limited", id);

  await expect.poll(async () => (await subscription.deadLetters.depth()).ready, { timeout: 10_000 }).toBe(1);
  const [dead] = await subscription.deadLetters.browse();
  expect(dead).toMatchObject({ reason: "DELIVERY_LIMIT", channel: "limited", attempts: 0, message: { id } });
  expect((await subscription.depth()).ready).toBe(0);
});
