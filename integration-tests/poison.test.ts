import path from "node:path";
import { createBus, queue } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { BrokerName } from "./brokers-in-use.ts";
import { useBroker, useRabbitmq } from "./brokers-in-use.ts";
import { startInstance } from "./instances/process.ts";
import { transportFor } from "./transport-for.ts";

const program = path.resolve(import.meta.dirname, "instances/poisoned-consumer.ts");
/** Of the consumers here. */
const deliveryLimit = 3;

const brokers: readonly BrokerName[] = [
  { kind: "RabbitMQ", version: "4.0" },
  { kind: "RabbitMQ", version: "4.3" },
  { kind: "Kafka", version: "4.4" },
  { kind: "Kafka", version: "3.9" },
  { kind: "SQS", version: "2012-11-05" },
];

describe.each(brokers)("on $kind $version", (name) => {
  const broker = useBroker(name);

  test("a message that kills its process again and again ends as a dead letter, and the rest is handled", async () => {
    const { url } = broker();
    const channel = queue("poisoned");
    const Work = channel.command("work", { schema: z.object({ poison: z.boolean() }) });
    const transport = await transportFor(url, { deliveryLimit });
    await using bus = createBus({ service: "sender", transport, observe: () => undefined });
    bus.declare(Work);
    await bus.start();
    const poison = await bus.send(Work, { poison: true });
    const healthy = await Promise.all(Array.from({ length: 5 }, () => bus.send(Work, { poison: false })));

    const handled = new Set<string>();
    const dead = bus.deadLetters(channel);
    const over = async (): Promise<boolean> => handled.size === healthy.length && (await dead.depth()).ready === 1;
    for (let starts = 0; starts < 20 && !(await over()); starts++) {
      const consumer = startInstance(program, [url, channel.name], ([word, id = ""]) => {
        if (word === "handled") handled.add(id);
      });
      // Dead letters are told by nobody: look from time to time.
      const look = setInterval(() => {
        void over().then((is) => (is ? consumer.end("SIGTERM") : undefined));
      }, 300);
      await consumer.ended;
      clearInterval(look);
    }
    expect(handled).toEqual(new Set(healthy.map(({ id }) => id)));
    await expect.poll(async () => (await dead.depth()).ready, { timeout: 10_000 }).toBe(1);
    await expect(dead.browse()).resolves.toMatchObject([{ reason: "DELIVERY_LIMIT", message: { id: poison.id } }]);
  }, 90_000);
});

describe("on RabbitMQ 4.3", () => {
  const broker = useRabbitmq("4.3");

  // An ordered channel gives back by closing its channel, which counts: so one restart less than the limit.
  test.each([
    { ordered: false, limit: deliveryLimit, restarts: deliveryLimit * 3 },
    { ordered: true, limit: 10, restarts: 9 },
  ])(
    "what an instance gives back $restarts times when it closes is handled in the end (ordered: $ordered, limit $limit)",
    async ({ ordered, limit, restarts }) => {
      const { url } = broker();
      const channel = queue(`released-${ordered}`, { ordered });
      const Work = channel.command("work", { schema: z.object({ number: z.int() }), key: () => "one" });
      const numbers = Array.from({ length: 5 }, (_, index) => index + 1);
      for (let restart = 0; restart < restarts; restart++) {
        const transport = rabbitmq({ url, deliveryLimit: limit });
        const bus = createBus({ service: "consumer", transport, observe: () => undefined, concurrency: 5 });
        const begun = Promise.withResolvers<void>();
        bus.handle(Work, async (_message, { signal }) => {
          begun.resolve();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        });
        await bus.start();
        if (restart === 0) await Promise.all(numbers.map((number) => bus.send(Work, { number })));
        await begun.promise;
        await bus.close({ timeoutMs: 0 });
      }
      const handled: number[] = [];
      await using bus = createBus({ service: "consumer", transport: rabbitmq({ url, deliveryLimit: limit }) });
      const subscription = bus.handle(Work, ({ data }) => void handled.push(data.number));
      await bus.start();
      await expect.poll(() => handled.toSorted((one, other) => one - other), { timeout: 10_000 }).toEqual(numbers);
      expect(ordered ? handled : numbers).toEqual(numbers);
      await expect(subscription.deadLetters.depth()).resolves.toMatchObject({ ready: 0 });
    },
    60_000,
  );
});
