import { createVirtualClock } from "@posthorn/core/testing";
import { describe, expect, test } from "vitest";
import { createFetchCluster, cut, heldWindow } from "./fetch-cluster.fixture.ts";
import type { HeldWindow } from "./places.ts";
import { createUpkeep } from "./upkeep.ts";

const metadataMaxAgeMs = 60_000;
const never = new AbortController().signal;
const names = {
  group: "orders",
  main: "orders",
  retry: "orders.retry",
  delay: "orders.delay",
  deadLetters: "orders.dlq",
};
const topics = { orders: [1, 1], "orders.retry": [1, 1], "orders.delay": [1, 1, 1] };

/** @param missing topics that are not there */
function setting(...missing: readonly string[]) {
  const clock = createVirtualClock();
  const ending = new AbortController();
  const windows: HeldWindow[] = [];
  /** What it says, as `gone orders`. */
  const said: string[] = [];
  const told: string[] = [];
  const world = {
    /** What deletions were asked for. */
    trimmed: [] as string[],
    /** Makes topics again. */
    restore: async (): Promise<boolean> => false,
    /** Looks into a topic that is there after all. */
    doubt: async (): Promise<void> => undefined,
  };
  const present = Object.entries(topics).filter(([name]) => !missing.includes(name));
  const cluster = createFetchCluster(Object.fromEntries(present), () => ({
    async deleteRecords(places) {
      world.trimmed.push(...places.map(({ topic, partition, offset }) => `${topic}/${partition}<${offset}`));
      return places.map((place) => ({ ...place, error: 0 }));
    },
  }));
  const upkeep = createUpkeep({
    cluster: cluster.cluster,
    environment: { clock, random: () => 0 },
    settings: { metadataMaxAgeMs },
    names,
    ending: ending.signal,
    windows: () => windows,
    restore() {
      said.push("restore");
      return world.restore();
    },
    onGrown: () => void said.push("grown"),
    onGone(topic, error) {
      said.push(`gone ${topic}: ${error.message}`);
      return () => void said.push(`back ${topic}`);
    },
    onDoubt(topic) {
      said.push(`doubt ${topic}`);
      return world.doubt();
    },
    onFailed: (what, error) => void told.push(`${what}: ${error instanceof Error ? error.message : String(error)}`),
  });
  return Object.assign(world, {
    clock,
    ending,
    windows,
    said,
    told,
    cluster,
    upkeep,
    /** Somebody makes a topic, or gives it more partitions. */
    make: (topic: string, partitions = 2) =>
      cluster.leaders.set(
        topic,
        Array.from({ length: partitions }, () => 1),
      ),
    /** The cluster asks for what it knows from time to time. */
    refresh: () => cluster.cluster.topics(Object.keys(topics), never, true),
    /** Whoever reads a topic says that it is missing as long as it is. @returns when it was looked for */
    missFor: async (topic: string, forMs: number): Promise<number[]> => {
      const looked: number[] = [];
      let last: Promise<void> | undefined;
      for (let passed = 0; passed < forMs; passed += 50) {
        if (!cluster.leaders.has(topic)) {
          const looking = upkeep.makeAgain(topic);
          if (looking !== last) looked.push(passed);
          last = looking;
        }
        await clock.advance(50);
      }
      return looked;
    },
  });
}

const goneOrders = `gone orders: There is no topic "orders" on Kafka.`;

describe("partitions that somebody adds", () => {
  test("are noticed once", async () => {
    const { upkeep, make, refresh, clock, cluster, said } = setting();
    await upkeep.start();
    await clock.advance(metadataMaxAgeMs);
    expect([said, cluster.questions]).toEqual([[], []]);
    make("orders", 3);
    await refresh();
    await clock.advance(3 * metadataMaxAgeMs);
    expect(said).toEqual(["grown"]);
  });

  test("are counted with those of the retry topic, afresh", async () => {
    const { upkeep, make } = setting();
    await expect(upkeep.counts(never)).resolves.toEqual({ messages: 2, delays: 3 });
    make("orders.retry", 5);
    await expect(upkeep.counts(never)).resolves.toEqual({ messages: 5, delays: 3 });
  });

  test("cannot be counted where that is refused, which is told; without a connection it is not", async () => {
    const { upkeep, cluster, clock, told, make, said } = setting("orders.delay");
    await upkeep.start();
    cluster.topicsFail = cut();
    await clock.advance(metadataMaxAgeMs);
    expect(told).toEqual([]);
    cluster.topicsFail = new Error("The account may not.");
    await clock.advance(metadataMaxAgeMs);
    expect(told).toEqual([expect.stringContaining("The account may not.")]);
    cluster.topicsFail = undefined;
    make("orders", 3);
    await cluster.cluster.topics(["orders"], never, true);
    await clock.advance(metadataMaxAgeMs);
    expect(said).toEqual(["grown"]);
  });
});

describe("whether the topics exist", () => {
  test("is known when all of them do", async () => {
    await expect(setting().upkeep.exist(never)).resolves.toBe(true);
    await expect(setting("orders.delay").upkeep.exist(never)).resolves.toBe(false);
  });

  test("is asked again when there is a connection", async () => {
    const { upkeep, cluster, clock } = setting();
    cluster.topicsFail = cut();
    cluster.disconnect();
    const exist = upkeep.exist(never);
    await clock.advance(10_000);
    cluster.topicsFail = undefined;
    cluster.connect();
    await clock.advance(1_000);
    await expect(exist).resolves.toBe(true);
  });
});

