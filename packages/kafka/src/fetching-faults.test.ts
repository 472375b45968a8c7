/** Whatever fails: it is asked for again, not too often, told where somebody must do something, and holds up no other partition. */
import { describe, expect, test } from "vitest";
import { errorCodes, kafkaError } from "./errors.ts";
import type { FetchAnswer } from "./fetch-cluster.fixture.ts";
import { createFetchSetting, cut, fetchedRecords, heldWindow } from "./fetch-cluster.fixture.ts";
import type { HeldWindow } from "./places.ts";

describe("a broker's no", () => {
  const refused = (error: number): FetchAnswer => ({ "orders/0": { error } });
  const both = (): readonly HeldWindow[] => [heldWindow("orders", 0), heldWindow("orders", 1)];

  test("to an offset is looked into; the other partitions go on, and then it is asked again", async () => {
    const windows = both();
    const world = createFetchSetting({ orders: [1, 1] }, windows);
    await world.wake();
    await world.answer(1, refused(errorCodes.OFFSET_OUT_OF_RANGE));
    expect(world.outOfRange).toEqual([windows[0]]);
    expect(world.asked.slice(1)).toEqual(["1: orders/1@0"]);
    await world.clock.advance(100);
    await world.answer(1);
    expect(world.asked.slice(2)).toEqual(["1: orders/0@0 orders/1@0"]);
    expect([world.told, world.cluster.questions]).toEqual([[], []]);
  });

  test("to a topic that it does not know is looked into, and is no trouble yet", async () => {
    const world = createFetchSetting({ orders: [1, 1] }, both());
    await world.wake();
    await world.answer(1, refused(errorCodes.UNKNOWN_TOPIC_OR_PARTITION));
    expect([world.missing, world.cluster.questions, world.told]).toEqual([["orders"], ["orders"], []]);
    await world.clock.advance(100);
    await world.answer(1);
    expect(world.asked.at(-1)).toBe("1: orders/0@0 orders/1@0");
  });

  test("to lead makes it ask who does, and ask that one", async () => {
    const world = createFetchSetting({ orders: [1, 1] }, both());
    await world.wake();
    world.cluster.leaders.set("orders", [2, 1]);
    await world.answer(1, refused(errorCodes.NOT_LEADER_OR_FOLLOWER));
    await world.clock.advance(100);
    expect(world.asked.slice(1)).toEqual(["1: orders/1@0", "2: orders/0@0"]);
    expect([world.cluster.questions, world.missing, world.told]).toEqual([["orders"], [], []]);
  });

  test("to the account is told, and asked again much later", async () => {
    const world = createFetchSetting({ orders: [1, 1] }, both());
    await world.wake();
    await world.answer(1, refused(errorCodes.TOPIC_AUTHORIZATION_FAILED));
    expect(world.told).toMatchObject([{ code: "ACCESS_REFUSED" }]);
    await world.clock.advance(5_000);
    await world.answer(1);
    expect(world.asked.slice(1)).toEqual(["1: orders/1@0", "1: orders/1@0"]);
    await world.clock.advance(10_000);
    await world.answer(1);
    expect(world.asked.at(-1)).toBe("1: orders/0@0 orders/1@0");
  });
});

test("what cannot be read is told; what comes before it is taken, and it is asked for again much later", async () => {
  const window = heldWindow("orders", 0);
  const world = createFetchSetting({ orders: [1] }, [window]);
  await world.wake();
  await world.answer(1, {
    "orders/0": { records: fetchedRecords(0, 2), next: 2n, undecodable: new Error("There is no codec for it.") },
  });
  expect(window.waiting).toBe(2);
  expect(world.told.map(String)).toEqual([expect.stringContaining("There is no codec for it.")]);
  await world.clock.advance(5_000);
  await world.wake();
  expect(world.asked).toHaveLength(1);
  await world.clock.advance(10_000);
  expect(world.asked.slice(1)).toEqual(["1: orders/0@2"]);
});

describe("without a connection", () => {
  test("it waits until there is one, asks who leads, and goes on", async () => {
    const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
    await world.wake();
    world.cluster.disconnect();
    await world.fail(1, cut());
    await world.clock.advance(60_000);
    await world.wake();
    expect([world.asked.length, world.cluster.questions.length]).toEqual([1, 0]);
    world.cluster.leaders.set("orders", [2]);
    world.cluster.connect();
    await world.clock.advance(1_000);
    expect(world.asked.slice(1)).toEqual(["2: orders/0@0"]);
    expect(world.told).toEqual([]);
  });

  test("to one broker it tries again with growing pauses, and others are asked meanwhile", async () => {
    const world = createFetchSetting({ orders: [1, 2] }, [heldWindow("orders", 0), heldWindow("orders", 1)]);
    world.away.add(1);
    await world.wake();
    await world.clock.advance(30_000);
    const tries = world.asked.filter((each) => each.startsWith("1"));
    expect(tries.length).toBeGreaterThan(20);
    expect(tries.length).toBeLessThan(40);
    await world.answer(2, { "orders/1": { records: fetchedRecords(0, 1), next: 1n } });
    expect(world.asked.at(-1)).toBe("2: orders/1@1");
    world.away.clear();
    await world.clock.advance(2_000);
    await world.answer(1);
    expect(world.told).toEqual([]);
  });

  test("it tries again as soon as the first time when it had one meanwhile", async () => {
    const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
    world.away.add(1);
    await world.wake();
    await world.clock.advance(10_000);
    world.away.clear();
    await world.clock.advance(2_000);
    await world.answer(1);
    const before = world.asked.length;
    await world.fail(1, cut());
    await world.clock.advance(200);
    expect(world.asked.length).toBe(before + 1);
  });
});

