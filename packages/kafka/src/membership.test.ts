import { createVirtualClock } from "@posthorn/core/testing";
import type { VirtualClock } from "@posthorn/core/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { Claim, Slot } from "./assignment.ts";
import { decodeClaim, encodeClaim, slotId } from "./assignment.ts";
import type { BrokerConnection, JoinRequest, OffsetCommit } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { closedError, errorCodes } from "./errors.ts";
import { decodeSubscription, encodeAssignment, encodeSubscription } from "./group-protocol.ts";
import type { Membership } from "./membership.ts";
import { createMembership } from "./membership.ts";

const sessionTimeoutMs = 3_000;
const slots = (...numbers: number[]): Slot[] => numbers.map((number) => ({ kind: "messages", number }));
const ids = (all: readonly Slot[]): string[] => all.map(slotId);

interface Setting {
  readonly clock: VirtualClock;
  readonly membership: Membership;
  /** What was asked of the group, in order, with what the member claimed. */
  readonly asked: string[];
  readonly claims: Claim[];
  readonly assigned: string[][];
  readonly lost: string[];
  readonly failed: unknown[];
  /** What the member holds; a test changes it as an intake would. */
  held: Slot[];
  /** What the group gives; by default everything of four. */
  share: Slot[];
  /** The next heartbeat's answers; then 0. */
  readonly heartbeats: number[];
  readonly joins: number[];
  readonly commits: number[];
  /** No broker can be reached. */
  down: boolean;
  closed: boolean;
  /** A joining is answered after that. */
  holdJoin: Promise<void> | undefined;
}

const running: Membership[] = [];
afterEach(() => {
  for (const membership of running.splice(0)) membership.end();
});

/** A group that gives the member what `share` says. */
function setting(leads = false): Setting {
  const clock = createVirtualClock();
  const up = { wake: () => undefined as void };
  let generation = 0;
  let shared: readonly { readonly memberId: string; readonly assignment: Uint8Array }[] = [];
  const connection = {
    async joinGroup({ memberId, metadata }: JoinRequest) {
      world.asked.push("join");
      await world.holdJoin;
      const refusal = world.joins.shift();
      const refused = { generation: -1, leader: "", members: [] };
      if (refusal !== undefined) return { ...refused, error: refusal, memberId };
      if (memberId === "") return { ...refused, error: errorCodes.MEMBER_ID_REQUIRED, memberId: `me-${generation}` };
      const claim = decodeClaim(decodeSubscription(metadata));
      world.claims.push(claim);
      generation++;
      const other = encodeSubscription([], encodeClaim({ held: slots(3), generation: 1, leaving: false }));
      const members = leads
        ? [
            { id: memberId, metadata },
            { id: "other", metadata: other },
          ]
        : [];
      return { error: 0, generation, leader: leads ? memberId : "other", memberId, members };
    },
    async syncGroup(session: { memberId: string }, assignments: typeof shared) {
      world.asked.push("sync");
      shared = assignments;
      const own = assignments.find(({ memberId }) => memberId === session.memberId)?.assignment;
      const given = encodeAssignment([], encodeClaim({ held: world.share, generation: -1, leaving: false }));
      return { error: 0, assignment: own ?? given };
    },
    async heartbeat() {
      world.asked.push("heartbeat");
      return world.heartbeats.shift() ?? 0;
    },
    async leaveGroup() {
      world.asked.push("leave");
      return 0;
    },
    async commitOffsets(_session: unknown, offsets: readonly OffsetCommit[]) {
      return offsets.map(({ topic, partition }) => ({ topic, partition, error: world.commits.shift() ?? 0 }));
    },
  } as unknown as BrokerConnection;
  const cluster = {
    get closed() {
      return world.closed;
    },
    async coordinator() {
      if (world.closed) throw closedError();
      if (world.down) throw new ConnectionFailure("no way", false);
      return connection;
    },
    ready: (signal: AbortSignal) =>
      world.down
        ? new Promise<void>((resolve, reject) => {
            up.wake = resolve;
            signal.addEventListener("abort", () => reject(signal.reason as Error));
          })
        : Promise.resolve(),
    forgetCoordinator: () => undefined,
    closeLane: () => undefined,
  } as unknown as Cluster;
  const membership = createMembership({
    cluster,
    environment: { clock, random: () => 0 },
    group: "orders",
    lane: "group-0",
    sessionTimeoutMs,
    heartbeatIntervalMs: 300,
    rebalanceTimeoutMs: 60_000,
    topics: ["orders"],
    counts: async () => ({ messages: 4, delays: 0 }),
    partitionsOf: ({ number }) => [{ topic: "orders", partition: number }],
    held: () => world.held,
    leaving: () => false,
    onAssigned(given) {
      world.assigned.push(ids(given));
      world.held = [...given];
    },
    onLost(error) {
      world.lost.push(error.message);
      world.held = [];
    },
    onFailed: (error) => void world.failed.push(error),
  });
  running.push(membership);
  const world: Setting = {
    clock,
    membership,
    asked: [],
    claims: [],
    assigned: [],
    lost: [],
    failed: [],
    held: [],
    share: slots(0, 1, 2, 3),
    heartbeats: [],
    joins: [],
    commits: [],
    down: false,
    closed: false,
    holdJoin: undefined,
  };
  return world;
}

