import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import { createFakeKafka } from "./broker.fixture.ts";
import type { JoinAnswer } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import { errorCodes } from "./errors.ts";
import { withWalkLock } from "./walk-lock.ts";

const never = new AbortController().signal;
const members = [
  { id: "me", metadata: new Uint8Array() },
  { id: "other", metadata: new Uint8Array() },
];

const joined = (leader: string): JoinAnswer => ({ error: 0, generation: 1, leader, memberId: "me", members });
const refused = (error: number): JoinAnswer => ({ error, generation: -1, leader: "", memberId: "me", members: [] });

function setup(...joins: readonly JoinAnswer[]) {
  const clock = createVirtualClock();
  const kafka = createFakeKafka(clock);
  kafka.joins.push(...joins);
  const settings = { heartbeatIntervalMs: 3_000, sessionTimeoutMs: 30_000 };
  const options = { cluster: kafka.cluster, settings, environment: { clock, random: () => 0 } };
  let held: AbortSignal | undefined;
  const gate = Promise.withResolvers<void>();
  return {
    kafka,
    clock,
    release: () => gate.resolve(),
    held: () => held,
    lock: (signal = never) =>
      withWalkLock(options, "orders.dlq", signal, async (given) => {
        held = given;
        await Promise.race([
          gate.promise,
          new Promise((_, reject) => given.addEventListener("abort", () => reject(given.reason as Error))),
        ]);
      }),
  };
}

test("who leads the group works, and leaves it afterwards", async () => {
  const { kafka, clock, lock, held, release } = setup(refused(errorCodes.MEMBER_ID_REQUIRED), joined("me"));
  const work = lock();
  await clock.advance(2_000);
  expect(held()?.aborted).toBe(false);
  release();
  await work;
  expect(kafka.asked.filter((api) => api !== "heartbeat")).toEqual([
    "joinGroup",
    "joinGroup",
    "syncGroup",
    "leaveGroup",
  ]);
  expect(kafka.asked.filter((api) => api === "heartbeat")).toHaveLength(4);
});

test("who does not waits until it does", async () => {
  const { kafka, clock, lock, held, release } = setup(joined("other"), joined("other"), joined("me"));
  const work = lock();
  await clock.advance(600);
  kafka.heartbeats.push(errorCodes.REBALANCE_IN_PROGRESS);
  await clock.advance(600);
  expect(held()).toBeUndefined();
  kafka.heartbeats.push(errorCodes.REBALANCE_IN_PROGRESS);
  await clock.advance(600);
  expect(held()).toBeDefined();
  release();
  await work;
});

test("others who come disturb nobody who works", async () => {
  const { kafka, clock, lock, held, release } = setup(joined("me"), joined("me"));
  const work = lock();
  await clock.advance(600);
  kafka.heartbeats.push(errorCodes.REBALANCE_IN_PROGRESS);
  await clock.advance(2_000);
  expect(held()?.aborted).toBe(false);
  expect(kafka.joins).toHaveLength(0);
  release();
  await work;
});

test.each([
  ["the group has forgotten it", errorCodes.UNKNOWN_MEMBER_ID, []],
  ["another leads", errorCodes.REBALANCE_IN_PROGRESS, [joined("other")]],
])("work ends when %s", async (_what, heartbeat, joins) => {
  const { kafka, clock, lock, held } = setup(joined("me"), ...joins);
  const work = expect(lock()).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await clock.advance(600);
  kafka.heartbeats.push(heartbeat);
  await clock.advance(600);
  expect(held()?.aborted).toBe(true);
  await work;
});

test("a place that is lost before its turn is taken again", async () => {
  const { kafka, clock, lock, held, release } = setup(
    joined("other"),
    refused(errorCodes.UNKNOWN_MEMBER_ID),
    joined("me"),
  );
  const work = lock();
  await clock.advance(600);
  kafka.heartbeats.push(errorCodes.UNKNOWN_MEMBER_ID);
  await clock.advance(3_000);
  expect(held()).toBeDefined();
  release();
  await work;
});

test("who gives up while it waits leaves", async () => {
  const { kafka, clock, lock } = setup(joined("other"));
  const giveUp = new AbortController();
  const work = expect(lock(giveUp.signal)).rejects.toMatchObject({ name: "AbortError" });
  await clock.advance(600);
  giveUp.abort();
  await work;
  await clock.advance(0);
  expect(kafka.asked.at(-1)).toBe("leaveGroup");
});

test("a place outlives a lost connection", async () => {
  const { kafka, clock, lock, held, release } = setup(joined("me"));
  const work = lock();
  await clock.advance(100);
  let failures = 0;
  kafka.intercept = () => {
    if (failures++ < 3) throw new ConnectionFailure("cut", true);
  };
  await clock.advance(40_000);
  expect(held()?.aborted).toBe(false);
  release();
  await work;
  expect(kafka.asked.filter((api) => api === "joinGroup")).toHaveLength(1);
});

test("work ends when nothing was heard of the group for a session", async () => {
  const { kafka, clock, lock, held } = setup(joined("me"));
  const work = expect(lock()).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await clock.advance(100);
  kafka.intercept = () => {
    throw new ConnectionFailure("cut", true);
  };
  await clock.advance(29_000);
  expect(held()?.aborted).toBe(false);
  await clock.advance(2_000);
  expect(held()?.aborted).toBe(true);
  kafka.intercept = () => undefined;
  await clock.advance(2_000);
  await work;
  expect(kafka.asked.at(-1)).toBe("leaveGroup");
});

test("who has no place yet tries again after a lost connection, and gives up for a lack of rights", async () => {
  const { kafka, clock, lock, held } = setup(refused(errorCodes.GROUP_AUTHORIZATION_FAILED));
  kafka.intercept = () => {
    throw new ConnectionFailure("cut", true);
  };
  const work = expect(lock()).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  await clock.advance(60_000);
  kafka.intercept = () => undefined;
  await clock.advance(2_000);
  await work;
  expect(held()).toBeUndefined();
});
