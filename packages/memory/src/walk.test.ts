/** An administrator's way through what waits. */
import { describe, expect, test } from "vitest";
import type { Verdict, WalkOptions } from "@posthorn/core/transport";
import {
  billingInlet,
  createInbox,
  createWorld,
  look,
  message,
  never,
  ordersDead,
  ordersInlet,
  toOrders,
} from "./client.fixture.ts";
import type { Client } from "./client.fixture.ts";

const leaseMs = 3_000;
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

/** A visitor who answers when he is told. */
function createVisitor(): {
  visit: (message: { id: string }) => Promise<Verdict>;
  visited: string[];
  readonly peak: number;
  answer: (id: string, verdict: Verdict) => void;
  refuse: (id: string, error: Error) => void;
} {
  const answers = new Map<string, PromiseWithResolvers<Verdict>>();
  const visited: string[] = [];
  let pending = 0;
  let peak = 0;
  return {
    visited,
    get peak() {
      return peak;
    },
    async visit({ id }) {
      visited.push(id);
      peak = Math.max(peak, ++pending);
      const answer = Promise.withResolvers<Verdict>();
      answers.set(id, answer);
      try {
        return await answer.promise;
      } finally {
        pending--;
      }
    },
    answer: (id, verdict) => answers.get(id)?.resolve(verdict),
    refuse: (id, error) => answers.get(id)?.reject(error),
  };
}

const everything: WalkOptions = { signal: never, limit: 1_000, maxPending: 10 };