/** Lets time pass in small steps, so that answers find their way in between. */
async function pass(world: Setting, forMs: number): Promise<void> {
  for (let passed = 0; passed < forMs; passed += 50) await world.clock.advance(50);
}

async function joined(world: Setting): Promise<void> {
  const started = world.membership.start(new AbortController().signal);
  await pass(world, 200);
  await started;
}

test("it joins under the id that the group gives it, and holds what it is given", async () => {
  const world = setting();
  await joined(world);
  expect(world.asked.slice(0, 3)).toEqual(["join", "join", "sync"]);
  expect(world.assigned).toEqual([ids(slots(0, 1, 2, 3))]);
  expect(world.membership.joined).toBe(true);
});

test("the leader shares out, and gives nobody what another one holds", async () => {
  const world = setting(true);
  await joined(world);
  expect(world.assigned).toEqual([ids(slots(0, 1))]);
});

test("it shows that it lives, and joins again when the group shares out anew, saying what it holds", async () => {
  const world = setting();
  await joined(world);
  world.heartbeats.push(0, errorCodes.REBALANCE_IN_PROGRESS);
  world.share = slots(0, 1);
  await pass(world, 1_000);
  expect(world.claims.map(({ held }) => ids(held))).toEqual([[], ids(slots(0, 1, 2, 3))]);
  expect(world.claims[1]?.generation).toBe(1);
  expect(world.assigned.at(-1)).toEqual(ids(slots(0, 1)));
  expect(world.lost).toEqual([]);
});

test("asked to, it joins again at once", async () => {
  const world = setting();
  await joined(world);
  world.held = slots(0);
  world.membership.rejoin();
  await pass(world, 50);
  expect(ids(world.claims.at(-1)?.held ?? [])).toEqual(ids(slots(0)));
});

describe("the place is lost", () => {
  test("when the group does not know it any more: then it joins anew, and claims nothing", async () => {
    const world = setting();
    await joined(world);
    world.heartbeats.push(errorCodes.UNKNOWN_MEMBER_ID);
    await pass(world, 1_000);
    expect(world.lost).toHaveLength(1);
    expect(world.claims.at(-1)).toMatchObject({ held: [], generation: -1 });
    expect(world.membership.joined).toBe(true);
  });

  test("when nothing was heard of the group for a session's length, although nobody can be reached", async () => {
    const world = setting();
    await joined(world);
    world.down = true;
    await pass(world, sessionTimeoutMs - 500);
    expect(world.lost).toEqual([]);
    await pass(world, 1_000);
    expect(world.lost).toHaveLength(1);
    expect(world.membership.joined).toBe(false);
  });

  test("when a commit is refused as that of a stranger", async () => {
    const world = setting();
    await joined(world);
    world.commits.push(errorCodes.ILLEGAL_GENERATION);
    const offsets = [{ topic: "orders", partition: 0, offset: 1n, metadata: "" }];
    await expect(world.membership.commit(offsets)).resolves.toEqual(["lost"]);
    expect(world.lost).toHaveLength(1);
    await expect(world.membership.commit(offsets)).resolves.toEqual(["lost"]);
  });
});

