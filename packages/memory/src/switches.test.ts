import { describe, expect, test } from "vitest";
import {
  createInbox,
  createWorld,
  eventTopology,
  message,
  never,
  orders,
  ordersInlet,
  outcomes,
  billingInlet,
  ordersDead,
  toOrders,
  toEvents,
} from "./client.fixture.ts";

const leaseMs = 3_000;
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

describe.each(["queue", "log"] as const)("a %s broker", (personality) => {
  const world = (options = {}) => createWorld({ personality, leaseMs, ...options });

  test("gives what a crashed client held to another, and hears no more of the dead", async () => {
    const { client, broker, clock } = world();
    const dead = await client();
    const alive = await client();
    const held = createInbox();
    await dead.transport.consume(ordersInlet, held.receive, { signal: never, maxInFlight: 10 });
    await alive.send(toOrders, message("1"), message("2"));
    await held.count(2);
    broker.crash(dead.transport);
    expect(held.deliveries.every((delivery) => delivery.lost.aborted)).toBe(true);
    const inbox = createInbox();
    await alive.transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    await inbox.count(2);
    held.settleAll("accept");
    await clock.advance(0);
    expect(broker.depth("orders").inFlight).toBe(2);
    expect(broker.clients).toBe(1);
    expect(
      outcomes(await dead.transport.dispatch([{ address: toOrders, message: message("3") }], { signal: never })),
    ).toEqual(["CONNECTION_LOST"]);
    expect(dead.transport.health().status).toBe("closed");
  });

  test("takes from a frozen client what it held too long; after the thaw its settlements are void and it works on", async () => {
    const { client, broker, clock } = world();
    const frozen = await client();
    const other = await client();
    const stale = createInbox();
    await frozen.transport.consume(ordersInlet, stale.receive, { signal: never, maxInFlight: 1 });
    await other.send(toOrders, message("1"));
    await stale.count(1);
    broker.freeze(frozen.transport);
    stale.settle(0, "accept");
    const successor = createInbox();
    const taking = await other.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 1 });
    await clock.advance(leaseMs + 1);
    expect(successor.ids).toEqual(["1"]);
    expect(stale.deliveries[0]?.lost.aborted).toBe(false);
    broker.thaw(frozen.transport);
    expect(stale.deliveries[0]?.lost.aborted).toBe(true);
    await clock.advance(0);
    expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 1 });
    successor.settle(0, "accept");
    await taking.stop();
    await clock.advance(1_000);
    await other.send(toOrders, message("2"));
    await stale.count(2);
    expect(stale.ids).toEqual(["1", "2"]);
    expect(frozen.transport.health().status).toBe("connected");
  });

  test("lets a client that was frozen for less than its lease go on as if nothing had been", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await inbox.count(1);
    broker.freeze(transport);
    const dispatched = transport.dispatch([{ address: toOrders, message: message("2") }], { signal: never });
    inbox.settle(0, "accept");
    await clock.advance(leaseMs / 2);
    expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 1 });
    broker.thaw(transport);
    expect(outcomes(await dispatched)).toEqual(["accepted"]);
    await inbox.count(2);
    expect(inbox.ids).toEqual(["1", "2"]);
    expect(inbox.deliveries[0]?.lost.aborted).toBe(false);
  });

  test("comes back with consumers after a cut; what was in hand is lost and delivered again", async () => {
    const { client, broker, clock } = world();
    const { transport, send, events } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await inbox.count(1);
    const dispatched = transport.dispatch([{ address: toOrders, message: message("2") }], { signal: never });
    broker.cutConnections();
    expect(inbox.deliveries[0]?.lost.aborted).toBe(true);
    expect(transport.health().status).toBe("disconnected");
    expect(outcomes(await dispatched)).toEqual(["UNKNOWN_OUTCOME"]);
    const waiting = send(toOrders, message("3"));
    inbox.settle(0, "accept");
    await clock.advance(1_000);
    expect(await waiting).toEqual(["accepted"]);
    inbox.settleAll("accept");
    await inbox.count(4);
    expect(inbox.ids.toSorted()).toEqual(["1", "1", "2", "3"]);
    expect(events).toEqual(["transport.connected", "transport.disconnected", "transport.connected"]);
  });

  test("keeps its messages over a restart, and its clients come back when it does", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, message("1"));
    broker.stop();
    const waiting = send(toOrders, message("2"));
    const inbox = createInbox("accept");
    const consuming = transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await clock.advance(60_000);
    expect(inbox.ids).toEqual([]);
    broker.start();
    await clock.advance(2_000);
    await consuming;
    expect(await waiting).toEqual(["accepted"]);
    await inbox.count(2);
  });

  test("holds publishers up while it blocks them, but not consumers", async () => {
    const { client, broker, clock } = world();
    const { transport, send, events } = await client();
    await send(toOrders, message("1"));
    broker.block();
    expect(transport.health().status).toBe("degraded");
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await inbox.count(1);
    const abort = new AbortController();
    const given = transport.dispatch([{ address: toOrders, message: message("2") }], { signal: abort.signal });
    const waiting = send(toOrders, message("3"));
    await clock.advance(60_000);
    abort.abort();
    expect(outcomes(await given)).toEqual(["CONNECTION_LOST"]);
    broker.unblock();
    expect(await waiting).toEqual(["accepted"]);
    await inbox.count(2);
    expect(inbox.ids).toEqual(["1", "3"]);
    expect(events).toEqual(["transport.connected", "transport.blocked", "transport.unblocked"]);
  });

  test("makes a deleted source again under its consumer, which goes on", async () => {
    const { client, broker, clock } = world();
    const { transport, send, events } = await client();
    await transport.provision(eventTopology(["billing", "placed"]), "apply", { signal: never });
    const inbox = createInbox();
    await transport.consume(billingInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toEvents, message("1"));
    await inbox.count(1);
    expect(broker.delete("events.billing")).toBe(true);
    expect(inbox.deliveries[0]?.lost.aborted).toBe(true);
    expect(transport.health().status).toBe("degraded");
    inbox.settle(0, "accept");
    await clock.advance(1_000);
    expect(transport.health().status).toBe("connected");
    expect(events).toEqual(["transport.connected", "transport.consumer-lost", "transport.consumer-restored"]);
    await send(toEvents, message("2"));
    await inbox.count(2);
    expect(inbox.ids).toEqual(["1", "2"]);
  });

  test("waits for a deleted source that is not its own to make", async () => {
    const { client, broker, clock } = world();
    const owner = await client();
    const guest = await client();
    await owner.transport.provision(eventTopology(["billing", "placed"]), "apply", { signal: never });
    const inbox = createInbox("accept");
    const consumption = await guest.transport.consume(billingInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    broker.delete("events");
    await clock.advance(60_000);
    expect(guest.transport.health().status).toBe("degraded");
    await owner.transport.provision(eventTopology(["billing", "placed"]), "apply", { signal: never });
    await clock.advance(2_000);
    expect(guest.transport.health().status).toBe("connected");
    broker.delete("events");
    await consumption.stop();
    await guest.transport.close({ signal: never });
    await owner.transport.close({ signal: never });
    await clock.advance(2_000);
    expect(clock.pending).toBe(0);
  });

  test("makes a deleted queue again when something is sent there", async () => {
    const { client, broker } = world();
    const { send, transport } = await client();
    broker.delete("orders");
    broker.delete("orders.dlq");
    expect(broker.sources()).toEqual([]);
    expect(await send(ordersDead, message("1"))).toEqual(["accepted"]);
    expect(broker.sources().toSorted()).toEqual(["orders", "orders.dlq"]);
    broker.delete("orders");
    await transport.consume(ordersInlet, createInbox().receive, { signal: never, maxInFlight: 1 });
  });

  test("lets a client notice that it is no longer heard, before others get what it holds", async () => {
    const { client, broker, clock } = world();
    const deaf = await client();
    const other = await client();
    const stalled = createInbox();
    await deaf.transport.consume(ordersInlet, stalled.receive, { signal: never, maxInFlight: 1 });
    await other.send(toOrders, message("1"));
    await stalled.count(1);
    broker.setPath(deaf.transport, "stalled");
    const dispatched = deaf.transport.dispatch([{ address: toOrders, message: message("lost") }], { signal: never });
    await clock.advance(leaseMs - 1);
    expect(outcomes(await dispatched)).toEqual(["UNKNOWN_OUTCOME"]);
    expect(stalled.deliveries[0]?.lost.aborted).toBe(true);
    expect(deaf.transport.health().status).toBe("disconnected");
    expect(broker.peek("orders").map((each) => each.id)).toEqual(["1"]);
    broker.setPath(deaf.transport, "open");
    stalled.settleAll("accept");
    await clock.advance(2_000);
    expect(stalled.ids).toEqual(["1", "1"]);
    expect(broker.depth("orders").ready).toBe(0);
  });

  test("leaves the outcome open where the answer got lost, though the message was taken", async () => {
    const { client, broker } = world();
    const { transport } = await client();
    broker.setPath(transport, "deaf");
    const abort = new AbortController();
    const dispatched = transport.dispatch([{ address: toOrders, message: message("1") }], { signal: abort.signal });
    abort.abort();
    expect(outcomes(await dispatched)).toEqual(["UNKNOWN_OUTCOME"]);
    expect(broker.depth("orders").ready).toBe(1);
  });

  test("connects no more while the network is down", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    broker.setPath(transport, "down");
    const waiting = send(toOrders, message("1"));
    await clock.advance(60_000);
    expect(transport.health().status).toBe("disconnected");
    broker.setPath(transport, "open");
    await clock.advance(2_000);
    expect(await waiting).toEqual(["accepted"]);
  });

  test("takes leases back from consumers that stay connected", async () => {
    const { client, broker } = world();
    const { transport, send, events } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    await send(toOrders, message("1"), message("2"));
    await inbox.count(2);
    broker.breakConsumers("orders");
    expect(inbox.deliveries.map((delivery) => delivery.lost.aborted)).toEqual([true, true]);
    inbox.settleAll("accept");
    await inbox.count(4);
    expect(inbox.ids.slice(2).toSorted()).toEqual(["1", "2"]);
    expect(events).toEqual(["transport.connected"]);
  });

  test("stores a message twice by a fault", async () => {
    const { client, broker } = world({ faults: { duplicate: 1 } });
    const { transport, send } = await client();
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await inbox.count(2);
    broker.heal();
    expect(broker.faults.duplicate).toBe(0);
    await send(toOrders, message("2"));
    await inbox.count(3);
    expect(inbox.ids).toEqual(["1", "1", "2"]);
  });

  test("loses no accepted message whatever the faults, and is idle when they are healed", async () => {
    const { client, broker, clock } = world({
      faults: { seed: 7, duplicate: 0.05, reorder: 0.2, dropSettlement: 0.05, cut: 0.03 },
      shuffle: true,
    });
    const sender = await client();
    const inboxes = [];
    for (let index = 0; index < 3; index++) {
      const { transport } = await client();
      const inbox = createInbox("accept");
      await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 4 });
      inboxes.push(inbox);
    }
    const accepted: string[] = [];
    const unknown: unknown[] = [];
    const sent = (async () => {
      for (const id of ids(300)) {
        const [outcome] = await sender.send(toOrders, message(id, { key: `k${Number(id) % 7}` }));
        if (outcome === "accepted") accepted.push(id);
        else unknown.push(outcome);
      }
    })();
    await clock.advance(60_000);
    await sent;
    broker.heal();
    await clock.advance(60_000);
    const seen = new Set(inboxes.flatMap((inbox) => inbox.ids));
    expect(accepted.length).toBeGreaterThan(250);
    expect(new Set(unknown)).toEqual(new Set(["UNKNOWN_OUTCOME"]));
    expect(accepted.filter((id) => !seen.has(id))).toEqual([]);
    expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
  });
});

