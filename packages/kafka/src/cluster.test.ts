import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { describe, expect, test } from "vitest";
import type { Endpoint } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { createCluster } from "./cluster.ts";
import { errorCodes } from "./errors.ts";
import type { FakeBrokers } from "./fake-brokers.fixture.ts";
import { createFakeBrokers, endpointOf } from "./fake-brokers.fixture.ts";

const never = new AbortController().signal;
const connectTimeoutMs = 10_000;

interface Setup {
  readonly clock: VirtualClock;
  readonly brokers: FakeBrokers;
  readonly cluster: Cluster;
  /** What was told, in order. */
  readonly told: string[];
  readonly start: () => Promise<void>;
  /** Asks for topics. */
  readonly learn: (...topics: readonly string[]) => Promise<void>;
}

function setup(
  ids: readonly number[],
  { seeds = ids.map(endpointOf), aliases = {} }: { seeds?: readonly Endpoint[]; aliases?: Record<string, number> } = {},
): Setup {
  const clock = createVirtualClock();
  const brokers = createFakeBrokers(ids, aliases);
  const told: string[] = [];
  const cluster = createCluster({
    clientId: "test",
    tls: undefined,
    sasl: undefined,
    connectTimeoutMs,
    requestTimeoutMs: 10_000,
    codecs: {},
    brokers: seeds,
    environment: { clock, random: () => 0 },
    metadataMaxAgeMs: 60_000,
    openConnection: brokers.openConnection,
    onConnected: () => told.push("connected"),
    onDisconnected: () => told.push("disconnected"),
    onRefused: () => told.push("refused"),
  });
  return {
    clock,
    brokers,
    cluster,
    told,
    async start() {
      await cluster.start(never);
      await clock.advance(0);
    },
    async learn(...topics) {
      await cluster.topics(topics, never);
    },
  };
}

const asksAfter = (brokers: FakeBrokers, since: number, what: string): readonly string[] =>
  brokers.asked.slice(since).filter((asked) => asked.includes(what));

describe("with one broker", () => {
  test("a broken connection is an outage, told once, until the broker answers again", async () => {
    const { clock, brokers, cluster, told, start, learn } = setup([1]);
    await start();
    brokers.topics.set("orders", [1]);
    await learn("orders");
    const { outage } = cluster;
    await Promise.all(["produce", "fetch"].map((lane) => cluster.node(1, lane, never)));
    brokers.strike(1, "down");
    await clock.advance(0);
    expect(told).toEqual(["connected", "disconnected"]);
    expect(outage.aborted).toBe(true);
    expect(cluster.connected).toBe(false);
    expect(cluster.leader("orders", 0)).toBeUndefined();
    const ready = cluster.ready(never);
    await clock.advance(30_000);
    expect(told).toHaveLength(2);
    brokers.states.set(1, "up");
    await clock.advance(1_000);
    await ready;
    expect(told).toEqual(["connected", "disconnected", "connected"]);
    expect(cluster.outage.aborted).toBe(false);
  });

  test("so it is at once when the broker goes by another name among the seeds", async () => {
    const { clock, brokers, cluster, told, start } = setup([1], {
      seeds: [{ host: "localhost", port: 9092 }],
      aliases: { "localhost:9092": 1 },
    });
    await start();
    await cluster.node(1, "produce", never);
    expect(brokers.tries).toEqual(["localhost:9092", "broker:1"]);
    const [, produce] = brokers.connections;
    produce?.end();
    await clock.advance(0);
    expect(told.slice(0, 2)).toEqual(["connected", "disconnected"]);
  });

  test("a silent one is told by the ping", async () => {
    const { clock, brokers, told, start } = setup([1]);
    await start();
    brokers.states.set(1, "silent");
    await clock.advance(5_000);
    brokers.connectionsTo(1)[0]?.end();
    await clock.advance(0);
    expect(told).toEqual(["connected", "disconnected"]);
  });

  test("the end of a connection that nobody used is no outage", async () => {
    const { clock, brokers, cluster, told, start } = setup([1]);
    await start();
    await cluster.node(1, "produce", never);
    [...brokers.connections][1]?.end(true);
    await clock.advance(0);
    expect(told).toEqual(["connected"]);
    expect((await cluster.node(1, "produce", never)).open).toBe(true);
  });

  test("credentials that are refused from now on are told once", async () => {
    const { clock, brokers, told, start } = setup([1]);
    await start();
    brokers.strike(1, "refusing");
    await clock.advance(60_000);
    expect(told).toEqual(["connected", "disconnected", "refused"]);
    brokers.states.set(1, "up");
    await clock.advance(2_000);
    expect(told.at(-1)).toBe("connected");
  });
});

