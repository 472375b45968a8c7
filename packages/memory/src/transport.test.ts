import { describe, expect, test } from "vitest";
import { channelAddress, isPosthornError } from "@posthorn/core/transport";
import {
  billingInlet,
  createInbox,
  createWorld,
  events,
  eventTopology,
  look,
  message,
  never,
  orders,
  ordersDead,
  ordersInlet,
  orderTopology,
  outcomes,
  shippingInlet,
  toEvents,
  toOrders,
} from "./client.fixture.ts";
import { memory } from "./index.ts";

const personalities = ["queue", "log"] as const;

describe.each(personalities)("a %s broker", (personality) => {
  const world = (options = {}) => createWorld({ personality, ...options });

  test("delivers what was dispatched, equal and in objects of its own", async () => {
    const { client } = world();
    const { transport, send } = await client();
    const sent = message("1", {
      key: "k",
      correlationId: "c",
      headers: JSON.parse(`{"__proto__":"x","ü":"\\ud83d\\ude00"}`) as Record<string, string>,
      body: Uint8Array.from({ length: 256 }, (_, index) => index),
    });
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    expect(await send(toOrders, sent)).toEqual(["accepted"]);
    sent.body.fill(0);
    await inbox.count(1);
    const first = inbox.deliveries[0]?.message;
    expect(first?.body).toEqual(Uint8Array.from({ length: 256 }, (_, index) => index));
    expect(Object.entries(first?.headers ?? {})).toEqual(Object.entries(sent.headers));
    expect({ ...first, headers: {}, body: sent.body }).toEqual({ ...sent, headers: {} });
    first?.body.fill(1);
    inbox.settle(0, "release");
    await inbox.count(2);
    expect(inbox.deliveries[1]?.message.body[255]).toBe(255);
    expect(inbox.deliveries[1]?.deliveryCount).toBe(personality === "queue" ? 2 : undefined);
  });

  test("keeps what is published after provision for a group that has no consumer yet, and sends it to every group", async () => {
    const { client } = world();
    const { transport, send } = await client();
    await transport.provision(eventTopology(["billing", "placed"], ["shipping", "placed"]), "apply", { signal: never });
    await send(toEvents, message("1"), message("2"));
    for (const inlet of [billingInlet, shippingInlet]) {
      const inbox = createInbox("accept");
      await transport.consume(inlet, inbox.receive, { signal: never, maxInFlight: 10 });
      await inbox.count(2);
      expect(inbox.ids.toSorted()).toEqual(["1", "2"]);
    }
  });

  test("sends what goes to an inlet to that group alone", async () => {
    const { client, broker } = world();
    const { transport, send } = await client();
    await transport.provision(eventTopology(["billing", "placed"], ["shipping", "placed"]), "apply", { signal: never });
    await send(billingInlet, message("1", { type: "other" }));
    expect(broker.depth("events.billing").ready).toBe(1);
    expect(broker.depth("events.shipping").ready).toBe(0);
  });

  test("refuses what goes nowhere, and takes what goes to a topic without groups", async () => {
    const { client } = world();
    const { transport, send } = await client();
    await transport.provision({ channels: [events], groups: [] }, "apply", { signal: never });
    expect(await send(toEvents, message("1"))).toEqual(["accepted"]);
    expect(await send(billingInlet, message("1"))).toEqual(["UNROUTABLE"]);
    expect(await send(channelAddress({ ...orders, name: "nowhere" }), message("1"))).toEqual(["UNROUTABLE"]);
    expect(await send(channelAddress({ ...orders, kind: "topic" }), message("1"))).toEqual(["UNROUTABLE"]);
    await expect(
      transport.consume(billingInlet, createInbox().receive, { signal: never, maxInFlight: 1 }),
    ).rejects.toMatchObject({ code: "UNROUTABLE" });
  });

  test("answers each message of a batch for itself", async () => {
    const { client } = world({ maxMessageBytes: 100, maxMessages: 2, partitions: 1 });
    const { send } = await client();
    const large = message("large", { body: new Uint8Array(90), headers: { ü: "1" } });
    expect(await send(toOrders, message("1"), large, message("2"), message("3"))).toEqual([
      "accepted",
      "MESSAGE_TOO_LARGE",
      "accepted",
      "REJECTED",
    ]);
  });

  test("never has more deliveries pending than asked for, when that changes too", async () => {
    const { client, clock } = world();
    const { transport, send } = await client();
    await send(toOrders, ...Array.from({ length: 12 }, (_, index) => message(String(index))));
    const inbox = createInbox();
    const consumption = await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 3 });
    await clock.advance(0);
    expect(inbox.deliveries).toHaveLength(3);
    consumption.resize(5);
    await clock.advance(0);
    expect(inbox.deliveries).toHaveLength(5);
    consumption.resize(1);
    for (let index = 0; index < 4; index++) inbox.settle(index, "accept");
    await clock.advance(0);
    expect(inbox.deliveries).toHaveLength(5);
    inbox.settleAll("accept");
    await inbox.count(12);
    expect(inbox.peak).toBe(5);
  });

  test("keeps a lease for as long as a delivery is pending", async () => {
    const { client, clock, broker } = world({ leaseMs: 1_000 });
    const { transport, send } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await clock.advance(60_000);
    expect(inbox.ids).toEqual(["1"]);
    expect(inbox.deliveries[0]?.lost.aborted).toBe(false);
    inbox.settle(0, "accept");
    await clock.advance(0);
    expect(broker.depth("orders")).toEqual({ ready: 0, inFlight: 0, oldestAgeMs: undefined });
  });

  test("receives nothing while paused, and nothing after stop; what was pending is settled as ever", async () => {
    const { client, clock, broker } = world();
    const { transport, send } = await client();
    const inbox = createInbox();
    const consumption = await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 5 });
    consumption.pause();
    await send(toOrders, message("1"));
    await clock.advance(60_000);
    expect(inbox.ids).toEqual([]);
    consumption.resume();
    await inbox.count(1);
    await consumption.stop();
    await send(toOrders, message("2", { key: "k" }));
    await clock.advance(60_000);
    expect(inbox.ids).toEqual(["1"]);
    expect(inbox.deliveries[0]?.lost.aborted).toBe(false);
    expect(broker.consumers).toBe(1);
    inbox.settle(0, "accept");
    await clock.advance(0);
    expect(broker.consumers).toBe(0);
    expect(broker.depth("orders").ready).toBe(1);
    await consumption.stop();
  });

  test("shares a channel among its consumers", async () => {
    const { client } = world();
    const inboxes = [];
    const clients = [];
    for (let index = 0; index < 4; index++) {
      const one = await client();
      const inbox = createInbox("accept");
      await one.transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 2 });
      inboxes.push(inbox);
      clients.push(one);
    }
    for (let index = 0; index < 400; index++) await clients[0]?.send(toOrders, message(String(index)));
    for (const inbox of inboxes) await inbox.count(50);
    expect(new Set(inboxes.flatMap((inbox) => inbox.ids)).size).toBe(400);
    expect(inboxes.flatMap((inbox) => inbox.ids)).toHaveLength(400);
  });

  test("plans and verifies without creating, applies what is missing, and tells what differs", async () => {
    const { client, broker } = world();
    const { transport } = await client();
    const before = broker.sources();
    const topology = eventTopology(["billing", "placed"]);
    for (const mode of ["plan", "verify"] as const) {
      const changes = await transport.provision(topology, mode, { signal: never });
      expect(changes.map(({ problem, name }) => `${problem} ${name}`)).toEqual([
        "missing events",
        "missing events.billing",
        "missing events.billing.dlq",
      ]);
    }
    expect(broker.sources()).toEqual(before);
    expect(await transport.provision(topology, "apply", { signal: never })).toEqual([]);
    expect(await transport.provision(topology, "apply", { signal: never })).toEqual([]);
    expect(await transport.provision(topology, "verify", { signal: never })).toEqual([]);
    const other = { ...orders, kind: "topic", ordered: true } as const;
    const changes = await transport.provision(
      { channels: [other], groups: [{ channel: other, name: "x", types: [] }] },
      "apply",
      { signal: never },
    );
    expect(changes).toEqual([
      { problem: "different", object: "queue", name: "orders", field: "kind", expected: "topic", actual: "queue" },
    ]);
    expect(
      await transport.provision({ channels: [{ ...orders, ordered: true }], groups: [] }, "verify", { signal: never }),
    ).toEqual([
      { problem: "different", object: "queue", name: "orders", field: "ordered", expected: "true", actual: "false" },
    ]);
  });

  test("shows depth and the oldest messages without touching them, and purges only what waits", async () => {
    const { client, clock } = world();
    const { transport, send } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    for (let index = 0; index < 5; index++) {
      await send(toOrders, message(String(index)));
      await clock.advance(1_000);
    }
    for (let time = 0; time < 3; time++) {
      expect(await look(transport, ordersInlet, 2)).toEqual(["1", "2"]);
    }
    expect(await transport.admin.depth(ordersInlet, { signal: never })).toEqual({
      ready: 4,
      inFlight: 1,
      oldestAgeMs: 4_000,
    });
    expect(await transport.admin.purge(ordersInlet, { signal: never })).toBe(4);
    expect(await transport.admin.depth(ordersInlet, { signal: never })).toEqual({
      ready: 0,
      inFlight: 1,
      oldestAgeMs: undefined,
    });
    inbox.settle(0, "release");
    await inbox.count(2);
    expect(inbox.ids).toEqual(["0", "0"]);
    await expect(transport.admin.depth(billingInlet, { signal: never })).rejects.toMatchObject({ code: "UNROUTABLE" });
  });

  test("has dead letters that can be browsed, consumed and purged", async () => {
    const { client } = world();
    const { transport, send } = await client();
    await send(ordersDead, message("1"), message("2"));
    expect(await look(transport, ordersDead, 10)).toEqual(["1", "2"]);
    const inbox = createInbox("accept");
    await transport.consume(ordersDead, inbox.receive, { signal: never, maxInFlight: 1 });
    await inbox.count(2);
    expect(await transport.admin.purge(ordersDead, { signal: never })).toBe(0);
  });

  test("delivers foreign bytes with a defect, and foreign messages with an id that stays", async () => {
    const { client, broker, clock } = world();
    const { transport } = await client();
    broker.inject(toOrders, Uint8Array.from([1, 2, 3]));
    broker.inject(toOrders, { body: Uint8Array.from([4]), key: "k" });
    broker.inject(toOrders, { headers: { a: 1 } as unknown as Record<string, string>, id: "odd", key: "k" });
    broker.inject(toOrders, { cloudEvent: { id: "ce", type: "t", source: "s", specversion: "1.0" }, key: "k" });
    const inbox = createInbox("release");
    const consumption = await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await inbox.count(20);
    await consumption.stop();
    await clock.advance(0);
    const kinds = new Map(
      inbox.deliveries.map((each) => [`${each.message.id} ${each.defect ?? "fine"}`, each.message]),
    );
    expect(
      [...kinds.keys()].every((kind) =>
        /^memory-1 The bytes|^memory-2 fine|^odd The envelope's header "a"|^ce fine/.test(kind),
      ),
    ).toBe(true);
    expect(kinds.get("memory-1 The bytes are not an envelope and a body.")?.body).toEqual(Uint8Array.from([1, 2, 3]));
  });

  test("ends without a trace: no connection, no consumer, no timer", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await inbox.count(1);
    await transport.close({ signal: never });
    await transport.close({ signal: never });
    expect(inbox.deliveries[0]?.lost.aborted).toBe(true);
    expect({ clients: broker.clients, consumers: broker.consumers, timers: clock.pending }).toEqual({
      clients: 0,
      consumers: 0,
      timers: 0,
    });
    expect(transport.health()).toEqual({ status: "closed" });
    expect(await send(toOrders, message("2"))).toEqual(["CONNECTION_LOST"]);
    await expect(transport.admin.depth(ordersInlet, { signal: never })).rejects.toMatchObject({ code: "CLOSED" });
    await expect(transport.provision(orderTopology, "apply", { signal: never })).rejects.toMatchObject({
      code: "CLOSED",
    });
    inbox.settle(0, "accept");
    await clock.advance(0);
    expect(broker.depth("orders").ready).toBe(1);
  });

  test("settles on close what was settled just before", async () => {
    const { client, broker } = world();
    const { transport, send } = await client();
    const inbox = createInbox();
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("1"));
    await inbox.count(1);
    inbox.settle(0, "accept");
    await transport.close({ signal: never });
    expect(broker.depth("orders").ready).toBe(0);
  });

  test("lets every wait be given up, and says that nothing was sent", async () => {
    const { client, broker } = world();
    const { transport } = await client();
    broker.stop();
    const abort = new AbortController();
    const { signal } = abort;
    const waits = [
      transport.admin.depth(ordersInlet, { signal }),
      transport.provision(orderTopology, "verify", { signal }),
      transport.consume(ordersInlet, createInbox().receive, { signal, maxInFlight: 1 }),
    ];
    const dispatched = transport.dispatch([{ address: toOrders, message: message("1") }], { signal });
    abort.abort();
    for (const wait of waits) await expect(wait).rejects.toMatchObject({ code: "ABORTED" });
    expect(outcomes(await dispatched)).toEqual(["CONNECTION_LOST"]);
    expect(outcomes(await transport.dispatch([{ address: toOrders, message: message("1") }], { signal }))).toEqual([
      "CONNECTION_LOST",
    ]);
    broker.start();
    expect(broker.depth("orders").ready).toBe(0);
  });

  test("connects when the broker comes up, or says why not", async () => {
    const { broker, clock } = world();
    broker.stop();
    const abort = new AbortController();
    const transport = memory({ broker });
    const failing = transport.connect({ signal: abort.signal, report: () => undefined });
    abort.abort();
    const error: unknown = await failing.catch((reason: unknown) => reason);
    expect(isPosthornError(error, "CONNECTION_FAILED") && error.cause).toBeInstanceOf(Error);
    expect(clock.pending).toBe(0);

    const patient = memory({ broker });
    const connected = patient.connect({ signal: never, report: () => undefined });
    await clock.advance(10_000);
    expect(patient.health().status).toBe("connecting");
    broker.start();
    await clock.advance(1_000);
    await connected;
    await patient.close({ signal: never });

    broker.stop();
    const closing = memory({ broker });
    const never2 = closing.connect({ signal: never, report: () => undefined });
    await Promise.all([expect(never2).rejects.toMatchObject({ code: "CLOSED" }), closing.close({ signal: never })]);
    expect(clock.pending).toBe(0);
  });

  test("gives timers their turn under endless work", async () => {
    const { client, broker } = world();
    const { transport, send } = await client();
    let turns = 0;
    const turn = (): void => {
      if (++turns < 5) setImmediate(turn);
    };
    setImmediate(turn);
    const inbox = createInbox("release");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await send(toOrders, message("endless"));
    while (turns < 5) await send(ordersDead, message("more"));
    expect(broker.depth("orders.dlq").ready).toBeGreaterThan(0);
    await transport.close({ signal: never });
  });
});

test("a queue's group receives the types it asked for, and more when it asks for more", async () => {
  const { client, broker } = createWorld();
  const { transport, send } = await client();
  await transport.provision(eventTopology(["billing", "placed"]), "apply", { signal: never });
  await send(toEvents, message("1"), message("2", { type: "shipped" }));
  expect(broker.peek("events.billing").map((each) => each.id)).toEqual(["1"]);
  const more = eventTopology(["billing", "placed", "shipped"]);
  expect(await transport.provision(more, "verify", { signal: never })).toEqual([
    { problem: "missing", object: "binding", name: "events.billing: shipped" },
  ]);
  expect(await transport.provision(more, "apply", { signal: never })).toEqual([]);
  await send(toEvents, message("3", { type: "shipped" }));
  expect(broker.peek("events.billing").map((each) => each.id)).toEqual(["1", "3"]);
});

test("a log's group receives every type", async () => {
  const { client, broker } = createWorld({ personality: "log" });
  const { transport, send } = await client();
  await transport.provision(eventTopology(["billing", "placed"]), "apply", { signal: never });
  await send(toEvents, message("1"), message("2", { type: "shipped" }));
  expect(broker.depth("events.billing").ready).toBe(2);
});
