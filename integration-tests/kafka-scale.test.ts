import path from "node:path";
import { createBus } from "@posthorn/core";
import { groupId, retryTopic } from "@posthorn/kafka";
import { Kafka, logLevel } from "kafkajs";
import { expect, test } from "vitest";
import { useBroker } from "./brokers-in-use.ts";
import { numbered } from "./instances/numbered.ts";
import { startInstance } from "./instances/process.ts";
import { transportFor } from "./transport-for.ts";

const program = path.resolve(import.meta.dirname, "instances/scale-consumer.ts");
const messages = 100_000;
const partitions = 100;
const padding = "x".repeat(200);

const broker = useBroker({ kind: "Kafka", version: "4.4" });

test("100,000 messages in 100 partitions, 1 in 100 failing twice: all handled, all committed, memory flat", async () => {
  const url = `${broker().url}&partitions=${partitions}`;
  const name = "scale";
  await using sender = createBus({ service: "sender", transport: await transportFor(url), maxPendingMessages: 20_000 });
  const contract = numbered(name);
  sender.declare(contract);
  await sender.start();
  for (let sent = 0; sent < messages; sent += 10_000)
    await Promise.all(
      Array.from({ length: 10_000 }, (_, index) => sender.send(contract, { number: sent + index, padding })),
    );

  const memory: number[] = [];
  let handled = 0;
  let again = 0;
  const dead: string[] = [];
  // Were the backlog held in memory, this would not do.
  const consumer = startInstance(program, [url, name], ([word, count = "", bytes = "", more = ""]) => {
    if (word === "dead") dead.push(count);
    if (word !== "handled") return;
    handled = Number(count);
    again = Number(more);
    memory.push(Number(bytes));
  });
  await expect.poll(() => handled, { timeout: 240_000, interval: 200 }).toBe(messages);
  await consumer.end("SIGTERM");
  expect(again).toBe(0);
  expect(dead).toEqual([]);

  const kafka = new Kafka({ brokers: [new URL(broker().url).host], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const channel = { kind: "queue", name, ordered: false } as const;
  for (const topic of [name, retryTopic(channel, name)]) {
    const ends = await admin.fetchTopicOffsets(topic);
    const [committed] = await admin.fetchOffsets({ groupId: groupId(channel, name), topics: [topic] });
    const offsets = new Map(committed?.partitions.map(({ partition, offset }) => [partition, offset]));
    expect(ends.length).toBe(partitions);
    for (const { partition, high } of ends) expect(offsets.get(partition), `${topic} ${partition}`).toBe(high);
  }
  await admin.disconnect();

  const [early, late] = [memory.slice(10, 50), memory.slice(50)];
  expect(Math.max(...late)).toBeLessThan(1.25 * Math.max(...early));
}, 300_000);
