import type { TransportAdmin, Verdict, WalkOptions } from "@posthorn/core/transport";
import { deadLetterAddress, failed, inletAddress, PosthornError } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { describe, expect, test } from "vitest";
import { createAdmin } from "./admin.ts";
import type { FakeKafka } from "./broker.fixture.ts";
import { createFakeKafka, during } from "./broker.fixture.ts";
import { ConnectionFailure } from "./client.ts";
import { errorCodes } from "./errors.ts";
import { readOptions } from "./options.ts";

const never = new AbortController().signal;
const orders = { kind: "queue", name: "orders", ordered: false } as const;
const dead = deadLetterAddress(orders, "orders");
const inlet = inletAddress(orders, "orders");
const everything = { signal: never, limit: 1_000, maxPending: 1 };

const leading = { error: 0, generation: 1, leader: "me", memberId: "me", members: [] };

interface Setup {
  readonly kafka: FakeKafka;
  readonly clock: VirtualClock;
  readonly admin: TransportAdmin;
  /** Dead letters with these ids, each under a key of its own. */
  readonly die: (...ids: readonly (number | string)[]) => void;
  readonly walk: (
    visit: (id: string) => Verdict | Promise<Verdict>,
    options?: Partial<WalkOptions>,
    source?: typeof dead | typeof inlet,
  ) => Promise<void>;
  readonly ids: (source?: typeof dead | typeof inlet) => Promise<string[]>;
  readonly ready: (source?: typeof dead | typeof inlet) => Promise<number>;
}

function setup(): Setup {
  const clock = createVirtualClock();
  const kafka = createFakeKafka(clock);
  for (const name of ["orders", "orders.retry"]) kafka.makeTopic(name, 2);
  kafka.makeTopic("orders.dlq", 1);
  const environment = { clock, random: () => 0 };
  const { cluster, producer } = kafka;
  const admin = createAdmin({ cluster, producer, settings: readOptions({}), environment });
  let key = 0;
  const walk: Setup["walk"] = (visit, options, source = dead) =>
    during(
      clock,
      admin.walk(source, async ({ id }) => visit(id), { ...everything, ...options }),
    );
  return {
    kafka,
    clock,
    admin,
    walk,
    die: (...ids) => {
      for (const id of ids) kafka.append("orders.dlq", 0, letter(id, `key-${key++}`));
    },
    async ids(source) {
      const found: string[] = [];
      await walk(
        (id) => {
          found.push(id);
          return "keep";
        },
        {},
        source,
      );
      return found;
    },
    ready: async (source = dead) => (await during(clock, admin.depth(source, { signal: never }))).ready,
  };
}

function letter(id: number | string, key?: string, bytes = 1) {
  return {
    key: key === undefined ? null : Buffer.from(key),
    value: Buffer.alloc(bytes),
    headers: [["id", Buffer.from(String(id))]] as const,
  };
}

