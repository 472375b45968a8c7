/** G: delays that mean at once, or nothing, and delays where there is an order. */
import assert from "node:assert/strict";
import { deliverAfter, deliverAt } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import type { Arrival } from "../clocked.ts";
import { assertPunctual } from "../clocked.ts";
import { ascending, keyedWorkOf, numbers, workOf } from "../contracts.ts";
import type { Keyed } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

export const oddDelayCases: readonly ContractCase[] = [
  {
    id: "G3",
    title: "no delay, a negative one and a time that has passed all mean at once",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      const delays = [
        deliverAfter(0),
        deliverAfter(-5_000),
        deliverAfter("0s"),
        deliverAt(Date.now() - 60_000),
        deliverAt(0),
        deliverAt(new Date(-8_640_000_000_000_000)),
        { delayMs: -0 },
        { delayMs: 0.5 },
      ];
      await Promise.all(delays.map((delay, n) => bus.send(contract, { n }, delay)));
      await got.waitFor(delays.length);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(ascending(got.calls.map((call) => call.data.n)), numbers(delays.length));
    },
  },
  {
    id: "G3b",
    title: "a delay that means nothing fails with INVALID_OPTION, and nothing is sent",
    tier: "core",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      const bad: readonly (() => object)[] = [
        () => ({ delayMs: Number.NaN }),
        () => ({ delayMs: Number.POSITIVE_INFINITY }),
        () => ({ delayMs: Number.NEGATIVE_INFINITY }),
        () => ({ delayMs: 1e300 }),
        () => ({ delayMs: "30s" }),
        () => ({ notBefore: new Date(Number.NaN) }),
        () => ({ notBefore: "2030-01-01T00:00:00Z" }),
        () => ({ notBefore: new Date(), delayMs: 1 }),
        () => deliverAfter("soon"),
        () => deliverAfter("-1s"),
        () => deliverAfter(Number.NaN),
        () => deliverAfter(Number.POSITIVE_INFINITY),
        () => deliverAt("tomorrow"),
        () => deliverAt("2030-01-01T00:00:00"),
        () => deliverAt(Number.NaN),
        () => deliverAt(new Date(8_640_000_000_000_001)),
      ];
      for (const delay of bad)
        await rejectsWith("INVALID_OPTION", async () => bus.send(contract, { n: 0 }, delay()), String(delay));
      await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(
        got.calls.map((call) => call.data.n),
        [1],
      );
    },
  },
  {
    id: "G7",
    title: "on an ordered channel a delayed message comes when it is due, and its key does not wait for it",
    tier: "core",
    needs: ["delayedDelivery", "ordering"],
    async run(world) {
      const contract = keyedWorkOf(world.orderedQueue());
      const bus = world.bus("shop");
      const seen: number[] = [];
      const arrivals: Arrival[] = [];
      const got = world.recorder<Keyed>(({ data }) => {
        seen.push(data.seq);
        arrivals.push({ n: data.seq, at: Date.now() });
      });
      bus.handle(contract, got.handler);
      await bus.start();
      const delayMs = Math.max(1_000, world.bounds.patienceMs / 3);
      const start = Date.now();
      await bus.send(contract, { key: "k", seq: 99 }, { delayMs });
      for (const seq of numbers(5)) await bus.send(contract, { key: "k", seq });
      await got.waitFor(6, delayMs + world.bounds.delayToleranceMs);
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 99]);
      assertPunctual(arrivals, (n) => (n === 99 ? start + delayMs : start), world.bounds);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.equal(got.calls.length, 6);
    },
  },
];
