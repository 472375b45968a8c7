// The memory broker end to end: send, handle, accept. There is no raw client: the comparison is a JSON round trip and a handler call.
import { createBus, queue } from "@posthorn/core";
import { memory } from "@posthorn/memory";
import { z } from "zod";
import { compare } from "./measure.ts";
import type { Result } from "./measure.ts";

const messages = 20_000;
const order = { orderId: "019a0000-0000-7000-8000-000000000000", sku: "x".repeat(170), quantity: 3 };
const schema = z.object({ orderId: z.uuid(), sku: z.string(), quantity: z.int().positive() });

export async function benchMemory(rounds: number): Promise<readonly Result[]> {
  const PlaceOrder = queue("bench").command("place-order", { schema });
  await using bus = createBus({ service: "bench", transport: memory(), concurrency: 100 });
  let count = 0;
  let all = Promise.withResolvers<void>();
  bus.handle(PlaceOrder, () => {
    if (++count === messages) all.resolve();
  });
  await bus.start();
  const ours = async (): Promise<void> => {
    count = 0;
    all = Promise.withResolvers();
    const lane = async (share: number): Promise<void> => {
      for (let sent = 0; sent < share; sent++) await bus.send(PlaceOrder, order);
    };
    await Promise.all(Array.from({ length: 100 }, () => lane(messages / 100)));
    await all.promise;
  };
  const raw = async (): Promise<void> => {
    for (let sent = 0; sent < messages; sent++)
      await Promise.resolve(schema.parse(JSON.parse(JSON.stringify(schema.parse(order)))));
  };
  return [await compare({ name: "send and handle", messages, ours, raw }, rounds)];
}
