import type { Bus } from "@posthorn/core";
import { createBus, queue } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { KafkaVersion } from "./brokers/broker.ts";
import { useKafka } from "./brokers-in-use.ts";

const sessionTimeoutMs = 2_000;

describe.each(["4.4", "3.9"] satisfies KafkaVersion[])("on Kafka %s", (version) => {
  const broker = useKafka(version);
  const open = (): ReturnType<typeof kafka> => kafka({ brokers: broker().brokers, sessionTimeoutMs });

  test("a handler three sessions long runs once, while instances join and leave and its partition goes on", async () => {
    const name = "long-handler";
    const Work = queue(name).command("work", { schema: z.object({ number: z.int() }), key: () => "one" });
    const begun: number[] = [];
    const hold = Promise.withResolvers<void>();
    const start = async (): Promise<Bus> => {
      const bus = createBus({ service: "worker", transport: open(), concurrency: 5 });
      bus.handle(Work, async ({ data }, { attempt }) => {
        if (data.number === 0) {
          begun.push(attempt);
          await hold.promise;
        } else if (data.number % 2 === 1 && attempt === 1) {
          throw new Error("once");
        }
        handled.add(data.number);
      });
      await bus.start();
      return bus;
    };
    const handled = new Set<number>();
    const first = await start();
    await first.send(Work, { number: 0 });
    await expect.poll(() => begun, { timeout: 10_000 }).toEqual([1]);
    const startedAt = performance.now();
    let number = 1;
    // Its neighbours, of the same partition, half of which fail once, go on.
    for (; performance.now() - startedAt < 3 * sessionTimeoutMs; number++) {
      await first.send(Work, { number });
      await expect.poll(() => handled.has(number), { timeout: 10_000 }).toBe(true);
    }
    const second = await start();
    hold.resolve();
    await expect.poll(() => handled.size, { timeout: 10_000 }).toBe(number);
    await first.close();
    await second.send(Work, { number });
    await expect.poll(() => handled.has(number), { timeout: 10_000 }).toBe(true);
    await second.close();
    expect(begun).toEqual([1]);
  });
});
