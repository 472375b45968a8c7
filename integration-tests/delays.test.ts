import { createBus, deliverAt, queue } from "@posthorn/core";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { durableBrokers, useBroker } from "./brokers-in-use.ts";
import { transportFor } from "./transport-for.ts";

const messages = 10_000;
const shortestMs = 1_000;
const longestMs = 30_000;

describe.each(durableBrokers)("on $kind $version", (name) => {
  const broker = useBroker(name);
  /** So many are sent at a time. An emulator of SQS looks through all of a queue at each deletion: all at once would take it too long. */
  const atOnce = name.kind === "SQS" ? 500 : messages;

  test("10,000 messages delayed by 1 to 30 seconds: none early, none lost, over a kill and a restart of the broker", async () => {
    const { url, control } = broker();
    const Remind = queue("reminders").command("remind", { schema: z.object({ number: z.int(), dueAt: z.int() }) });
    const transport = await transportFor(url);
    await using bus = createBus({ service: "reminder", transport, observe: () => undefined, concurrency: 100 });
    const early: number[] = [];
    const handled = new Set<number>();
    bus.handle(Remind, ({ data }) => {
      if (Date.now() < data.dueAt) early.push(data.number);
      handled.add(data.number);
    });
    await bus.start();
    const send = (number: number): Promise<unknown> => {
      const dueAt = Date.now() + shortestMs + Math.floor(Math.random() * (longestMs - shortestMs));
      return bus.send(Remind, { number, dueAt }, deliverAt(dueAt));
    };
    for (let sent = 0; sent < messages; sent += atOnce)
      await Promise.all(Array.from({ length: atOnce }, (_, index) => send(sent + index)));
    await expect.poll(() => handled.size, { timeout: 60_000 }).toBeGreaterThan(messages / 3);
    expect(handled.size, "before the kill").toBeLessThan(messages);
    await control?.kill();
    await control?.start();
    await expect.poll(() => handled.size, { timeout: 90_000 }).toBe(messages);
    expect(early).toEqual([]);
  }, 180_000);
});