test("a lost settlement on a queue lets the lease run out, and the message comes back", async () => {
  const { client, broker, clock } = createWorld({ leaseMs });
  const { transport, send } = await client();
  const inbox = createInbox("accept");
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  broker.setFaults({ dropSettlement: 1 });
  await send(toOrders, message("1"));
  await clock.advance(leaseMs - 1);
  expect(inbox.ids).toEqual(["1"]);
  broker.heal();
  await clock.advance(1);
  expect(inbox.ids).toEqual(["1", "1"]);
  expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
});

test("a lost commit on a log is made good by the next one, and brings the message back only after a crash", async () => {
  const { client, broker, clock } = createWorld({ personality: "log", partitions: 1, leaseMs });
  const { transport, send } = await client();
  const first = createInbox("accept");
  await transport.consume(ordersInlet, first.receive, { signal: never, maxInFlight: 1 });
  broker.setFaults({ dropSettlement: 1 });
  await send(toOrders, message("1"));
  await clock.advance(leaseMs * 2);
  broker.heal();
  await send(toOrders, message("2"));
  await clock.advance(0);
  broker.setFaults({ dropSettlement: 1 });
  await send(toOrders, message("3"));
  await clock.advance(0);
  broker.cutConnections();
  await clock.advance(1_000);
  expect(first.ids).toEqual(["1", "2", "3", "3"]);
});

