import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createKeyLanes } from "./key-lanes.ts";

test("whatever ends when and how: of each key one at a time and in order, and different keys never wait for each other", async () => {
  const jobs = fc.array(fc.record({ key: fc.constantFrom("a", "b", "c"), fails: fc.boolean() }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(jobs, fc.scheduler(), async (given, scheduler) => {
      const lanes = createKeyLanes();
      const running = new Map<string, number>();
      const begun: [string, number][] = [];
      const results = given.map(({ key, fails }, index) =>
        lanes.run(key, async () => {
          expect(running.get(key) ?? 0).toBe(0);
          running.set(key, 1);
          begun.push([key, index]);
          await scheduler.schedule(Promise.resolve(), `${key}${index}`);
          running.set(key, 0);
          if (fails) throw new Error(`job ${index}`);
          return index;
        }),
      );
      // All that can begin has begun before anything ended: one of each key.
      await Promise.resolve();
      expect(begun).toHaveLength(new Set(given.map(({ key }) => key)).size);
      await scheduler.waitIdle();
      const ended = await Promise.allSettled(results);
      expect(ended.map((result) => (result.status === "fulfilled" ? result.value : "failed"))).toEqual(
        given.map(({ fails }, index) => (fails ? "failed" : index)),
      );
      for (const lane of ["a", "b", "c"]) {
        const order = begun.filter(([key]) => key === lane).map(([, index]) => index);
        expect(order).toEqual(order.toSorted((one, other) => one - other));
      }
      expect(lanes.size).toBe(0);
    }),
  );
});
