import { describe, expect, test } from "vitest";
import {
  createFetchSetting,
  fetchedRecords,
  fetchMaxBytes,
  fetchMaxWaitMs,
  heldWindow,
} from "./fetch-cluster.fixture.ts";
import type { HeldWindow } from "./places.ts";
import { longestWindow } from "./window.ts";

/** What a fetch brought is handed out. */
function takeAll(window: HeldWindow): void {
  while (window.waiting > 0) window.take();
}

test("one fetch is under way at each broker, for all that it leads, and the next one goes on behind it", async () => {
  const windows = [heldWindow("orders", 0), heldWindow("orders", 1), heldWindow("orders", 2)];
  const world = createFetchSetting({ orders: [1, 2, 1] }, windows);
  await world.wake();
  await world.wake();
  expect(world.asked).toEqual(["1: orders/0@0 orders/2@0", "2: orders/1@0"]);
  expect(world.request(1).maxWaitMs).toBe(fetchMaxWaitMs);
  await world.answer(1, { "orders/0": { records: fetchedRecords(0, 3), next: 3n }, "orders/2": { next: 7n } });
  expect(world.asked.slice(2)).toEqual(["1: orders/0@3 orders/2@7"]);
  expect(windows.map(({ waiting }) => waiting)).toEqual([3, 0, 0]);
  expect(world.answers()).toBe(1);
});

test("what has enough is left out, and the others' fetch waits but briefly", async () => {
  const [full, long, other] = [heldWindow("orders", 0), heldWindow("orders", 1), heldWindow("orders", 2)];
  const world = createFetchSetting({ orders: [1, 1, 1] }, [full, long, other]);
  world.wanted.set(full, 2);
  full.append(fetchedRecords(0, 2), 2);
  long.append(fetchedRecords(0, longestWindow), longestWindow);
  takeAll(long);
  for (const entry of long.pendingBehind(0)) long.settle(entry);
  await world.wake();
  expect(world.asked).toEqual(["1: orders/2@0"]);
  expect(world.request(1).maxWaitMs).toBeLessThan(100);
  full.take();
  await world.answer(1);
  expect(world.asked.slice(1)).toEqual(["1: orders/0@2 orders/2@0"]);
});

describe("the bytes that may be held", () => {
  test("are shared out among the brokers", async () => {
    const world = createFetchSetting({ orders: [1, 2] }, [heldWindow("orders", 0), heldWindow("orders", 1)]);
    await world.wake();
    const shares = [world.request(1).maxBytes, world.request(2).maxBytes];
    expect(shares[0]).toBe(shares[1]);
    expect(shares[0]).toBeGreaterThanOrEqual(fetchMaxBytes / 2);
    expect(shares[0]).toBeLessThan(fetchMaxBytes * 0.6);
  });

  test("are left to delays where messages that are being handled take up all of theirs", async () => {
    const [big, delay] = [heldWindow("orders", 0), heldWindow("orders.delay", 0, "delays")];
    const world = createFetchSetting({ orders: [1], "orders.delay": [1] }, [big, delay]);
    big.append(fetchedRecords(0, 4, fetchMaxBytes / 2), 4);
    takeAll(big);
    await world.wake();
    expect(world.asked).toEqual(["1: orders.delay/0@0"]);
    expect(world.request(1).maxBytes).toBeLessThanOrEqual(fetchMaxBytes / 8);
    expect(world.request(1).maxWaitMs).toBeLessThan(100);
    for (const entry of big.pendingBehind(-1)) big.settle(entry);
    await world.answer(1);
    expect(world.asked.slice(1)).toEqual(["1: orders/0@4 orders.delay/0@0"]);
  });

  test("are left to messages where delays take up all of theirs", async () => {
    const [message, delay] = [heldWindow("orders", 0), heldWindow("orders.delay", 0, "delays")];
    const world = createFetchSetting({ orders: [1], "orders.delay": [1] }, [message, delay]);
    delay.append(fetchedRecords(0, 1, fetchMaxBytes / 8), 1);
    await world.wake();
    expect(world.asked).toEqual(["1: orders/0@0"]);
  });

  test("keep everything from being asked for when all are taken", async () => {
    const window = heldWindow("orders", 0);
    const world = createFetchSetting({ orders: [1] }, [window]);
    window.append(fetchedRecords(0, 1, fetchMaxBytes), 1);
    await world.wake();
    expect(world.asked).toEqual([]);
  });
});

test("an answer for a window that was set elsewhere meanwhile is none of its", async () => {
  const window = heldWindow("orders", 0);
  const world = createFetchSetting({ orders: [1] }, [window]);
  await world.wake();
  window.append([], 10);
  await world.answer(1, { "orders/0": { records: fetchedRecords(0, 20), next: 20n } });
  expect(world.asked.at(-1)).toBe("1: orders/0@10");
  expect(window.waiting).toBe(0);
});