test("a commit while the group shares out is made later, and one without a connection, too", async () => {
  const world = setting();
  await joined(world);
  const offsets = [{ topic: "orders", partition: 0, offset: 1n, metadata: "" }];
  world.commits.push(errorCodes.REBALANCE_IN_PROGRESS, errorCodes.NOT_COORDINATOR);
  await expect(world.membership.commit(offsets)).resolves.toEqual(["later"]);
  await expect(world.membership.commit(offsets)).resolves.toEqual(["later"]);
  world.down = true;
  await expect(world.membership.commit(offsets)).resolves.toEqual(["later"]);
  world.down = false;
  await expect(world.membership.commit(offsets)).resolves.toEqual(["done"]);
  expect(world.lost).toEqual([]);
});

test("a commit that is refused for its generation while the member joins the next one is made later: nothing is lost", async () => {
  const world = setting();
  await joined(world);
  const joinsBefore = world.asked.length;
  const hold = Promise.withResolvers<void>();
  world.holdJoin = hold.promise;
  world.membership.rejoin();
  await pass(world, 50);
  expect(world.asked.slice(joinsBefore)).toEqual(["join"]);
  world.commits.push(errorCodes.ILLEGAL_GENERATION);
  const offsets = [{ topic: "orders", partition: 0, offset: 1n, metadata: "" }];
  await expect(world.membership.commit(offsets)).resolves.toEqual(["later"]);
  expect(world.lost).toEqual([]);
  hold.resolve();
  await pass(world, 50);
  await expect(world.membership.commit(offsets)).resolves.toEqual(["done"]);
});

test("a partition whose commit is refused keeps back no other", async () => {
  const world = setting();
  await joined(world);
  const offsets = [0, 1, 2].map((number) => ({ topic: "orders", partition: number, offset: 1n, metadata: "" }));
  world.commits.push(0, errorCodes.TOPIC_AUTHORIZATION_FAILED, errorCodes.UNKNOWN_TOPIC_OR_PARTITION);
  const [first, second, third] = await world.membership.commit(offsets);
  expect(first).toBe("done");
  expect(second).toMatchObject({ code: "ACCESS_REFUSED" });
  expect(third).toBe("later");
});

test("whoever starts while the transport is closed hears it, and nothing is tried again", async () => {
  const world = setting();
  world.closed = true;
  const never = new AbortController().signal;
  await expect(world.membership.start(never)).rejects.toMatchObject({ code: "CLOSED" });
  const before = world.asked.length;
  await pass(world, 2_000);
  expect(world.asked).toHaveLength(before);
  expect(world.failed).toEqual([]);
});

test("a group that refuses it is told of, and asked again", async () => {
  const world = setting();
  world.joins.push(errorCodes.GROUP_AUTHORIZATION_FAILED);
  await joined(world);
  expect(world.failed).toMatchObject([{ code: "ACCESS_REFUSED" }]);
  expect(world.membership.joined).toBe(true);
});

test("who leaves says so, and who has ended asks for nothing more", async () => {
  const world = setting();
  await joined(world);
  await world.membership.leave(new AbortController().signal);
  expect(world.asked.at(-1)).toBe("leave");
  world.membership.end();
  const before = world.asked.length;
  await pass(world, 2_000);
  expect(world.asked).toHaveLength(before);
});