describe("a topic that is missing", () => {
  test("has a moment to show itself, and is looked into then: it may be another one of its name", async () => {
    const { upkeep, make, clock, said } = setting("orders");
    const made = upkeep.makeAgain("orders");
    await clock.advance(400);
    make("orders");
    await clock.advance(200);
    await made;
    expect(said).toEqual(["doubt orders"]);
  });

  test("is said to be gone, made again, and then what was read of it is read anew", async () => {
    const world = setting("orders");
    world.restore = async () => {
      world.make("orders");
      return true;
    };
    await world.missFor("orders", 600);
    expect(world.said).toEqual([goneOrders, "restore", "back orders"]);
    expect(world.told).toEqual([]);
  });

  test("is looked for once, however many miss it", async () => {
    const { upkeep, clock, said } = setting("orders", "orders.retry");
    expect(upkeep.makeAgain("orders.retry")).toBe(upkeep.makeAgain("orders"));
    await clock.advance(500);
    expect(said.filter((each) => each === "restore")).toHaveLength(1);
  });

  test("is told where this transport does not make it, is gone but once, and is tried again with growing pauses", async () => {
    const { missFor, said, told } = setting("orders");
    const looked = await missFor("orders", 60_000);
    expect(said.filter((each) => each === goneOrders)).toHaveLength(1);
    expect(said).not.toContain("back orders");
    expect(told[0]).toContain(`There is no topic "orders" on Kafka.`);
    const pauses = looked.slice(1).map((at, index) => at - (looked[index] ?? 0));
    expect(pauses.slice(0, 6)).toEqual(pauses.slice(0, 6).toSorted((a, b) => a - b));
    expect(pauses[0]).toBeLessThan(1_000);
    expect(pauses.at(-1)).toBeGreaterThan(5_000);
    expect(pauses.at(-1)).toBeLessThan(6_000);
  });

  test("is read anew when somebody else has made it, and another time it is looked for as soon as the first time", async () => {
    const { missFor, make, cluster, upkeep, clock, said } = setting("orders");
    await missFor("orders", 20_000);
    make("orders");
    await clock.advance(5_000);
    await Promise.all([upkeep.makeAgain("orders"), clock.advance(500)]);
    expect(said.filter((each) => each.startsWith("back"))).toEqual(["back orders"]);
    cluster.leaders.delete("orders");
    expect((await missFor("orders", 2_000)).length).toBeGreaterThan(2);
    expect(said.filter((each) => each === goneOrders)).toHaveLength(2);
  });

  test("is tried again when its making fails, which is told unless there is no connection", async () => {
    const world = setting("orders");
    world.restore = () => Promise.reject(cut());
    await world.missFor("orders", 2_000);
    expect(world.told).toEqual([]);
    world.restore = () => Promise.reject(new Error("A policy forbids it."));
    await world.missFor("orders", 6_000);
    expect(world.told[0]).toContain("A policy forbids it.");
    expect(world.said.filter((each) => each === "restore").length).toBeLessThan(9);
    world.restore = async () => {
      world.make("orders");
      return true;
    };
    await world.missFor("orders", 10_000);
    expect(world.said.filter((each) => each !== "restore")).toEqual([goneOrders, "back orders"]);
  });
});

describe("what was done with", () => {
  const done = (topic: string): HeldWindow => {
    const window = heldWindow(topic, 0);
    window.committed = 5;
    return window;
  };

  test("is deleted from time to time, of the group's own topics only", async () => {
    const { upkeep, windows, clock, trimmed } = setting();
    windows.push(done("orders"), done("orders.retry"), done("orders.delay"));
    await upkeep.start();
    expect(trimmed).toEqual([]);
    await clock.advance(metadataMaxAgeMs);
    expect(trimmed).toEqual(["orders.retry/0<5", "orders.delay/0<5"]);
    for (const window of windows) window.committed = 6;
    await clock.advance(metadataMaxAgeMs);
    expect(trimmed.slice(2)).toEqual(["orders.retry/0<6", "orders.delay/0<6"]);
  });

  test("is deleted when that is asked for", async () => {
    const { upkeep, windows, clock, trimmed } = setting();
    windows.push(done("orders.retry"));
    upkeep.trim();
    await clock.advance(0);
    expect(trimmed).toEqual(["orders.retry/0<5"]);
  });
});

test("when it has ended it looks after nothing, and leaves no timer behind", async () => {
  const world = setting("orders");
  await world.upkeep.start();
  const made = world.upkeep.makeAgain("orders");
  world.windows.push(heldWindow("orders.retry", 0));
  world.ending.abort();
  await made;
  await world.upkeep.makeAgain("orders");
  expect(world.clock.pending).toBe(0);
  await world.clock.advance(10 * metadataMaxAgeMs);
  expect([world.said, world.told, world.trimmed]).toEqual([[], [], []]);
});

test("is read anew when somebody makes it while it is waited for, although nobody misses it any more", async () => {
  const { missFor, make, clock, said } = setting("orders");
  await missFor("orders", 20_000);
  make("orders");
  await clock.advance(10_000);
  expect(said.at(-1)).toBe("back orders");
});

test("is looked into when it is there after all, also while another one is gone", async () => {
  const { missFor, upkeep, clock, said } = setting("orders.retry");
  await missFor("orders.retry", 20_000);
  await clock.advance(10_000);
  void upkeep.makeAgain("orders");
  await clock.advance(10_000);
  expect(said).toContain("doubt orders");
});
