import { describe, expect, test } from "vitest";
import type { CommittedOffset, OffsetCommit, TopicPartition } from "./client.ts";
import { logEnd } from "./client.ts";
import { errorCodes, kafkaError } from "./errors.ts";
import { createFetchCluster } from "./fetch-cluster.fixture.ts";
import { HeldSlot } from "./held-slot.ts";
import type { CommitOutcome, Membership } from "./membership.ts";
import { createPlaces } from "./places.ts";
import { isSuspect } from "./starts.ts";

const messages = (number: number): HeldSlot => new HeldSlot({ kind: "messages", number });
const delays = (number: number): HeldSlot => new HeldSlot({ kind: "delays", number });

/** Slot i is partition i of `orders` and of `orders.retry`, or of `orders.delay`. */
function partitionsOf({ slot: { kind, number } }: HeldSlot): TopicPartition[] {
  const topics = kind === "delays" ? ["orders.delay"] : ["orders", "orders.retry"];
  return topics.map((topic) => ({ topic, partition: number }));
}

type Committed = Readonly<Record<string, { readonly offset: number; readonly metadata?: string }>>;

/** All logs go from 10 to 20. @param committed by partition, such as `orders/0` */
function setting(committed: Committed = {}) {
  const world = {
    /** Every commit, as `orders/0@12 {"by":"me"}`. */
    written: [] as string[],
    /** Of the partitions; then `done`. */
    outcomes: [] as CommitOutcome[],
    /** Error codes for partitions, such as `orders/0`. */
    refusals: new Map<string, number>(),
    /** Every question for the logs' starts and ends, as `1: orders/0`. */
    asked: [] as string[],
    /** Happens while the logs are asked. */
    onAsked: (): void => undefined,
    /** Happens while it is written. */
    onWritten: (): void => undefined,
  };
  const membership = {
    async committed(partitions: readonly TopicPartition[]): Promise<readonly CommittedOffset[]> {
      return partitions.map((place) => {
        const { offset = -1, metadata = "" } = committed[nameOf(place)] ?? {};
        return { ...place, error: 0, offset: BigInt(offset), metadata };
      });
    },
    async commit(offsets: readonly OffsetCommit[]): Promise<readonly CommitOutcome[]> {
      world.onWritten();
      world.written.push(...offsets.map((each) => `${nameOf(each)}@${each.offset} ${each.metadata}`));
      return offsets.map(() => world.outcomes.shift() ?? "done");
    },
  };
  const cluster = createFetchCluster(
    { orders: [1, 2], "orders.retry": [1, 2], "orders.delay": [1, 1] },
    (node, lane) => ({
      async listOffsets(places) {
        world.asked.push(`${node} on ${lane}: ${places.map(nameOf).join(" ")}`);
        world.onAsked();
        return places.map(({ topic, partition, time }) => {
          const error = world.refusals.get(nameOf({ topic, partition })) ?? 0;
          return { topic, partition, error, offset: error === 0 ? (time === logEnd ? 20n : 10n) : -1n };
        });
      },
    }),
  );
  const places = createPlaces({
    cluster: cluster.cluster,
    membership: membership as unknown as Membership,
    lane: "fetch-0",
    instance: "me",
    ending: new AbortController().signal,
  });
  return Object.assign(world, {
    cluster,
    places,
    open: (...slots: HeldSlot[]) => places.open(slots, partitionsOf, true),
    openTogether: (...slots: HeldSlot[]) => places.open(slots, partitionsOf, false),
  });
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

/** Where its windows begin. */
const positions = ({ windows }: HeldSlot): number[] => windows.map(({ position }) => position);

describe("it begins", () => {
  test("where the group has come to, and at the log's start where the group has not been", async () => {
    const [slot, delay] = [messages(0), delays(1)];
    const { open } = setting({ "orders/0": { offset: 12 }, "orders.delay/1": { offset: 15 } });
    await expect(open(slot, delay)).resolves.toEqual([slot, delay]);
    expect([positions(slot), positions(delay)]).toEqual([[12, 10], [15]]);
    expect(slot.windows.map(({ committed, logStart }) => [committed, logStart])).toEqual([
      [12, 10],
      [10, 10],
    ]);
  });

  test("at the log's start where the group is said to be behind the log's end: it was in another log of that name", async () => {
    const slot = messages(0);
    const metadata = `{"by":"before","crashes":4}`;
    const { open, written } = setting({ "orders/0": { offset: 21, metadata }, "orders.retry/0": { offset: 20 } });
    await open(slot);
    expect(positions(slot)).toEqual([10, 20]);
    expect(written[0]).toBe(`orders/0@10 {"by":"me"}`);
  });

  test("where the group has come to although it is not there any more: whoever fetches finds out what was lost", async () => {
    const slot = messages(0);
    await setting({ "orders/0": { offset: 3 } }).open(slot);
    expect(positions(slot)).toEqual([3, 10]);
  });
});

describe("that we are here", () => {
  test("is written beside the place before anything can be read there", async () => {
    const slot = messages(0);
    const world = setting({ "orders/0": { offset: 12 } });
    world.onWritten = () => expect(slot.windows).toEqual([]);
    await world.open(slot);
    expect(world.written).toEqual([`orders/0@12 {"by":"me"}`, `orders.retry/0@10 {"by":"me"}`]);
    expect(slot.windows).toHaveLength(2);
  });

  test("counts the crash of who was here before, and what has crashed often is suspect", async () => {
    const slot = messages(0);
    const [once, twice] = [`{"by":"before"}`, `{"by":"before","crashes":1}`];
    const { open, written } = setting({
      "orders/0": { offset: 12, metadata: once },
      "orders.retry/0": { offset: 13, metadata: twice },
    });
    await open(slot);
    expect(written).toEqual([`orders/0@12 {"by":"me","crashes":1}`, `orders.retry/0@13 {"by":"me","crashes":2}`]);
    expect(slot.windows.map((window) => isSuspect(window.starts, window))).toEqual([false, true]);
    expect(slot.windows[1]?.starts.suspectUntil).toBe(20);
  });

  test("is not written in delays, which run no handler", async () => {
    const slot = delays(0);
    const { open, written } = setting();
    await expect(open(slot)).resolves.toEqual([slot]);
    expect(written).toEqual([]);
    expect(positions(slot)).toEqual([10]);
  });
});

describe("nothing is opened", () => {
  test.each(["later", "lost"] as const)("when a place cannot be written: %s", async (outcome) => {
    const slots = [messages(0), messages(1)];
    const { open, outcomes } = setting();
    outcomes.push("done", "done", "done", outcome);
    await expect(open(...slots)).resolves.toEqual([]);
    expect(slots.flatMap(positions)).toEqual([]);
  });

  test("when the group refuses it, which is thrown", async () => {
    const slot = messages(0);
    const { open, outcomes } = setting();
    const refusal = kafkaError("GROUP_AUTHORIZATION_FAILED", `group "orders"`);
    outcomes.push("later", refusal);
    await expect(open(slot)).rejects.toBe(refusal);
    expect(positions(slot)).toEqual([]);
  });

  test("of a slot that was lost meanwhile, nor written there: it may be another one's by now", async () => {
    const [lost, kept] = [messages(0), messages(1)];
    const world = setting();
    world.onAsked = () => lost.void(new Error("lost"));
    await expect(world.open(lost, kept)).resolves.toEqual([kept]);
    expect(world.written.map((each) => each.split(" ")[0])).toEqual(["orders/1@10", "orders.retry/1@10"]);
    expect([positions(lost), positions(kept)]).toEqual([[], [10, 10]]);
  });
});

describe("where the logs begin and end", () => {
  test("is asked of those that lead them, on the line of work that it was given", async () => {
    const { open, asked } = setting();
    await open(messages(0), messages(1));
    expect(asked.toSorted()).toEqual([
      "1 on fetch-0: orders/0 orders.retry/0",
      "1 on fetch-0: orders/0 orders.retry/0",
      "2 on fetch-0: orders/1 orders.retry/1",
      "2 on fetch-0: orders/1 orders.retry/1",
    ]);
  });

  test("is also told of one partition alone", async () => {
    await expect(setting().places.startOf({ topic: "orders", partition: 1 })).resolves.toBe(10);
  });

  test("is to be asked again where there is no leader, which holds up no other: who it is was asked meanwhile", async () => {
    const slot = messages(0);
    const { open, openTogether, cluster, written } = setting();
    cluster.leaders.set("orders", [undefined, 2]);
    await cluster.cluster.topics(["orders"], new AbortController().signal, true);
    cluster.leaders.set("orders", [2, 2]);
    const other = messages(1);
    await expect(openTogether(slot, other)).resolves.toEqual([]);
    cluster.leaders.set("orders", [undefined, 2]);
    await cluster.cluster.topics(["orders"], new AbortController().signal, true);
    cluster.leaders.set("orders", [2, 2]);
    await expect(open(slot, other)).resolves.toEqual([other]);
    expect([written[0], positions(slot)]).toEqual([`orders/1@10 {"by":"me"}`, []]);
    await expect(open(slot)).resolves.toEqual([slot]);
  });

  test.each(["NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION"] as const)(
    "is to be asked again after %s: who leads was asked meanwhile",
    async (code) => {
      const slot = messages(0);
      const { open, refusals, asked, cluster, written } = setting();
      refusals.set("orders/0", errorCodes[code]);
      cluster.leaders.set("orders", [3, 2]);
      await expect(open(slot)).resolves.toEqual([]);
      expect([written, positions(slot)]).toEqual([[], []]);
      refusals.clear();
      await open(slot);
      expect(asked).toContain("3 on fetch-0: orders/0");
    },
  );

  test("cannot be known where the account may not know it, which is thrown", async () => {
    const { open, refusals } = setting();
    refusals.set("orders/0", errorCodes.TOPIC_AUTHORIZATION_FAILED);
    await expect(open(messages(0))).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  });
});
