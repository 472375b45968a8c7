// Posthorn against plain kafkajs, on one broker, with the same body, partitions and acknowledgements.
import { createBus, queue } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import { z } from "zod";
import { resolveKafka } from "../brokers/resolve.ts";
import { compare } from "./measure.ts";
import type { Result, Tidy } from "./measure.ts";

const messages = 20_000;
const inFlight = 1_024;
const concurrency = 100;
const rawBatch = 500;
const order = { orderId: "019a0000-0000-7000-8000-000000000000", sku: "x".repeat(170), quantity: 3 };
const schema = z.object({ orderId: z.uuid(), sku: z.string(), quantity: z.int().positive() });

export async function benchKafka(rounds: number): Promise<readonly Result[]> {
  const { brokers, missing } = await resolveKafka({ versions: ["4.4"], log: console.error });
  const [broker] = brokers;
  if (broker === undefined) throw new Error(`No Kafka: ${missing.map(({ reason }) => reason).join("; ")}`);
  try {
    let run = 0;
    let name = "";
    /** Each run has a topic of its own: what one leaves behind would be read by the next. */
    const freshTopic = async (): Promise<void> => {
      name = `bench-${process.pid}-${run++}`;
      await using owner = createBus({ service: "bench", transport: kafka({ brokers: broker.brokers }) });
      owner.declare(queue(name).command("place-order", { schema }));
      await owner.start();
    };
    const raw = new Kafka({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING, retry: { retries: 20 } });
    const producer = raw.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();

    const rawPublish = async (): Promise<void> => {
      for (let sent = 0; sent < messages; sent += rawBatch) {
        const batch = Array.from({ length: rawBatch }, () => ({
          value: JSON.stringify(order),
          headers: { type: "place-order", id: order.orderId, "content-type": "application/json" },
        }));
        await producer.send({ topic: name, messages: batch });
      }
    };
    const ourPublish = async (): Promise<Tidy> => {
      const sender = createBus({ service: "bench", transport: kafka({ brokers: broker.brokers }) });
      const PlaceOrder = queue(name).command("place-order", { schema });
      sender.declare(PlaceOrder);
      await sender.start();
      let sent = 0;
      const lane = async (): Promise<void> => {
        while (sent < messages) {
          sent++;
          await sender.send(PlaceOrder, order);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, lane));
      return () => sender.close();
    };
    const ourConsume = async (): Promise<Tidy> => {
      const bus = createBus({ service: "bench", transport: kafka({ brokers: broker.brokers }), concurrency });
      const all = Promise.withResolvers<void>();
      let count = 0;
      bus.handle(queue(name).command("place-order", { schema }), () => {
        if (++count === messages) all.resolve();
      });
      await bus.start();
      await all.promise;
      return () => bus.close();
    };
    const rawConsume = async (): Promise<Tidy> => {
      const consumer = raw.consumer({ groupId: `${name}-raw`, maxWaitTimeInMs: 500 });
      await consumer.connect();
      await consumer.subscribe({ topic: name, fromBeginning: true });
      const all = Promise.withResolvers<void>();
      let count = 0;
      await consumer.run({
        eachMessage: async ({ message }) => {
          schema.parse(JSON.parse(String(message.value)));
          if (++count === messages) all.resolve();
        },
      });
      await all.promise;
      return () => consumer.disconnect();
    };
    const withBacklog = (): Promise<void> => freshTopic().then(rawPublish);
    const results = [
      await compare({ name: "publish", messages, prepare: freshTopic, ours: ourPublish, raw: rawPublish }, rounds),
      await compare({ name: "consume", messages, prepare: withBacklog, ours: ourConsume, raw: rawConsume }, rounds),
    ];
    await producer.disconnect();
    return results;
  } finally {
    await broker.stop();
  }
}