test("a partition without a leader is asked for with growing pauses, and holds up no other", async () => {
  const world = createFetchSetting({ orders: [undefined, 1] }, [heldWindow("orders", 0), heldWindow("orders", 1)]);
  for (let turn = 0; turn < 100; turn++) {
    await world.wake();
    await world.clock.advance(10);
  }
  expect(world.asked).toEqual(["1: orders/1@0"]);
  expect(world.cluster.questions.length).toBeGreaterThan(2);
  expect(world.cluster.questions.length).toBeLessThanOrEqual(7);
  world.cluster.leaders.set("orders", [2, 1]);
  await world.clock.advance(1_000);
  expect(world.asked.slice(1)).toEqual(["2: orders/0@0"]);
  expect([world.missing, world.told]).toEqual([[], []]);
});

test("a topic that nobody knows is missed", async () => {
  const world = createFetchSetting({}, [heldWindow("orders", 0)]);
  await world.wake();
  expect(world.missing).toEqual(["orders"]);
});

test("who leads is asked again with growing pauses where that is refused, which is told", async () => {
  const world = createFetchSetting({ orders: [undefined] }, [heldWindow("orders", 0)]);
  world.cluster.topicsFail = kafkaError("TOPIC_AUTHORIZATION_FAILED", `topic "orders"`);
  await world.wake();
  await world.clock.advance(10_000);
  expect(world.told[0]).toMatchObject({ code: "ACCESS_REFUSED" });
  expect(world.cluster.questions.length).toBeLessThan(20);
  world.cluster.topicsFail = undefined;
  world.cluster.leaders.set("orders", [1]);
  await world.clock.advance(2_000);
  expect(world.asked).toEqual(["1: orders/0@0"]);
});

test("an answer that cannot be understood is told, and asked for again", async () => {
  const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
  await world.wake();
  await world.fail(1, new Error("It is damaged."));
  await world.clock.advance(1_000);
  expect(world.told).toMatchObject([{ message: "It is damaged." }]);
  expect(world.asked).toHaveLength(2);
});

describe("who has ended asks for nothing more", () => {
  test("not even what it was about to ask for", async () => {
    const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
    world.fetching.wake();
    world.ending.abort();
    await world.clock.advance(60_000);
    expect(world.asked).toEqual([]);
  });

  test("while a fetch is under way", async () => {
    const window = heldWindow("orders", 0);
    const world = createFetchSetting({ orders: [1] }, [window]);
    await world.wake();
    world.ending.abort();
    await world.fail(1, new Error("The connection was closed."));
    await world.wake();
    await world.clock.advance(60_000);
    expect([world.asked.length, world.cluster.questions, world.told]).toEqual([1, [], []]);
  });

  test("while it waits for a connection, a leader, or a partition that was refused", async () => {
    const world = createFetchSetting({ orders: [1, 2, undefined] }, [
      heldWindow("orders", 0),
      heldWindow("orders", 1),
      heldWindow("orders", 2),
    ]);
    await world.wake();
    await world.answer(2, { "orders/1": { error: errorCodes.TOPIC_AUTHORIZATION_FAILED } });
    world.cluster.disconnect();
    await world.fail(1, cut());
    const before = [world.asked.length, world.cluster.questions.length];
    world.ending.abort();
    world.cluster.connect();
    await world.clock.advance(60_000);
    expect([world.asked.length, world.cluster.questions.length]).toEqual(before);
  });

  test("when the transport is closed", async () => {
    const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
    await world.wake();
    world.cluster.disconnect();
    await world.fail(1, cut());
    world.cluster.close();
    await world.wake();
    const told = world.told.length;
    await world.clock.advance(60_000);
    expect([world.asked.length, world.cluster.questions.length, world.told.length]).toEqual([1, 0, told]);
  });
});

test("nothing is told of a transport that is closed", async () => {
  const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
  await world.wake();
  await world.fail(1, cut());
  world.cluster.close();
  await world.clock.advance(60_000);
  expect(world.told).toEqual([]);
});

test("a broker that is away is asked with growing pauses also while another one answers", async () => {
  const world = createFetchSetting({ orders: [1, 2] }, [heldWindow("orders", 0), heldWindow("orders", 1)]);
  world.away.add(1);
  await world.wake();
  for (let turn = 0; turn < 60; turn++) {
    await world.clock.advance(500);
    await world.answer(2);
  }
  expect(world.asked.filter((each) => each.startsWith("1")).length).toBeLessThan(40);
});

test("a timer that fires a little early, as those of Node.js do, wakes it all the same", async () => {
  const world = createFetchSetting({ orders: [1] }, [heldWindow("orders", 0)]);
  const setTimeout = world.clock.setTimeout.bind(world.clock);
  world.clock.setTimeout = (callback, delayMs) => setTimeout(callback, delayMs - 0.5);
  await world.wake();
  await world.answer(1, { "orders/0": { undecodable: new Error("There is no codec for it.") } });
  await world.clock.advance(60_000);
  expect(world.asked).toHaveLength(2);
});