test("a shuffling queue delivers in another order, the same for the same seed", async () => {
  const order = async (seed: number): Promise<readonly string[]> => {
    const { client } = createWorld({ shuffle: true, faults: { seed } });
    const { transport, send } = await client();
    await send(toOrders, ...ids(20).map((id) => message(id)));
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await inbox.count(20);
    return inbox.ids;
  };
  const one = await order(1);
  expect(one).not.toEqual(ids(20));
  expect(one.toSorted()).toEqual(ids(20).toSorted());
  expect(await order(1)).toEqual(one);
  expect(await order(2)).not.toEqual(one);
});

test("a queue keeps its order where nothing else was asked for, and puts what is released in front", async () => {
  const { client } = createWorld();
  const { transport, send } = await client();
  await send(toOrders, ...ids(4).map((id) => message(id)));
  const inbox = createInbox();
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await inbox.count(1);
  inbox.settle(0, "release");
  await inbox.count(2);
  inbox.settleAll("accept");
  await inbox.count(5);
  expect(inbox.ids).toEqual(["0", "0", "1", "2", "3"]);
});

test("a queue dead-letters what its consumers lose again and again, but not what they release", async () => {
  const { client, broker, clock } = createWorld({ deliveryLimit: 3 });
  const { transport, send } = await client();
  const inbox = createInbox();
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await send(toOrders, message("1"));
  for (let release = 0; release < 10; release++) {
    await inbox.count(release + 1);
    inbox.settle(release, "release");
  }
  for (let cut = 1; cut <= 3; cut++) {
    await inbox.count(10 + cut);
    broker.cutConnections();
    inbox.settle(9 + cut, "accept");
    await clock.advance(1_000);
  }
  expect(broker.depth("orders").ready).toBe(0);
  expect(broker.peek("orders.dlq").map((each) => each.id)).toEqual(["1"]);
  expect(orders.kind).toBe("queue");
});
