import path from "node:path";
import { createBus } from "@posthorn/core";
import { describe, expect, test } from "vitest";
import { durableBrokers, useBroker } from "./brokers-in-use.ts";
import type { Instance } from "./instances/process.ts";
import { startInstance } from "./instances/process.ts";
import { steps } from "./instances/steps.ts";
import { transportFor } from "./transport-for.ts";

const program = path.resolve(import.meta.dirname, "instances/ordered-consumer.ts");
const keys = Array.from({ length: 16 }, (_, index) => `key-${index}`);
const perKey = 500;
const total = keys.length * perKey;
const instances = 4;
/** An instance is ended, in turn by SIGKILL and by SIGTERM, and another started, each time so many more have been handled. */
const every = total / 12;

describe.each(durableBrokers)("on $kind $version", (name) => {
  const broker = useBroker(name);

  test("of each key the first successful handlings are in publish order, and nothing is lost, while instances come and go", async () => {
    const { url } = broker();
    const name = "steps";
    const { channel, Taken } = steps(name);
    const group = "walkers";
    /** When each was handled first, by the one clock that all processes of a machine share: their output may be read in another order. */
    const handledAt = new Map<string, bigint>();
    const running: Instance[] = [];
    let exchanges = 0;
    let exchanging: Promise<void> = Promise.resolve();
    const ready = Promise.withResolvers<void>();

    const start = (): void => {
      running.push(
        startInstance(program, [url, name, group], ([word, key, number, time = ""]) => {
          if (word === "ready") ready.resolve();
          if (word !== "handled") return;
          const step = `${key} ${number}`;
          const before = handledAt.get(step);
          if (before === undefined || BigInt(time) < before) handledAt.set(step, BigInt(time));
          if (handledAt.size >= (exchanges + 1) * every && handledAt.size < total) {
            exchanges++;
            exchanging = exchanging.then(exchange);
          }
        }),
      );
    };
    const exchange = async (): Promise<void> => {
      const [leaving] = running.splice(exchanges % running.length, 1);
      await leaving?.end(exchanges % 2 === 0 ? "SIGTERM" : "SIGKILL");
      start();
    };

    for (let index = 0; index < instances; index++) start();
    await ready.promise;
    await using publisher = createBus({ service: "publisher", transport: await transportFor(url) });
    publisher.declare(Taken);
    await publisher.start();
    for (let number = 1; number <= perKey; number += 10) {
      const tens = Array.from({ length: 10 }, (_, index) => number + index);
      await Promise.all(keys.flatMap((key) => tens.map((each) => publisher.publish(Taken, { key, number: each }))));
    }

    await expect.poll(() => handledAt.size, { timeout: 120_000, interval: 100 }).toBe(total);
    await exchanging;
    await Promise.all(running.map((instance) => instance.end("SIGTERM")));
    const inOrder = Array.from({ length: perKey }, (_, index) => index + 1);
    const timeOf = (key: string, number: number): bigint => handledAt.get(`${key} ${number}`) ?? 0n;
    for (const key of keys) {
      const handled = inOrder.toSorted((one, other) => (timeOf(key, one) < timeOf(key, other) ? -1 : 1));
      expect(handled, key).toEqual(inOrder);
    }
    expect(exchanges).toBeGreaterThan(8);
    await expect(publisher.deadLetters(channel, group).depth()).resolves.toMatchObject({ ready: 0 });
  }, 180_000);
});
