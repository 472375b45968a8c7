// Posthorn against the plain AWS SDK, on one emulator, with the same body and as many requests at a time.
import {
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import type { Transport } from "@posthorn/core";
import { createBus, queue } from "@posthorn/core";
import { sqs } from "@posthorn/sqs-sns";
import { z } from "zod";
import type { SqsBroker } from "../brokers/broker.ts";
import { resolveSqs } from "../brokers/resolve.ts";
import { sqsClients } from "../brokers/sqs-clients.ts";
import { compare } from "./measure.ts";
import type { Result, Tidy } from "./measure.ts";

const messages = 5_000;
const inFlight = 1_024;
const concurrency = 100;
/** As many as Posthorn has under way to one queue. */
const requestsAtATime = 4;
const order = { orderId: "019a0000-0000-7000-8000-000000000000", sku: "x".repeat(170), quantity: 3 };
const schema = z.object({ orderId: z.uuid(), sku: z.string(), quantity: z.int().positive() });

export async function benchSqs(rounds: number): Promise<readonly Result[]> {
  const { brokers, missing } = await resolveSqs({ log: console.error });
  const [broker] = brokers;
  if (broker === undefined) throw new Error(`No SQS: ${missing.map(({ reason }) => reason).join("; ")}`);
  using clients = sqsClients(broker);
  try {
    let run = 0;
    let name = "";
    let url = "";
    /** Each run has a queue of its own: what one leaves behind would be read by the next. */
    const freshQueue = async (): Promise<void> => {
      name = `bench-${process.pid}-${run++}`;
      await using owner = createBus({ service: "bench", transport: connectTo(broker) });
      owner.declare(queue(name).command("place-order", { schema }));
      await owner.start();
      url = await clients.createQueue(name);
    };
    const ourPublish = async (): Promise<Tidy> => {
      const sender = createBus({ service: "bench", transport: connectTo(broker) });
      const PlaceOrder = queue(name).command("place-order", { schema });
      sender.declare(PlaceOrder);
      await sender.start();
      let sent = 0;
      await inLanes(inFlight, async () => {
        if (sent++ >= messages) return false;
        await sender.send(PlaceOrder, order);
        return true;
      });
      return () => sender.close();
    };
    const ourConsume = async (): Promise<Tidy> => {
      const bus = createBus({ service: "bench", transport: connectTo(broker), concurrency });
      const all = Promise.withResolvers<void>();
      let count = 0;
      bus.handle(queue(name).command("place-order", { schema }), () => {
        if (++count === messages) all.resolve();
      });
      await bus.start();
      await all.promise;
      return () => bus.close();
    };
    const rawPublish = (): Promise<void> => publishPlainly(clients.sqs, url);
    const rawConsume = (): Promise<void> => consumePlainly(clients.sqs, url);
    const withBacklog = (): Promise<void> => freshQueue().then(rawPublish);
    return [
      await compare({ name: "publish", messages, prepare: freshQueue, ours: ourPublish, raw: rawPublish }, rounds),
      await compare({ name: "consume", messages, prepare: withBacklog, ours: ourConsume, raw: rawConsume }, rounds),
    ];
  } finally {
    await broker.stop();
  }
}

function connectTo({ endpoint, region, credentials }: SqsBroker): Transport {
  return sqs({ endpoint, region, credentials });
}

async function publishPlainly(client: SQSClient, url: string): Promise<void> {
  let sent = 0;
  await inLanes(requestsAtATime, async () => {
    if (sent >= messages) return false;
    sent += 10;
    const Entries = Array.from({ length: 10 }, (_, index) => ({
      Id: String(index),
      MessageBody: JSON.stringify(order),
      MessageAttributes: {
        type: { DataType: "String", StringValue: "place-order" },
        "content-type": { DataType: "String", StringValue: "application/json" },
        id: { DataType: "String", StringValue: order.orderId },
      },
    }));
    await client.send(new SendMessageBatchCommand({ QueueUrl: url, Entries }));
    return true;
  });
}

async function consumePlainly(client: SQSClient, url: string): Promise<void> {
  let received = 0;
  await inLanes(requestsAtATime, async () => {
    if (received >= messages) return false;
    const { Messages = [] } = await client.send(
      new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10, MessageAttributeNames: ["All"] }),
    );
    for (const { Body } of Messages) schema.parse(JSON.parse(String(Body)));
    received += Messages.length;
    const Entries = Messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
    if (Entries.length > 0) await client.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries }));
    return true;
  });
}

/** @param step false when there is no more to do */
async function inLanes(lanes: number, step: () => Promise<boolean>): Promise<void> {
  const lane = async (): Promise<void> => {
    while (await step());
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
