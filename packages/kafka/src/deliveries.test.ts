import { systemClock } from "@posthorn/core/transport";
import type { Delivery, Settlement } from "@posthorn/core/transport";
import { describe, expect, test, vi } from "vitest";
import type { Deliveries } from "./deliveries.ts";
import { createDeliveries } from "./deliveries.ts";
import { HeldSlot } from "./held-slot.ts";
import { HeldWindow } from "./places.ts";
import type { FetchedRecord } from "./records.ts";
import { readStarts } from "./starts.ts";

const record = (partition: number, offset: number, key: string | null, value: Buffer | null): FetchedRecord => ({
  topic: "orders",
  partition,
  offset: BigInt(offset),
  timestamp: 1,
  key: key === null ? null : Buffer.from(key),
  value,
  headers: value === null ? [] : [["type", Buffer.from("work")]],
});

interface Held {
  readonly name: string;
  readonly delivery: Delivery;
  readonly settle: (settlement: Settlement) => void;
}

interface Setting {
  readonly deliveries: Deliveries;
  readonly slots: readonly HeldSlot[];
  readonly windows: readonly HeldWindow[];
  /** What is in the handler's hands, in the order of its coming. */
  readonly held: Held[];
  readonly names: () => readonly string[];
}

/** Each partition is a slot; a text such as `a b a` is its records' keys, `-` none, and `0` a tombstone. */
function setting(
  partitions: readonly string[],
  options: { maxInFlight?: number; ordered?: boolean; suspect?: boolean } = {},
): Setting {
  const held: Held[] = [];
  const windows = partitions.map((keys, partition) => {
    const slot = new HeldSlot({ kind: "messages", number: partition });
    const window = new HeldWindow(slot, { topic: "orders", partition }, 0, readStarts(undefined, "instance", 0, 0));
    const records = keys
      .split(" ")
      .map((key, offset) =>
        record(partition, offset, key === "-" ? null : key, key === "0" ? null : Buffer.from("{}")),
      );
    window.append(records, records.length);
    slot.windows = [window];
    return window;
  });
  const slots = windows.map(({ slot }) => slot);
  const deliveries = createDeliveries({
    environment: { clock: systemClock, random: () => 0 },
    receive: (delivery) =>
      new Promise((resolve) => {
        const [, , partition, offset] = delivery.message.id.split(":");
        held.push({ name: `${partition}/${offset}`, delivery, settle: resolve });
      }),
    ordered: options.ordered ?? false,
    maxInFlight: options.maxInFlight ?? 100,
    paused: false,
    slots: () => slots,
    onEarly: () => expect.fail("nothing is early"),
    isSuspect: () => options.suspect ?? false,
    beginAlone: async () => true,
    onSettled: () => undefined,
  });
  deliveries.wake();
  return { deliveries, slots, windows, held, names: () => held.map(({ name }) => name) };
}

const settle = ({ held }: Setting, name: string, settlement: Settlement = "accept"): void => {
  const index = held.findIndex((each) => each.name === name);
  const [found] = held.splice(index, 1);
  (found ?? expect.fail(`${name} is not held`)).settle(settlement);
};

test("all partitions have their turn, and no more are pending than allowed", async () => {
  const world = setting(["- - -", "- - -"], { maxInFlight: 4 });
  await vi.waitFor(() => expect(world.names()).toEqual(["0/0", "1/0", "0/1", "1/1"]));
  settle(world, "0/0");
  await vi.waitFor(() => expect(world.names()).toHaveLength(4));
  expect(world.deliveries.pending).toBe(4);
  expect(world.windows[0]?.front).toBe(1);
});

test("resized and paused, it keeps to it at once", async () => {
  const world = setting(["- - - - -"], { maxInFlight: 1 });
  await vi.waitFor(() => expect(world.names()).toHaveLength(1));
  world.deliveries.resize(3);
  await vi.waitFor(() => expect(world.names()).toHaveLength(3));
  world.deliveries.paused = true;
  settle(world, "0/0");
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  expect(world.names()).toHaveLength(2);
  world.deliveries.paused = false;
  await vi.waitFor(() => expect(world.names()).toHaveLength(3));
});

test("what is given back comes again", async () => {
  const world = setting(["-"]);
  await vi.waitFor(() => expect(world.names()).toEqual(["0/0"]));
  settle(world, "0/0", "release");
  await vi.waitFor(() => expect(world.names()).toEqual(["0/0"]));
  expect(world.windows[0]?.front).toBe(0);
});

test("a bare tombstone is settled without being handed out", async () => {
  const world = setting(["- 0 -"]);
  await vi.waitFor(() => expect(world.names()).toEqual(["0/0", "0/2"]));
  settle(world, "0/0");
  await vi.waitFor(() => expect(world.windows[0]?.front).toBe(2));
});

test("what comes back after its slot was lost changes nothing", async () => {
  const world = setting(["-"]);
  await vi.waitFor(() => expect(world.names()).toEqual(["0/0"]));
  const lost = world.held[0]?.delivery.lost;
  world.slots[0]?.void(new Error("revoked"));
  expect(lost?.aborted).toBe(true);
  settle(world, "0/0");
  await vi.waitFor(() => expect(world.deliveries.pending).toBe(0));
  expect(world.windows[0]?.front).toBe(0);
});

describe("on an ordered channel", () => {
  test("who gives a message back gives back all of its key that came after it, and nothing else", async () => {
    const world = setting(["a b a a"], { ordered: true });
    await vi.waitFor(() => expect(world.names()).toEqual(["0/0", "0/1", "0/2", "0/3"]));
    const lost = world.held.map(({ delivery }) => delivery.lost);
    settle(world, "0/0", "release");
    await vi.waitFor(() => expect(world.names()).toEqual(["0/1", "0/2", "0/3", "0/0", "0/2", "0/3"]));
    expect(lost.map(({ aborted }) => aborted)).toEqual([false, false, true, true]);
    // The first ones are void by now: only the second ones count.
    settle(world, "0/2");
    settle(world, "0/3");
    await vi.waitFor(() => expect(world.names()).toEqual(["0/1", "0/0", "0/2", "0/3"]));
    expect(world.windows[0]?.open).toBe(4);
    settle(world, "0/0");
    settle(world, "0/1");
    await vi.waitFor(() => expect(world.windows[0]?.front).toBe(2));
  });
});

test("what is suspect is handed out alone, of all partitions together", async () => {
  const world = setting(["- -", "- -"], { suspect: true });
  const order: string[] = [];
  for (let count = 0; count < 4; count++) {
    await vi.waitFor(() => expect(world.names()).toHaveLength(1));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(world.names()).toHaveLength(1);
    const [name = ""] = world.names();
    order.push(name);
    settle(world, name);
  }
  expect(order.toSorted()).toEqual(["0/0", "0/1", "1/0", "1/1"]);
});