describe("with several brokers", () => {
  test("the end of one is no outage, and it is asked who leads instead until somebody does", async () => {
    const { clock, brokers, cluster, told, start, learn } = setup([1, 2, 3]);
    await start();
    brokers.topics.set("orders", [1, 2, 3]);
    await learn("orders");
    await Promise.all([1, 2, 3].map((id) => cluster.node(id, "produce", never)));
    const { outage } = cluster;
    brokers.strike(1, "down");
    const since = brokers.asked.length;
    await clock.advance(3_000);
    expect(asksAfter(brokers, since, "2 metadata orders").length).toBeGreaterThan(3);
    expect(cluster.leader("orders", 0)).toBe(1);
    brokers.topics.set("orders", [-1, 2, 3]);
    await clock.advance(1_000);
    expect(cluster.leader("orders", 0)).toBeUndefined();
    brokers.topics.set("orders", [3, 2, 3]);
    await clock.advance(1_000);
    expect(cluster.leader("orders", 0)).toBe(3);
    const settled = brokers.asked.length;
    await clock.advance(20_000);
    expect(asksAfter(brokers, settled, "orders")).toEqual([]);
    expect(told).toEqual(["connected"]);
    expect(outage.aborted).toBe(false);
    await cluster.ready(never);
  });

  test("its other connections end with it, those to others do not", async () => {
    const { clock, brokers, cluster, start } = setup([1, 2]);
    await start();
    await Promise.all([1, 2].map((id) => cluster.node(id, "produce", never)));
    const fetching = (await cluster.node(1, "fetch", never)).heartbeat({ group: "", generation: 0, memberId: "" });
    await fetching;
    const pending = cluster.node(2, "fetch", never);
    brokers.connectionsTo(1)[1]?.end();
    await clock.advance(0);
    expect(brokers.connectionsTo(1)).toEqual([]);
    expect((await pending).open).toBe(true);
    expect((await cluster.node(1, "produce", never)).open).toBe(true);
  });

  test("a partition that nobody leads any more is asked for only so often", async () => {
    const { clock, brokers, cluster, start, learn } = setup([1, 2]);
    await start();
    brokers.topics.set("orders", [1, 2]);
    await learn("orders");
    await cluster.node(1, "produce", never);
    brokers.strike(1, "down");
    brokers.topics.set("orders", [-1, 2]);
    await clock.advance(40_000);
    const since = brokers.asked.length;
    expect(since).toBeLessThan(50);
    await clock.advance(50_000);
    expect(asksAfter(brokers, since, "orders")).toHaveLength(1);
    brokers.connectionsTo(2)[0]?.end();
    brokers.states.set(1, "up");
    await clock.advance(10_000);
    expect(asksAfter(brokers, since, "orders").length).toBeGreaterThan(8);
  });

  test("when no other answers either it is an outage, told once", async () => {
    const { clock, brokers, cluster, told, start } = setup([1, 2, 3]);
    await start();
    await Promise.all([1, 2, 3].map((id) => cluster.node(id, "produce", never)));
    for (const id of [1, 2, 3]) brokers.strike(id, "down");
    await clock.advance(20_000);
    expect(told).toEqual(["connected", "disconnected"]);
    brokers.states.set(3, "up");
    await clock.advance(1_000);
    expect(told).toEqual(["connected", "disconnected", "connected"]);
  });

  test("so it is when only the one answers whose connection broke", async () => {
    const { clock, brokers, told, start } = setup([1, 2]);
    await start();
    brokers.states.set(2, "down");
    brokers.connectionsTo(1)[0]?.end();
    await clock.advance(1_000);
    expect(told).toEqual(["connected", "disconnected", "connected"]);
  });

  test("one that came back is as good as any", async () => {
    const { clock, brokers, cluster, start } = setup([1, 2, 3]);
    await start();
    brokers.strike(1, "down");
    await clock.advance(1_000);
    brokers.states.set(1, "up");
    await cluster.node(1, "produce", never);
    brokers.tries.length = 0;
    brokers.strike(2, "down");
    await clock.advance(0);
    expect(brokers.tries).toEqual(["broker:1"]);
  });

  test("one that ends after another came back is no outage either", async () => {
    const { clock, brokers, cluster, told, start } = setup([1, 2]);
    await start();
    await Promise.all([1, 2].map((id) => cluster.node(id, "produce", never)));
    brokers.strike(1, "down");
    await clock.advance(10_000);
    brokers.states.set(1, "up");
    brokers.strike(2, "down");
    await clock.advance(10_000);
    expect(told).toEqual(["connected"]);
  });

  test("what is asked of any broker is asked of one that answers", async () => {
    const { clock, brokers, cluster, start } = setup([1, 2]);
    await start();
    brokers.strike(1, "down");
    await clock.advance(0);
    brokers.tries.length = 0;
    await cluster.any("admin", never);
    await cluster.controller("admin", never);
    await cluster.topics(["orders"], never);
    expect(brokers.tries).toEqual(["broker:2"]);
  });

  test("of each of them, while one does not answer", async () => {
    const { clock, brokers, cluster, told, start } = setup([1, 2, 3]);
    await start();
    brokers.topics.set("orders", [2]);
    const connection = brokers.connectionsTo(1)[0];
    brokers.states.set(1, "silent").set(2, "down");
    const asked = cluster.topics(["orders"], never);
    await clock.advance(100);
    connection?.end();
    await clock.advance(0);
    expect((await asked).size).toBe(1);
    expect(told).toEqual(["connected"]);
  });

  test("also when the one that does not was never connected to", async () => {
    const { clock, brokers, cluster, told, start, learn } = setup([1, 2]);
    await start();
    brokers.topics.set("orders", [2]);
    await learn("orders");
    brokers.states.set(2, "down");
    await expect(cluster.node(2, "produce", never)).rejects.toBeInstanceOf(ConnectionFailure);
    brokers.topics.set("orders", [1]);
    await clock.advance(100);
    expect(cluster.leader("orders", 0)).toBe(1);
    expect(told).toEqual(["connected"]);
  });

  test("the coordinator of a group is looked for anew when its broker has gone", async () => {
    const { clock, brokers, cluster, start } = setup([1, 2, 3]);
    await start();
    brokers.coordinators.set("billing", 1).set("shipping", 2);
    await cluster.coordinator("billing", "group", never);
    await cluster.coordinator("shipping", "group", never);
    brokers.strike(1, "down");
    await clock.advance(0);
    const since = brokers.asked.length;
    await expect(cluster.coordinator("billing", "group", never)).rejects.toBeInstanceOf(ConnectionFailure);
    brokers.coordinators.set("billing", 3);
    await cluster.coordinator("billing", "group", never);
    await cluster.coordinator("shipping", "group", never);
    expect(asksAfter(brokers, since, "coordinator")).toEqual(["2 coordinator billing", "2 coordinator billing"]);
    expect(brokers.connectionsTo(3)).toHaveLength(1);
  });

  test("nobody waits for one any longer that the cluster has given up", async () => {
    const { clock, brokers, cluster, told, start, learn } = setup([1, 2]);
    await start();
    brokers.topics.set("orders", [2]);
    await learn("orders");
    const connection = await cluster.node(2, "group", never);
    brokers.states.set(2, "silent");
    const heartbeat = expect(connection.heartbeat({ group: "", generation: 0, memberId: "" })).rejects.toBeInstanceOf(
      ConnectionFailure,
    );
    const opening = expect(cluster.node(2, "produce", never)).rejects.toBeInstanceOf(ConnectionFailure);
    brokers.shown.delete(2);
    brokers.topics.set("orders", [1]);
    await clock.advance(5_100);
    await Promise.all([heartbeat, opening]);
    expect(cluster.leader("orders", 0)).toBe(1);
    await expect(cluster.node(2, "produce", never)).rejects.toThrow("The broker 2 is not known.");
    expect(told).toEqual(["connected"]);
  });

  test("one that does not even refuse holds up nobody else", async () => {
    const { clock, brokers, cluster, told, start } = setup([1, 2]);
    await start();
    brokers.states.set(2, "silent");
    const opening = expect(cluster.node(2, "produce", never)).rejects.toBeInstanceOf(ConnectionFailure);
    await cluster.node(1, "produce", never);
    await cluster.topics(["orders"], never);
    await clock.advance(connectTimeoutMs);
    await opening;
    expect(told).toEqual(["connected"]);
  });
});

