import { setTimeout as sleep } from "node:timers/promises";
import type { Bus } from "@posthorn/core";
import { createBus, queue } from "@posthorn/core";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { durableBrokers, useBroker } from "./brokers-in-use.ts";
import { transportFor } from "./transport-for.ts";

describe.each(durableBrokers)("on $kind $version", (name) => {
  const broker = useBroker(name);

  test("from one instance to four and back under load: nothing is lost, and nothing handled twice", async () => {
    const { url } = broker();
    const Work = queue("scaled").command("work", { schema: z.object({ number: z.int() }) });
    const handled = new Map<number, number>();
    const workers = new Set<string>();
    const start = async (name: string): Promise<Bus> => {
      const bus = createBus({ service: "worker", transport: await transportFor(url), concurrency: 20 });
      bus.handle(Work, async ({ data }) => {
        await sleep(Math.random() * 10);
        handled.set(data.number, (handled.get(data.number) ?? 0) + 1);
        workers.add(name);
      });
      await bus.start();
      return bus;
    };
    const first = await start("first");
    await using sender = createBus({ service: "sender", transport: await transportFor(url) });
    sender.declare(Work);
    await sender.start();
    let sent = 0;
    let sending = true;
    const load = (async () => {
      while (sending) {
        await Promise.all(Array.from({ length: 20 }, () => sender.send(Work, { number: sent++ })));
        await sleep(10);
      }
    })();
    const others: Bus[] = [];
    for (const name of ["second", "third", "fourth"]) {
      await sleep(500);
      others.push(await start(name));
      await expect.poll(() => workers.has(name), { timeout: 10_000 }).toBe(true);
    }
    for (const bus of others) {
      await sleep(500);
      await bus.close();
    }
    await sleep(500);
    sending = false;
    await load;
    await expect.poll(() => handled.size, { timeout: 20_000 }).toBe(sent);
    await first.close();
    expect([...handled].filter(([, count]) => count > 1)).toEqual([]);
    expect(sent).toBeGreaterThan(1_000);
  });
});