describe("dead letters", () => {
  test("are visited in their order; what is removed is gone for everybody", async () => {
    const { kafka, clock, die, walk, ids, ready } = setup();
    die(0, 1, 2, 3);
    await walk((id) => (id === "1" ? "remove" : "keep"));
    expect(await ids()).toEqual(["0", "2", "3"]);
    expect(await ready()).toBe(3);
    const other = createAdmin({
      cluster: kafka.cluster,
      producer: kafka.producer,
      settings: readOptions({}),
      environment: { clock, random: () => 0 },
    });
    expect((await other.depth(dead, { signal: never })).ready).toBe(3);
    await walk(() => "remove", { maxPending: 3 });
    expect(await ids()).toEqual([]);
    expect(await ready()).toBe(0);
  });

  test("what was removed further on is known before the first visit", async () => {
    const { kafka, ids } = setup();
    const big = 700_000;
    kafka.append("orders.dlq", 0, letter(0, "a", big), letter(1, "b", big), letter(2, "c", big));
    kafka.append("orders.dlq", 0, { key: Buffer.from("a"), value: null }, letter("1 again", "b"));
    expect(await ids()).toEqual(["2", "1 again"]);
  });

  test("a look reads only what is new since the last one", async () => {
    const { kafka, die, ready } = setup();
    die(0, 1, 2);
    expect(await ready()).toBe(3);
    kafka.fetches.length = 0;
    expect(await ready()).toBe(3);
    die(3);
    expect(await ready()).toBe(4);
    expect(kafka.fetches).toEqual(["orders.dlq 0 2", "orders.dlq 0 2"]);
  });

  test("everything is read again when the log is not the one that was known, and after an hour", async () => {
    const { kafka, clock, die, walk, ready, ids } = setup();
    die(0, 1, 2);
    expect(await ready()).toBe(3);
    kafka.makeTopic("orders.dlq", 1);
    die("a", "b", "c", "d", "e");
    expect(await ids()).toEqual(["a", "b", "c", "d", "e"]);
    await walk(() => "remove");
    expect(await ids()).toEqual([]);
    kafka.makeTopic("orders.dlq", 1);
    die("x");
    expect(await ids()).toEqual(["x"]);
    const log = kafka.topics.get("orders.dlq")?.logs[0];
    if (log === undefined) throw new Error("no log");
    die("y", "z");
    log.records.shift();
    log.start = 1n;
    expect(await ids()).toEqual(["y", "z"]);
    // Compaction has taken a letter, and its removal, too.
    log.records.shift();
    expect(await ready()).toBe(2);
    await clock.advance(3_600_001);
    expect(await ready()).toBe(1);
  });

  test("an empty log whose beginning is gone can be looked at, and is not remembered", async () => {
    const { kafka, die, ready } = setup();
    const log = kafka.topics.get("orders.dlq")?.logs[0];
    if (log === undefined) throw new Error("no log");
    log.start = log.end = 2n;
    expect(await ready()).toBe(0);
    kafka.makeTopic("orders.dlq", 1);
    die(0, 1, 2, 3);
    expect(await ready()).toBe(4);
  });

  test("what compaction took since it was looked at is passed over", async () => {
    const { kafka, die, walk } = setup();
    die(0, 1, 2, 3);
    const log = kafka.topics.get("orders.dlq")?.logs[0];
    const visited: string[] = [];
    let fetches = 0;
    kafka.intercept = (api) => {
      if (api === "fetch" && ++fetches === 2 && log !== undefined)
        log.records = log.records.filter(({ offset }) => offset !== 1n);
    };
    await walk((id) => {
      visited.push(id);
      return "keep";
    });
    expect(visited).toEqual(["0", "2", "3"]);
  });

  test("what comes while a walk lasts is not visited, also when others look at it", async () => {
    const { admin, die, walk, ids } = setup();
    die(0, 1);
    let visits = 0;
    await walk(async (): Promise<Verdict> => {
      die(`new ${visits++}`);
      await admin.depth(dead, { signal: never });
      return "keep";
    });
    expect(visits).toBe(2);
    expect(await ids()).toEqual(["0", "1", "new 0", "new 1"]);
  });

  test("of a topic that is another one by now nothing is visited as if it were the old one's", async () => {
    const { kafka, clock, admin, die } = setup();
    die(0, 1);
    let visits = 0;
    const visit = async (): Promise<Verdict> => {
      visits++;
      return "remove";
    };
    const walking = admin.walk(dead, visit, everything);
    kafka.intercept = (api) => {
      if (api !== "fetch" || kafka.fetches.length !== 1) return;
      kafka.makeTopic("orders.dlq", 1);
      die("a", "b");
    };
    await during(clock, walking);
    expect(visits).toBe(0);
    expect(kafka.topics.get("orders.dlq")?.logs[0]?.records).toHaveLength(2);
  });

  test("a removal that the broker refuses ends the walk with its error", async () => {
    const { kafka, die, walk, ids } = setup();
    die(...Array.from({ length: 200 }, (_, n) => n));
    kafka.receipt = failed(new PosthornError("ACCESS_REFUSED", "no"));
    let visits = 0;
    const refused = walk(() => {
      visits++;
      return "remove";
    });
    await expect(refused).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
    expect(visits).toBeLessThanOrEqual(66);
    expect(await ids()).toHaveLength(200);
  });

  test.each([1, 16, 64])("at most 64 are visited and not gone, %s visits at a time", async (maxPending) => {
    const { kafka, die, walk } = setup();
    die(...Array.from({ length: 500 }, (_, n) => n));
    let visits = 0;
    let removed = 0;
    let most = 0;
    const { send } = kafka.producer;
    kafka.producer.send = async (appends, signal) => {
      for (let turns = 0; turns < 300; turns++) await Promise.resolve();
      removed += appends.length;
      return send(appends, signal);
    };
    await walk(
      async (): Promise<Verdict> => {
        most = Math.max(most, ++visits - removed);
        for (let turns = 0; turns < 20; turns++) await Promise.resolve();
        return "remove";
      },
      { maxPending },
    );
    expect(removed).toBe(500);
    expect(most).toBeLessThanOrEqual(64);
    expect(most).toBeGreaterThan(10);
  });

  test("a purge removes those that are there, and says how many that were", async () => {
    const { clock, admin, die, ready } = setup();
    die(...Array.from({ length: 2_500 }, (_, n) => n));
    expect(await during(clock, admin.purge(dead, { signal: never }))).toBe(2_500);
    expect(await ready()).toBe(0);
    expect(await during(clock, admin.purge(dead, { signal: never }))).toBe(0);
  });

  test("their age is that of the oldest that is left", async () => {
    const { clock, admin, die, walk } = setup();
    const age = async (): Promise<number | undefined> => (await admin.depth(dead, { signal: never })).oldestAgeMs;
    expect(await age()).toBeUndefined();
    die(0);
    await clock.advance(1_000);
    die(1);
    await clock.advance(500);
    expect(await age()).toBe(1_500);
    await walk(() => "remove", { limit: 1 });
    expect(await age()).toBeLessThan(1_000);
  });

  test("records that cannot be read, and topics that are not there, are told", async () => {
    const { kafka, clock, admin, die } = setup();
    die(0);
    kafka.refusals.set("fetch", [errorCodes.CORRUPT_MESSAGE]);
    await expect(admin.depth(dead, { signal: never })).rejects.toMatchObject({ code: "TRANSPORT_FAILED" });
    kafka.refusals.set("fetch", [errorCodes.TOPIC_AUTHORIZATION_FAILED]);
    await expect(admin.depth(dead, { signal: never })).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
    kafka.topics.clear();
    await expect(during(clock, admin.depth(dead, { signal: never }))).rejects.toMatchObject({ code: "UNROUTABLE" });
  });

  test("a leader that is another one by now is asked instead", async () => {
    const { kafka, die, ready } = setup();
    die(0);
    kafka.refusals.set("fetch", [errorCodes.NOT_LEADER_OR_FOLLOWER, errorCodes.UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await ready()).toBe(1);
    expect(kafka.asked.filter((api) => api === "topics")).toHaveLength(3);
  });
});

test("a broker that slows us down, and answers without what was asked, is asked again", async () => {
  const { kafka, die, ready } = setup();
  die(0);
  kafka.throttled = 2;
  expect(await ready()).toBe(1);
});

describe("what ends a call", () => {
  const held = (admin: TransportAdmin, signal: AbortSignal, gate: Promise<Verdict>): Promise<void> =>
    admin.walk(dead, () => gate, { signal, limit: 10, maxPending: 2 });

  test("its caller, at once", async () => {
    const { clock, admin, die, ready } = setup();
    die(0, 1, 2);
    const giveUp = new AbortController();
    const gate = Promise.withResolvers<Verdict>();
    const walking = held(admin, giveUp.signal, gate.promise);
    await clock.advance(0);
    giveUp.abort();
    await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
    gate.resolve("remove");
    await clock.advance(0);
    expect(await ready()).toBe(3);
    for (const call of [
      admin.depth(dead, { signal: AbortSignal.abort() }),
      admin.purge(inlet, { signal: AbortSignal.abort() }),
    ])
      await expect(call).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("but what was to be removed by then is removed all the same, before anybody else may walk alone", async () => {
    const { kafka, clock, admin, die, ids } = setup();
    die(0, 1, 2);
    kafka.joins.push(leading, leading);
    const giveUp = new AbortController();
    const gate = Promise.withResolvers<void>();
    const { send } = kafka.producer;
    kafka.producer.send = async (appends, signal) => {
      await gate.promise;
      return send(appends, signal);
    };
    const exclusive = { limit: 10, maxPending: 1, exclusive: true };
    const visit = ({ id }: { readonly id: string }): Promise<Verdict> =>
      id === "2" ? new Promise(() => undefined) : Promise.resolve("remove");
    const walking = admin.walk(dead, visit, { ...exclusive, signal: giveUp.signal });
    await clock.advance(0);
    giveUp.abort();
    await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
    await clock.advance(100);
    expect(kafka.asked).not.toContain("leaveGroup");
    const depth = admin.depth(dead, { signal: never });
    await clock.advance(100);
    gate.resolve();
    expect((await depth).ready).toBe(1);
    await clock.advance(100);
    expect(kafka.asked).toContain("leaveGroup");
    expect(await ids()).toEqual(["2"]);
  });

  test("and who looks while that takes long does not wait for ever", async () => {
    const { kafka, clock, admin, die, ready } = setup();
    die(0, 1);
    const giveUp = new AbortController();
    kafka.producer.send = () => new Promise(() => undefined);
    const visit = ({ id }: { readonly id: string }): Promise<Verdict> =>
      id === "1" ? new Promise(() => undefined) : Promise.resolve("remove");
    const walking = admin.walk(dead, visit, { ...everything, signal: giveUp.signal });
    await clock.advance(0);
    giveUp.abort();
    await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
    expect(await ready()).toBe(2);
  });

  test("the loss of the connection, also while nothing is asked", async () => {
    const { kafka, clock, admin, die } = setup();
    die(0, 1, 2);
    const gate = Promise.withResolvers<Verdict>();
    const walking = held(admin, never, gate.promise);
    await clock.advance(0);
    kafka.outage.abort(new Error("cut"));
    await expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    kafka.outage = new AbortController();
    kafka.intercept = () => {
      throw new ConnectionFailure("cut", true);
    };
    const looking = admin.depth(dead, { signal: never });
    await clock.advance(5_000);
    kafka.outage.abort(new Error("cut"));
    await expect(looking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  });

  test("not the loss of one broker while others answer", async () => {
    const { kafka, clock, admin, die } = setup();
    die(0, 1, 2);
    let failures = 0;
    kafka.intercept = (api) => {
      if (api === "fetch" && failures++ < 3) throw new ConnectionFailure("cut", true);
    };
    await expect(during(clock, admin.depth(dead, { signal: never }))).resolves.toMatchObject({ ready: 3 });
  });

  test("the end of the transport", async () => {
    const { kafka, clock, admin, die } = setup();
    die(0);
    const gate = Promise.withResolvers<Verdict>();
    const walking = held(admin, never, gate.promise);
    await clock.advance(0);
    kafka.cluster.close();
    kafka.outage.abort(new Error("closed"));
    await expect(walking).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("an inlet", () => {
  const fill = ({ kafka }: Setup, clock: VirtualClock): Promise<void> =>
    [
      ["orders", 0],
      ["orders", 1],
      ["orders.retry", 1],
      ["orders", 0],
      ["orders", 1],
    ].reduce(async (before, [topic, partition], index) => {
      await before;
      kafka.append(String(topic), Number(partition), letter(index));
      await clock.advance(10);
    }, Promise.resolve());

  test("shows what lies behind the group's offsets, oldest first", async () => {
    const all = setup();
    const { kafka, clock, admin, ids, ready } = all;
    expect(await admin.depth(inlet, { signal: never })).toEqual({
      ready: 0,
      inFlight: undefined,
      oldestAgeMs: undefined,
    });
    await fill(all, clock);
    expect(await admin.depth(inlet, { signal: never })).toEqual({ ready: 5, inFlight: undefined, oldestAgeMs: 50 });
    expect(await ids(inlet)).toEqual(["0", "1", "2", "3", "4"]);
    kafka.groups.set(
      "orders",
      new Map([
        ["orders 0", 1n],
        ["orders 1", 2n],
      ]),
    );
    expect(await ids(inlet)).toEqual(["2", "3"]);
    expect(await ready(inlet)).toBe(2);
    expect(kafka.asked).not.toContain("commitOffsets");
  });

  test("of records too large for one answer it still shows every one", async () => {
    const { kafka, clock, admin, ids } = setup();
    for (let n = 0; n < 6; n++) {
      kafka.append("orders", n % 2, letter(n, undefined, 900_000));
      await clock.advance(10);
    }
    expect((await admin.depth(inlet, { signal: never })).oldestAgeMs).toBe(60);
    expect(await ids(inlet)).toEqual(["0", "1", "2", "3", "4", "5"]);
  });

  test("begins at the log's start where its offsets were deleted by age", async () => {
    const all = setup();
    const { kafka, clock, ready, ids } = all;
    await fill(all, clock);
    const log = kafka.topics.get("orders")?.logs[0];
    if (log === undefined) throw new Error("no log");
    log.records.shift();
    log.start = 1n;
    expect(await ready(inlet)).toBe(4);
    expect(await ids(inlet)).toEqual(["1", "2", "3", "4"]);
  });

  test("gives up its front while it has no consumers, and nothing else", async () => {
    const all = setup();
    const { kafka, clock, walk, ids } = all;
    await fill(all, clock);
    const behind = walk((id) => (id === "3" ? "remove" : "keep"), {}, inlet);
    await expect(behind).rejects.toMatchObject({
      code: "UNSUPPORTED_CAPABILITY",
      message: expect.stringContaining("only from the front") as string,
    });
    await walk((id) => (Number(id) < 3 ? "remove" : "keep"), { maxPending: 3 }, inlet);
    expect(await ids(inlet)).toEqual(["3", "4"]);
    kafka.consumed.add("orders");
    await expect(walk(() => "remove", {}, inlet)).rejects.toMatchObject({
      code: "UNSUPPORTED_CAPABILITY",
      message: expect.stringContaining("Stop them first") as string,
    });
    expect(await ids(inlet)).toEqual(["3", "4"]);
  });

  test("is purged while it has no consumers", async () => {
    const all = setup();
    const { kafka, clock, admin, ready } = all;
    await fill(all, clock);
    kafka.consumed.add("orders");
    await expect(admin.purge(inlet, { signal: never })).rejects.toMatchObject({ code: "REJECTED" });
    kafka.consumed.clear();
    expect(await admin.purge(inlet, { signal: never })).toBe(5);
    expect(await ready(inlet)).toBe(0);
    expect(await admin.purge(inlet, { signal: never })).toBe(0);
  });

  test("of a group that was never made does not exist", async () => {
    const { kafka, admin } = setup();
    kafka.topics.delete("orders.retry");
    await expect(admin.depth(inlet, { signal: never })).rejects.toMatchObject({
      code: "UNROUTABLE",
      message: expect.stringContaining("orders.retry") as string,
    });
  });
});