describe("start", () => {
  test("passes over a seed that nobody listens at", async () => {
    const { brokers, cluster, told, start } = setup([1, 2]);
    brokers.states.set(1, "down");
    await start();
    expect(told).toEqual(["connected"]);
    expect(cluster.size).toBe(2);
  });

  test("waits for one that is silent no longer than it takes to give up a connection", async () => {
    const { clock, brokers, told, start } = setup([1, 2]);
    brokers.states.set(1, "silent");
    const starting = start();
    await clock.advance(connectTimeoutMs - 1);
    expect(told).toEqual([]);
    await clock.advance(1);
    await starting;
    expect(told).toEqual(["connected"]);
  });

  test("asks those first that it has not asked yet", async () => {
    const { clock, brokers, start } = setup([1, 2, 3]);
    for (const id of [1, 2, 3]) brokers.states.set(id, "down");
    const starting = start();
    await clock.advance(0);
    brokers.states.set(3, "up");
    await clock.advance(50);
    await starting;
    expect(brokers.tries).toEqual(["broker:1", "broker:2", "broker:3", "broker:1", "broker:2", "broker:3"]);
  });

  test("rejects at once when the credentials are refused, and with what went wrong when it takes too long", async () => {
    const refusing = setup([1]);
    refusing.brokers.states.set(1, "refusing");
    await expect(refusing.cluster.start(never)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    const { clock, brokers, cluster } = setup([1]);
    brokers.states.set(1, "down");
    const giveUp = new AbortController();
    const starting = expect(cluster.start(giveUp.signal)).rejects.toMatchObject({
      code: "CONNECTION_FAILED",
      message: expect.stringContaining("broker:1 is down.") as string,
    });
    await clock.advance(1_000);
    giveUp.abort();
    await starting;
  });
});

test("a lane has connections of its own, and ends by itself", async () => {
  const { brokers, cluster, start } = setup([1, 2]);
  await start();
  const [one, same, other, elsewhere] = await Promise.all([
    cluster.node(1, "fetch", never),
    cluster.node(1, "fetch", never),
    cluster.node(1, "group", never),
    cluster.node(2, "fetch", never),
  ]);
  expect(one).toBe(same);
  expect(one).not.toBe(other);
  expect(brokers.connections.size).toBe(4);
  cluster.closeLane("fetch");
  await Promise.resolve();
  expect([one, other, elsewhere].map(({ open }) => open)).toEqual([false, true, false]);
});

test("what is known of topics is asked for again when it is old", async () => {
  const { clock, brokers, cluster, start, learn } = setup([1]);
  await start();
  brokers.topics.set("orders", [1]);
  await learn("orders");
  brokers.topics.set("orders", [1, 1]);
  await clock.advance(59_000);
  expect(cluster.leader("orders", 1)).toBeUndefined();
  await clock.advance(6_000);
  expect(cluster.leader("orders", 1)).toBe(1);
  const since = brokers.asked.length;
  await learn("orders");
  expect(brokers.asked).toHaveLength(since);
});

describe("a topic", () => {
  test("without leaders is waited for, and what was known of it stays known", async () => {
    const { clock, brokers, cluster, start, learn } = setup([1]);
    await start();
    brokers.topics.set("orders", [1]).set("bills", errorCodes.LEADER_NOT_AVAILABLE);
    await learn("orders");
    brokers.topics.set("orders", errorCodes.LEADER_NOT_AVAILABLE);
    const asked = cluster.topics(["orders", "bills"], never, true);
    await clock.advance(5_000);
    expect(cluster.leader("orders", 0)).toBe(1);
    brokers.topics.set("orders", [1]).set("bills", [-1]);
    await clock.advance(1_000);
    expect([...(await asked).keys()]).toEqual(["orders", "bills"]);
    expect(cluster.leader("bills", 0)).toBeUndefined();
  });

  test("that does not exist is not in the answer, and forgotten when it is gone", async () => {
    const { brokers, cluster, start, learn } = setup([1]);
    await start();
    brokers.topics.set("orders", [1]);
    await learn("orders", "bills");
    expect([...(await cluster.topics(["orders", "bills"], never)).keys()]).toEqual(["orders"]);
    brokers.topics.delete("orders");
    expect([...(await cluster.topics(["orders"], never, true)).keys()]).toEqual([]);
    brokers.topics.set("orders", errorCodes.TOPIC_AUTHORIZATION_FAILED);
    await expect(learn("orders")).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  });
});

test("a group whose coordinator is not there yet is waited for", async () => {
  const { clock, brokers, cluster, start } = setup([1]);
  await start();
  const asked = cluster.coordinator("billing", "group", never);
  await clock.advance(5_000);
  expect(brokers.asked.length).toBeLessThan(15);
  brokers.coordinators.set("billing", 1);
  await clock.advance(1_000);
  expect((await asked).open).toBe(true);
  // Nor is one that no broker shows asked for without a pause.
  brokers.coordinators.set("shipping", 7);
  const since = brokers.asked.length;
  const giveUp = new AbortController();
  const other = expect(cluster.coordinator("shipping", "group", giveUp.signal)).rejects.toMatchObject({
    name: "AbortError",
  });
  await clock.advance(5_000);
  expect(brokers.asked.length - since).toBeLessThan(25);
  giveUp.abort();
  await other;
});

test("close ends what is under way, whatever that is", async () => {
  const { clock, brokers, cluster, told, start } = setup([1, 2]);
  await start();
  brokers.topics.set("bills", errorCodes.LEADER_NOT_AVAILABLE);
  const closed = { code: "CLOSED" };
  const connection = await cluster.node(1, "group", never);
  brokers.states.set(1, "silent").set(2, "silent");
  const ends = [
    expect(connection.heartbeat({ group: "", generation: 0, memberId: "" })).rejects.toBeInstanceOf(ConnectionFailure),
    expect(cluster.node(2, "produce", never)).rejects.toMatchObject(closed),
    expect(cluster.topics(["orders"], never)).rejects.toMatchObject(closed),
  ];
  await clock.advance(5_000);
  cluster.close();
  await Promise.all(ends);
  await expect(cluster.ready(never)).rejects.toMatchObject(closed);
  await expect(cluster.node(1, "produce", never)).rejects.toMatchObject(closed);
  await clock.advance(60_000);
  expect(brokers.connections.size).toBe(0);
  expect(clock.pending).toBe(0);
  expect(told).toEqual(["connected"]);
  expect(cluster.outage.aborted).toBe(true);

  const starting = setup([1]);
  starting.brokers.states.set(1, "silent");
  const started = expect(starting.cluster.start(never)).rejects.toMatchObject(closed);
  await starting.clock.advance(100);
  starting.cluster.close();
  await started;
  expect(starting.clock.pending).toBe(0);

  const away = setup([1]);
  await away.start();
  away.brokers.strike(1, "down");
  await away.clock.advance(1_000);
  const ready = expect(away.cluster.ready(never)).rejects.toMatchObject(closed);
  away.cluster.close();
  await ready;
  await away.clock.advance(60_000);
  expect(away.clock.pending).toBe(0);
});
