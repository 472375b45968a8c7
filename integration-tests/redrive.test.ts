import path from "node:path";
import { createBus, deadLetter, topic } from "@posthorn/core";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { durableBrokers, useBroker } from "./brokers-in-use.ts";
import { startInstance } from "./instances/process.ts";
import { transportFor } from "./transport-for.ts";

const program = path.resolve(import.meta.dirname, "instances/redriver.ts");
const messages = 500;
const killAfter = [100, 150];

describe.each(durableBrokers)("on $kind $version", (name) => {
  const broker = useBroker(name);

  test("a redrive that is killed half-way and run again: every dead letter is handled, none lost, none sent to another group", async () => {
    const { url } = broker();
    const channel = topic("redriven");
    const Happened = channel.event("happened", { schema: z.object({ number: z.int() }) });
    await using bus = createBus({ service: "service", transport: await transportFor(url), observe: () => undefined });
    let healed = false;
    const repaired = new Map<number, number>();
    const other: number[] = [];
    const numbers = Array.from({ length: messages }, (_, index) => index + 1);
    const failing = bus.subscribe(
      Happened,
      ({ data }) => {
        if (!healed) throw deadLetter("not yet");
        repaired.set(data.number, (repaired.get(data.number) ?? 0) + 1);
      },
      { group: "failing" },
    );
    bus.subscribe(Happened, ({ data }) => void other.push(data.number), { group: "other" });
    await bus.start();
    await Promise.all(numbers.map((number) => bus.publish(Happened, { number })));
    /** Those included that a killed redriver has in its hands, as long as the broker has not noticed its end. */
    const dead = async (): Promise<number> => {
      const { ready, inFlight = 0 } = await failing.deadLetters.depth();
      return ready + inFlight;
    };
    await expect.poll(dead).toBe(messages);
    await expect.poll(() => other.length).toBe(messages);

    healed = true;
    for (const limit of killAfter) {
      let redriven = 0;
      const reached = Promise.withResolvers<void>();
      const redriver = startInstance(program, [url, channel.name, "failing"], ([word]) => {
        if (word === "redriven" && ++redriven === limit) reached.resolve();
      });
      await reached.promise;
      await redriver.end("SIGKILL");
    }
    await expect.poll(dead).toBeGreaterThan(0);
    await expect
      .poll(async () => {
        await expect(failing.deadLetters.redrive()).resolves.toMatchObject({ unmatched: 0, guarded: 0 });
        return dead();
      })
      .toBe(0);

    await expect.poll(() => repaired.size).toBe(messages);
    expect(other.toSorted((one, another) => one - another)).toEqual(numbers);
    // Only what was under way when the redriver was killed may have come twice.
    const twice = [...repaired.values()].filter((count) => count > 1).length;
    expect(twice).toBeLessThanOrEqual(killAfter.length * 64);
  }, 90_000);
});
