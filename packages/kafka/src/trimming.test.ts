import { expect, test } from "vitest";
import { errorCodes } from "./errors.ts";
import { createFetchCluster, cut, heldWindow } from "./fetch-cluster.fixture.ts";
import type { HeldWindow } from "./places.ts";
import { createTrimming } from "./trimming.ts";

/** A group's retry topic. @param committed where the group has come to in each partition */
function setting(committed: readonly number[]) {
  const windows = committed.map((offset, partition): HeldWindow => {
    const window = heldWindow("orders.retry", partition);
    window.append([], offset);
    window.committed = offset;
    return window;
  });
  const ending = new AbortController();
  const world = {
    windows,
    ending,
    told: [] as unknown[],
    /** Every request, as `1: 0<5 2<7`: what lies before offset 5 of partition 0 and before offset 7 of partition 2. */
    asked: [] as string[],
    /** What a broker answers for a partition. */
    answer: async (_partition: number): Promise<number> => 0,
  };
  const cluster = createFetchCluster({ "orders.retry": [1, 2, 1, undefined] }, (node) => ({
    async deleteRecords(places) {
      world.asked.push(`${node}: ${places.map(({ partition, offset }) => `${partition}<${offset}`).join(" ")}`);
      return Promise.all(
        places.map(async ({ topic, partition }) => ({ topic, partition, error: await world.answer(partition) })),
      );
    },
  }));
  const trimming = createTrimming({
    cluster: cluster.cluster,
    windows: () => windows,
    ending: ending.signal,
    onFailed: (error) => void world.told.push(error),
  });
  return Object.assign(world, { trim: () => trimming.trim() });
}

test("what the group is done with is deleted, with one request to each broker", async () => {
  const { trim, asked, windows } = setting([5, 6, 7]);
  windows[0]?.append([], 50);
  await trim();
  expect(asked).toEqual(["1: 0<5 2<7", "2: 1<6"]);
});

test("what was deleted is not deleted again: only what was done since then", async () => {
  const { trim, asked, windows } = setting([5, 6]);
  await trim();
  const [first] = windows;
  if (first !== undefined) first.committed = 9;
  await trim();
  expect(asked.slice(2)).toEqual(["1: 0<9"]);
});

test("what is committed while a request is under way is deleted next time", async () => {
  const world = setting([5]);
  world.answer = async () => {
    for (const window of world.windows) window.committed = 9;
    return 0;
  };
  await world.trim();
  await world.trim();
  expect(world.asked).toEqual(["1: 0<5", "1: 0<9"]);
});

test("without anything to delete nobody is asked", async () => {
  const { trim, asked, windows } = setting([5, 0]);
  for (const window of windows) window.logStart = window.committed;
  await trim();
  expect(asked).toEqual([]);
});

test("a refusal is told, and holds up no other partition", async () => {
  const world = setting([5, 6, 7]);
  world.answer = async (partition) => (partition === 0 ? errorCodes.TOPIC_AUTHORIZATION_FAILED : 0);
  await world.trim();
  expect(world.told).toMatchObject([{ code: "ACCESS_REFUSED", message: expect.stringContaining("orders.retry") }]);
  expect(world.windows.map(({ logStart }) => logStart)).toEqual([0, 6, 7]);
});

test.each(["NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION", "THROTTLING_QUOTA_EXCEEDED"] as const)(
  "%s passes: it is for the next time, and no trouble",
  async (code) => {
    const world = setting([5]);
    world.answer = async () => errorCodes[code];
    await world.trim();
    world.answer = async () => 0;
    await world.trim();
    await world.trim();
    expect([world.asked, world.told]).toEqual([["1: 0<5", "1: 0<5"], []]);
  },
);

test("a lost connection is no trouble either, but anything else is", async () => {
  const world = setting([5]);
  world.answer = () => Promise.reject(cut());
  await world.trim();
  expect(world.told).toEqual([]);
  const damaged = new Error("The answer is damaged.");
  world.answer = () => Promise.reject(damaged);
  await world.trim();
  expect(world.told).toEqual([damaged]);
  expect(world.asked).toEqual(["1: 0<5", "1: 0<5"]);
});

test("a partition that has no leader now is for the next time", async () => {
  const { trim, asked, told } = setting([0, 0, 7, 8]);
  await trim();
  expect([asked, told]).toEqual([["1: 2<7"], []]);
});

test("one is under way at a time", async () => {
  const world = setting([5]);
  const { promise, resolve } = Promise.withResolvers<number>();
  world.answer = () => promise;
  const first = world.trim();
  await world.trim();
  expect(world.asked).toHaveLength(1);
  resolve(errorCodes.NOT_LEADER_OR_FOLLOWER);
  await first;
  await world.trim();
  expect(world.asked).toHaveLength(2);
});

test("after the end nothing is asked, and what was under way is no trouble", async () => {
  const world = setting([5]);
  world.answer = () => {
    world.ending.abort();
    return Promise.reject(new Error("The connection was closed."));
  };
  await world.trim();
  await world.trim();
  expect([world.asked, world.told]).toEqual([["1: 0<5"], []]);
});

test("a broker that is away holds up no other", async () => {
  const world = setting([5, 6]);
  world.answer = async (partition) => (partition === 0 ? Promise.reject(cut()) : 0);
  await world.trim();
  expect(world.windows.map(({ logStart }) => logStart)).toEqual([0, 6]);
});
