import { createBus, queue } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import { Kafka, logLevel } from "kafkajs";
import { expect, test } from "vitest";
import { z } from "zod";
import { useKafka } from "./brokers-in-use.ts";

const broker = useKafka("4.4");

function adminOf(brokers: readonly string[]): ReturnType<Kafka["admin"]> {
  return new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
}

test("partitions that an operator adds are written to and read by those who are running", async () => {
  const { brokers } = broker();
  const name = "growing";
  const Work = queue(name).command("work", { schema: z.object({ number: z.int() }) });
  const open = (): ReturnType<typeof kafka> => kafka({ brokers, partitions: 1, metadataMaxAgeMs: 1_000 });
  await using owner = createBus({ service: "owner", transport: open() });
  await using sender = createBus({ service: "sender", transport: open() });
  const handled = new Set<number>();
  owner.handle(Work, ({ data }) => void handled.add(data.number));
  sender.declare(Work);
  await Promise.all([owner.start(), sender.start()]);
  await sender.send(Work, { number: 0 });

  const admin = adminOf(brokers);
  await admin.connect();
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
  let sent = 1;
  await expect
    .poll(
      async () => {
        await sender.send(Work, { number: sent++ });
        const ends = await admin.fetchTopicOffsets(name);
        return ends.filter(({ high }) => high !== "0").length;
      },
      { timeout: 20_000, interval: 50 },
    )
    .toBe(4);
  await admin.disconnect();
  await expect.poll(() => handled.size, { timeout: 20_000 }).toBe(sent);
});

test("a topic that an operator deletes and makes again is read from its start by those who are running", async () => {
  const { brokers } = broker();
  const name = "remade";
  const Work = queue(name).command("work", { schema: z.object({ number: z.int() }) });
  await using owner = createBus({ service: "owner", transport: kafka({ brokers, partitions: 1 }) });
  const handled = new Set<number>();
  owner.handle(Work, ({ data }) => void handled.add(data.number));
  await owner.start();
  for (let number = 0; number < 20; number++) await owner.send(Work, { number });
  await expect.poll(() => handled.size).toBe(20);

  const admin = adminOf(brokers);
  await admin.connect();
  await admin.deleteTopics({ topics: [name] });
  await expect.poll(() => admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] })).toBe(true);
  // More than the old one had: the place in the old log is one in the new log, too.
  const numbers = Array.from({ length: 100 }, (_, index) => 100 + index);
  await Promise.all(numbers.map((number) => owner.send(Work, { number })));
  await expect.poll(() => handled.size).toBe(20 + numbers.length);
  await admin.disconnect();
});

test("a group whose offsets the broker has forgotten begins at the log's start: messages come again, none is left out", async () => {
  const { brokers } = broker();
  const name = "forgotten";
  const Work = queue(name).command("work", { schema: z.object({ number: z.int() }) });
  const numbers = Array.from({ length: 20 }, (_, number) => number);
  const handleAll = async (): Promise<void> => {
    await using owner = createBus({ service: "owner", transport: kafka({ brokers, partitions: 2 }) });
    const handled = new Set<number>();
    owner.handle(Work, ({ data }) => void handled.add(data.number));
    await owner.start();
    if (sent.size === 0)
      await Promise.all(numbers.map((number) => owner.send(Work, { number }).then(() => sent.add(number))));
    await expect.poll(() => handled).toEqual(sent);
  };
  const sent = new Set<number>();
  await handleAll();
  const admin = adminOf(brokers);
  await admin.connect();
  // What the broker does by itself after offsets.retention.minutes.
  await admin.deleteGroups([name]);
  await admin.disconnect();
  await handleAll();
});

test('a queue whose topic\'s name Kafka takes for another one\'s, with "." for "_", is refused by name', async () => {
  const { brokers } = broker();
  const open = (name: string): ReturnType<typeof createBus> => {
    const bus = createBus({ service: "service", transport: kafka({ brokers, partitions: 1 }) });
    bus.declare(queue(name).command("work", { schema: z.object({}) }));
    return bus;
  };
  await using first = open("alike");
  await first.start();
  await using second = open("alike_retry");
  await expect(second.start()).rejects.toMatchObject({
    code: "INVALID_NAME",
    message: expect.stringContaining("alike_retry"),
  });
});