describe.each(["queue", "log"] as const)("a %s broker", (personality) => {
  const world = (options = {}) => createWorld({ personality, leaseMs, partitions: 3, ...options });

  async function walkedBy(
    { transport }: Client,
    verdict: (id: string) => Verdict,
    changes: Partial<WalkOptions> = {},
  ): Promise<readonly string[]> {
    const visited: string[] = [];
    const visit = async ({ id }: { id: string }): Promise<Verdict> => {
      visited.push(id);
      return verdict(id);
    };
    await transport.admin.walk(ordersInlet, visit, { ...everything, ...changes });
    return visited;
  }

  test("shows what waits once, oldest first, and removes what it is told to", async () => {
    const { client, broker } = world();
    const one = await client();
    await one.send(toOrders, ...ids(20).map((id) => message(id, { key: `k${Number(id) % 4}` })));
    await one.send(ordersInlet, ...ids(5).map((id) => message(`inlet-${id}`)));
    const all = [...ids(20), ...ids(5).map((id) => `inlet-${id}`)];
    expect(await walkedBy(one, () => "keep")).toEqual(all);
    expect(await walkedBy(one, () => "keep", { limit: 3, maxPending: 1 })).toEqual(["0", "1", "2"]);
    expect(await walkedBy(one, (id) => (Number(id) % 2 === 1 ? "remove" : "keep"))).toEqual(all);
    const left = all.filter((id) => !(Number(id) % 2 === 1));
    expect(await look(one.transport, ordersInlet, 100)).toEqual(left);
    expect(broker.depth("orders").ready).toBe(left.length);
    const inbox = createInbox();
    await one.transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 100 });
    await inbox.count(left.length);
    expect(inbox.ids.toSorted()).toEqual(left.toSorted());
    expect(inbox.deliveries[0]?.deliveryCount).toBe(personality === "queue" ? 1 : undefined);
  });

  test("ends after a stop, whose message stays", async () => {
    const one = await world().client();
    await one.send(toOrders, ...ids(9).map((id) => message(id)));
    expect(await walkedBy(one, (id) => (id === "3" ? "stop" : "remove"), { maxPending: 1 })).toEqual(ids(4));
    expect(await look(one.transport, ordersInlet, 100)).toEqual(ids(9).slice(3));
  });

  test("has no more visits pending than asked for, and lets what comes later be", async () => {
    const { client, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(6).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 2 });
    await clock.advance(0);
    await send(toOrders, message("late"));
    expect(visitor.visited).toEqual(["0", "1"]);
    for (const id of ids(6)) {
      visitor.answer(id, "remove");
      await clock.advance(0);
    }
    await walking;
    expect(visitor.peak).toBe(2);
    expect(visitor.visited).toEqual(ids(6));
    expect(await look(transport, ordersInlet, 100)).toEqual(["late"]);
  });

  test("delivers to nobody what is being visited, and delivers it afterwards", async () => {
    const { client, clock, broker } = world();
    const { transport, send } = await client();
    await send(toOrders, message("0"));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, everything);
    await clock.advance(0);
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    await clock.advance(10 * leaseMs);
    expect(inbox.ids).toEqual([]);
    expect(await transport.admin.purge(ordersInlet, { signal: never })).toBe(0);
    visitor.answer("0", "keep");
    await walking;
    await inbox.count(1);
    expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
  });

  test("passes over what was taken before its turn came", async () => {
    const { client, clock } = world({ partitions: 1 });
    const { transport, send } = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 1 });
    await clock.advance(0);
    expect(await transport.admin.purge(ordersInlet, { signal: never })).toBe(2);
    visitor.answer("0", "remove");
    await walking;
    expect(visitor.visited).toEqual(["0"]);
    expect(await look(transport, ordersInlet, 100)).toEqual([]);
  });

  test("puts everything back when its signal fires", async () => {
    const { client, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(5).map((id) => message(id)));
    const abort = new AbortController();
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, {
      ...everything,
      signal: abort.signal,
      maxPending: 2,
    });
    await clock.advance(0);
    visitor.answer("0", "remove");
    await clock.advance(0);
    abort.abort();
    await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
    visitor.answer("1", "remove");
    await clock.advance(0);
    expect(visitor.visited).toEqual(["0", "1", "2"]);
    expect(await look(transport, ordersInlet, 100)).toEqual(["1", "2", "3", "4"]);
  });

  test("rejects with a visit's own error, and begins no more visits", async () => {
    const { client, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(5).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 2 });
    const failing = expect(walking).rejects.toThrow("no more");
    await clock.advance(0);
    visitor.refuse("0", new Error("no more"));
    await clock.advance(0);
    visitor.answer("1", "remove");
    await failing;
    expect(visitor.visited).toEqual(["0", "1"]);
    expect(await look(transport, ordersInlet, 100)).toEqual(["0", "2", "3", "4"]);
  });

  test.each(["cut", "stop", "crash", "close"] as const)("puts everything back on a %s", async (accident) => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    const other = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, everything);
    const code = accident === "crash" || accident === "close" ? "CLOSED" : "CONNECTION_LOST";
    const failing = expect(walking).rejects.toMatchObject({ code });
    await clock.advance(0);
    if (accident === "cut") broker.cutConnections(transport);
    else if (accident === "stop") broker.stop();
    else if (accident === "crash") broker.crash(transport);
    else await transport.close({ signal: never });
    await failing;
    visitor.answer("0", "remove");
    broker.start();
    await clock.advance(2_000);
    expect(await look(other.transport, ordersInlet, 100)).toEqual(ids(3));
    await transport.close({ signal: never });
    await other.transport.close({ signal: never });
    expect(clock.pending).toBe(0);
  });

  test("takes back what a frozen client looks at too long, and tells it after the thaw", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    const other = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 2 });
    const failing = expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await clock.advance(0);
    broker.freeze(transport);
    visitor.answer("0", "remove");
    await clock.advance(leaseMs - 1);
    expect(await look(other.transport, ordersInlet, 100)).toEqual(["2"]);
    await clock.advance(1);
    expect(await look(other.transport, ordersInlet, 100)).toEqual(ids(3));
    broker.thaw(transport);
    await failing;
    expect(await look(other.transport, ordersInlet, 100)).toEqual(ids(3));
  });

  test("carries out what was said during a short freeze", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 2 });
    await clock.advance(0);
    broker.freeze(transport);
    visitor.answer("0", "remove");
    await clock.advance(leaseMs / 2);
    expect(visitor.visited).toEqual(["0", "1"]);
    broker.thaw(transport);
    await clock.advance(0);
    visitor.answer("1", "keep");
    visitor.answer("2", "remove");
    await walking;
    expect(await look(transport, ordersInlet, 100)).toEqual(["1"]);
  });

  test.each(["stalled", "deaf"] as const)("fails when its answers are lost on a %s path", async (path) => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, message("0"));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, everything);
    const failing = expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await clock.advance(0);
    broker.setPath(transport, path);
    visitor.answer("0", "remove");
    await clock.advance(leaseMs);
    await failing;
    expect(broker.depth("orders").ready).toBe(path === "deaf" ? 0 : 1);
  });

  test("says that a fault cut it off, and is whole again", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    broker.setFaults({ seed: 1, cut: 1 });
    const walking = transport.admin.walk(ordersInlet, async () => "keep", everything);
    await expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    broker.heal();
    await clock.advance(2_000);
    expect(await look(transport, ordersInlet, 100)).toEqual(ids(3));
  });

  test("ends when its source is deleted, and refuses one that does not exist", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...ids(3).map((id) => message(id)));
    const visitor = createVisitor();
    const walking = transport.admin.walk(ordersInlet, visitor.visit, { ...everything, maxPending: 1 });
    await clock.advance(0);
    broker.delete("orders");
    visitor.answer("0", "remove");
    await walking;
    expect(visitor.visited).toEqual(["0"]);
    await expect(transport.admin.walk(billingInlet, visitor.visit, everything)).rejects.toMatchObject({
      code: "UNROUTABLE",
    });
  });

  test("goes through thousands, and gives timers their turn", async () => {
    const { client } = world();
    const { transport, send } = await client();
    await send(ordersDead, ...ids(5_000).map((id) => message(id)));
    let turns = 0;
    const turn = (): void => void (turns++ < 100 && setImmediate(turn));
    setImmediate(turn);
    await transport.admin.walk(ordersDead, async ({ id }) => (Number(id) < 4_990 ? "remove" : "keep"), {
      ...everything,
      limit: 10_000,
    });
    expect(turns).toBeGreaterThan(10);
    expect(await look(transport, ordersDead, 100)).toEqual(ids(5_000).slice(4_990));
  });
});

test("a log remembers what was removed behind a gap when the partition moves", async () => {
  const { client, broker, clock } = createWorld({ personality: "log", partitions: 1 });
  const { transport, send } = await client();
  const other = await client();
  const inbox = createInbox();
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await send(toOrders, ...ids(5).map((id) => message(id)));
  await inbox.count(1);
  await transport.admin.walk(ordersInlet, async ({ id }) => (id === "2" ? "remove" : "keep"), everything);
  broker.crash(transport);
  const successor = createInbox("accept");
  await other.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 1 });
  await clock.advance(0);
  expect(successor.ids).toEqual(["0", "1", "3", "4"]);
});
