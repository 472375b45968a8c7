// How late delayed messages are on an idle broker: 10,000 due at random within 1 to 30 seconds.
import { createBus, deliverAt, queue } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import { z } from "zod";
import { resolveRabbitmq } from "../brokers/resolve.ts";
import { writeReport } from "./measure.ts";

const messages = 10_000;
const shortestMs = 1_000;
const longestMs = 30_000;

export async function benchDelays(): Promise<void> {
  const { brokers, missing } = await resolveRabbitmq({ versions: ["4.0"], log: console.error });
  for (const { reason } of missing) console.error(reason);
  const results: Record<string, unknown>[] = [];
  for (const broker of brokers) {
    await using _ = broker;
    const lateMs = await latenesses(broker.url);
    const at = (share: number): number => Math.round(lateMs[Math.ceil(share * lateMs.length) - 1] ?? Number.NaN);
    const result = {
      name: `rabbitmq ${broker.version}`,
      messages,
      earliestMs: Math.round(lateMs[0] ?? Number.NaN),
      medianMs: at(0.5),
      p99Ms: at(0.99),
      worstMs: at(1),
    };
    results.push(result);
    console.log(
      `${result.name}: late by ${result.medianMs} ms (median), ${result.p99Ms} ms (99%), ${result.worstMs} ms at worst; never earlier than ${result.earliestMs} ms after due`,
    );
  }
  await writeReport("delays", results);
}

/** Ascending. */
async function latenesses(url: string): Promise<readonly number[]> {
  const Remind = queue("bench-delays").command("remind", { schema: z.object({ dueAt: z.int() }) });
  await using bus = createBus({ service: "bench", transport: rabbitmq({ url }), concurrency: 100 });
  const lateMs: number[] = [];
  const all = Promise.withResolvers<void>();
  bus.handle(Remind, ({ data }) => {
    lateMs.push(Date.now() - data.dueAt);
    if (lateMs.length === messages) all.resolve();
  });
  await bus.start();
  await Promise.all(
    Array.from({ length: messages }, () => {
      const dueAt = Date.now() + shortestMs + Math.floor(Math.random() * (longestMs - shortestMs));
      return bus.send(Remind, { dueAt }, deliverAt(dueAt));
    }),
  );
  await all.promise;
  return lateMs.toSorted((one, other) => one - other);
}
