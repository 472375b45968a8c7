/** What was handled leaves the group's own topics, which have no retention. */
import { createBus, queue } from "@posthorn/core";
import { delayTopic, kafka, retryTopic } from "@posthorn/kafka";
import { Kafka, logLevel } from "kafkajs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { KafkaVersion } from "./brokers/broker.ts";
import { useKafka } from "./brokers-in-use.ts";

const versions: readonly KafkaVersion[] = ["4.4", "3.9"];
const messages = 200;

describe.each(versions)("on Kafka %s", (version) => {
  const broker = useKafka(version);

  test("retries and delayed messages are deleted once they are done with, and none before", async () => {
    const { brokers } = broker();
    const name = "trimmed";
    const Work = queue(name).command("work", { schema: z.object({ number: z.int() }) });
    await using bus = createBus({
      service: "service",
      transport: kafka({ brokers, partitions: 2, metadataMaxAgeMs: 1_000 }),
      observe: () => undefined,
    });
    const handled = new Map<number, number>();
    const stuck = Promise.withResolvers<void>();
    const waiting = Promise.withResolvers<void>();
    bus.handle(
      Work,
      async ({ data: { number } }, { attempt }) => {
        if (attempt === 1) throw new Error("later");
        if (number === 0) {
          waiting.resolve();
          await stuck.promise;
        }
        handled.set(number, (handled.get(number) ?? 0) + 1);
      },
      // Beyond what a member keeps in memory: by way of the delay topic.
      { retry: { attempts: 3, backoff: { initialMs: 4_000, maxMs: 4_000, jitter: 0 } }, concurrency: 20 },
    );
    await bus.start();
    await Promise.all(Array.from({ length: messages }, (_, number) => bus.send(Work, { number }, { key: "one" })));

    const channel = { kind: "queue", name, ordered: false } as const;
    const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    /** How many records a topic has had, and how many are left. */
    const records = async (topic: string): Promise<{ had: number; left: number }> => {
      const offsets = await admin.fetchTopicOffsets(topic);
      const had = offsets.reduce((all, { high }) => all + Number(high), 0);
      return { had, left: offsets.reduce((all, { high, low }) => all + Number(high) - Number(low), 0) };
    };
    const left = async (topic: string): Promise<number> => (await records(topic)).left;

    await waiting.promise;
    await expect.poll(() => handled.size).toBe(messages - 1);
    await expect.poll(() => left(delayTopic(channel, name))).toBe(0);
    // It and what lies behind it stay.
    expect(await left(retryTopic(channel, name))).toBeGreaterThan(0);
    stuck.resolve();
    await expect.poll(() => left(retryTopic(channel, name))).toBe(0);
    expect((await records(retryTopic(channel, name))).had).toBeGreaterThanOrEqual(messages);
    expect((await records(delayTopic(channel, name))).had).toBeGreaterThanOrEqual(messages);
    await admin.disconnect();
    expect([...handled.values()].every((times) => times === 1)).toBe(true);
  });
});
