import * as fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { queue } from "./channel.ts";
import { sleep } from "./clock.ts";
import { createBus } from "./create-bus.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { BusEvent } from "./observe.ts";
import { deadLetter, discard, retryAfter } from "./outcome.ts";
import type { Settlement } from "./transport.ts";
import { accepted, failed } from "./transport.ts";
import { createVirtualClock } from "./virtual-clock.ts";

/** How one attempt goes. */
const attempt = fc.record({
  takesMs: fc.integer({ min: 0, max: 1_000 }),
  ends: fc.constantFrom("done", "throw", "retry-soon", "retry-late", "dead-letter", "discard"),
});
const delivery = fc.record({
  atMs: fc.integer({ min: 0, max: 500 }),
  key: fc.constantFrom("a", "b"),
  attempts: fc.array(attempt, { minLength: 1, maxLength: 4 }),
  lostAtMs: fc.option(fc.integer({ min: 0, max: 2_000 }), { nil: undefined, freq: 4 }),
});
const plan = fc.record({
  ordered: fc.boolean(),
  delays: fc.boolean(),
  concurrency: fc.integer({ min: 1, max: 3 }),
  deliveries: fc.array(delivery, { minLength: 1, maxLength: 8 }),
  /** How the broker answers, in turn. */
  answers: fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 300 }), takes: fc.boolean() }), { maxLength: 10 }),
  closeAtMs: fc.integer({ min: 500, max: 15_000 }),
  closeWithinMs: fc.integer({ min: 0, max: 1_000 }),
});

const thrown: Readonly<Record<string, () => Error>> = {
  throw: () => new Error("failed"),
  "retry-soon": () => retryAfter(50),
  "retry-late": () => retryAfter(5_000),
  "dead-letter": () => deadLetter("no"),
  discard: () => discard("no"),
};

test("whatever happens when: every delivery is settled once, accepted only when done with, and its copy is durable before", async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (given) => {
      const clock = createVirtualClock();
      const transport = createFakeTransport({ delayedDelivery: given.delays, ordering: true });
      const landed = new Set<string>();
      let answers = 0;
      transport.answer = async (batch) => {
        const { afterMs, takes } = given.answers[answers++] ?? { afterMs: 0, takes: true };
        await sleep(clock, afterMs);
        return batch.map(({ message }) => {
          if (!takes) return failed(new PosthornError("UNROUTABLE", "not now"));
          landed.add(message.id);
          return accepted;
        });
      };
      const done = new Set<string>();
      const bus = createBus({
        service: "billing",
        transport,
        clock,
        concurrency: given.concurrency,
        retry: { attempts: 3, backoff: { initialMs: 100, maxMs: 2_000, factor: 20 } },
        maxHandlingMs: 350,
        observe: (event: BusEvent) => {
          if (event.name === "message.handled" || event.name === "message.discarded") done.add(event.message.id);
        },
      });
      const contract = queue("work", { ordered: given.ordered }).command("place-order", {
        schema: z.unknown(),
        key: () => "a",
      });
      let running = 0;
      let mostRunning = 0;
      let mostOfKey = 0;
      const runningKeys = new Map<string, number>();
      bus.handle(contract, async ({ id, key = "" }, context) => {
        mostRunning = Math.max(mostRunning, ++running);
        const ofKey = (runningKeys.get(key) ?? 0) + 1;
        runningKeys.set(key, ofKey);
        mostOfKey = Math.max(mostOfKey, ofKey);
        try {
          const script = given.deliveries[Number(id)]?.attempts ?? [];
          const { takesMs, ends } = script[context.attempt - 1] ?? { takesMs: 0, ends: "done" };
          await sleep(clock, takesMs);
          const error = thrown[ends]?.();
          if (error !== undefined) throw error;
        } finally {
          running--;
          runningKeys.set(key, (runningKeys.get(key) ?? 0) - 1);
        }
      });
      await bus.start();

      /** Accepted, and at that moment neither done with nor durable elsewhere. */
      const lostBetween: string[] = [];
      const settled: Settlement[][] = given.deliveries.map(() => []);
      const lost = given.deliveries.map(() => new AbortController());
      given.deliveries.forEach(({ atMs, lostAtMs, key }, index) => {
        const deliver = async (): Promise<void> => {
          const { signal } = lost[index] ?? new AbortController();
          const id = String(index);
          const settlement = await transport.deliver(aMessage({ id, key }), { lost: signal });
          settled[index]?.push(settlement);
          if (settlement === "accept" && !done.has(id) && !landed.has(id)) lostBetween.push(id);
        };
        clock.setTimeout(() => void deliver(), atMs);
        if (lostAtMs !== undefined) clock.setTimeout(() => lost[index]?.abort(), atMs + lostAtMs);
      });
      let openAtClose: number | undefined;
      const close = async (): Promise<void> => {
        await bus.close({ timeoutMs: given.closeWithinMs });
        openAtClose = settled.filter(({ length }) => length === 0).length;
      };
      clock.setTimeout(() => void close(), given.closeAtMs);
      await clock.advance(60_000);

      expect(mostRunning, "handlers that run at a time").toBeLessThanOrEqual(given.concurrency);
      expect(mostOfKey, "of one key at a time").toBeLessThanOrEqual(given.ordered ? 1 : given.concurrency);
      expect(lostBetween).toEqual([]);
      expect(settled.map(({ length }) => length)).toEqual(given.deliveries.map(() => 1));
      expect(openAtClose, "unsettled when the bus has closed").toBe(0);
    }),
    { numRuns: 300 },
  );
}, 30_000);
