/** Messages that wait on the broker until their time. */
import { describe, expect, test } from "vitest";
import {
  billingInlet,
  createInbox,
  createWorld,
  events,
  eventTopology,
  message,
  never,
  ordersDead,
  ordersInlet,
  outcomes,
  toEvents,
  toOrders,
} from "./client.fixture.ts";

describe.each(["queue", "log"] as const)("a %s broker", (personality) => {
  const world = (options = {}) => createWorld({ personality, ...options });

  test("delivers a delayed message when it is due and not before, whether it goes to a channel or to an inlet", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    const now = clock.now();
    expect(await send(toOrders, message("1", { notBefore: now + 1_000 }))).toEqual(["accepted"]);
    expect(await send(ordersInlet, message("2", { notBefore: now + 2_000 }))).toEqual(["accepted"]);
    expect(await send(toOrders, message("past", { notBefore: now - 1 }))).toEqual(["accepted"]);
    expect(broker.delayed).toBe(2);
    await clock.advance(999);
    expect(inbox.ids).toEqual(["past"]);
    await clock.advance(1);
    expect(inbox.ids).toEqual(["past", "1"]);
    await clock.advance(1_000);
    expect(inbox.ids).toEqual(["past", "1", "2"]);
    expect(inbox.deliveries[2]?.message.notBefore).toBe(now + 2_000);
    expect(broker.delayed).toBe(0);
  });

  test("lets a short delay pass a long one, and keeps those that are due together in their order", async () => {
    const { client, clock } = world({ partitions: 1 });
    const { transport, send } = await client();
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    const now = clock.now();
    const delays = Array.from({ length: 500 }, (_, index) => (index * 7_919) % 500);
    await send(
      toOrders,
      message("long", { notBefore: now + 800_000 }),
      ...delays.map((delay) => message(String(delay), { notBefore: now + 1 + (delay >> 2) })),
    );
    await clock.advance(126);
    expect(inbox.ids).toHaveLength(500);
    const quarters = inbox.ids.map((id) => Number(id) >> 2);
    expect(quarters).toEqual(quarters.toSorted((one, other) => one - other));
    await clock.advance(800_000);
    expect(inbox.ids.at(-1)).toBe("long");
  });

  test("keeps what is delayed over its own restart, the crash of its sender and cuts", async () => {
    const { client, broker, clock } = world();
    const sender = await client();
    const { transport } = await client();
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
    const now = clock.now();
    await sender.send(toOrders, message("1", { notBefore: now + 10_000 }), message("2", { notBefore: now + 100_000 }));
    broker.crash(sender.transport);
    broker.cutConnections();
    broker.stop();
    await clock.advance(50_000);
    expect(broker.depth("orders").ready).toBe(0);
    expect(broker.delayed).toBe(2);
    broker.start();
    await clock.advance(0);
    expect(broker.delayed).toBe(1);
    await clock.advance(5_000);
    expect(inbox.ids).toEqual(["1"]);
    await clock.advance(45_000);
    expect(inbox.ids).toEqual(["1", "2"]);
  });

  test("gives a delayed event to the groups that exist when it is due", async () => {
    const { client, broker, clock } = world();
    const { transport, send } = await client();
    await transport.provision({ channels: [events], groups: [] }, "apply", { signal: never });
    const later = { notBefore: clock.now() + 1_000 };
    await send(toEvents, message("1", later));
    await transport.provision(eventTopology(["billing", "placed"], ["shipping", "placed"]), "apply", { signal: never });
    await send(billingInlet, message("2", later));
    await clock.advance(1_000);
    expect(broker.depth("events.billing").ready).toBe(2);
    expect(broker.depth("events.shipping").ready).toBe(1);
    broker.delete("events.shipping");
    broker.delete("events.billing");
    await send(toEvents, message("3", { notBefore: clock.now() + 1_000 }));
    await clock.advance(1_000);
    expect(broker.delayed).toBe(0);
  });

  test("refuses a delayed message that goes nowhere, and never delays a dead letter", async () => {
    const { client, broker, clock } = world();
    const { send } = await client();
    const later = { notBefore: clock.now() + 1_000 };
    expect(await send(billingInlet, message("1", later))).toEqual(["UNROUTABLE"]);
    expect(await send(toEvents, message("1", later))).toEqual(["UNROUTABLE"]);
    expect(await send(ordersDead, message("1", later))).toEqual(["accepted"]);
    expect(broker.depth("orders.dlq").ready).toBe(1);
    expect(broker.delayed).toBe(0);
  });

  test("delivers what is to wait longer than it can delay when that time is over", async () => {
    const { client, broker, clock } = world({ longestDelayMs: 5_000 });
    const { send } = await client();
    await send(toOrders, message("1", { notBefore: clock.now() + 60_000 }));
    await clock.advance(4_999);
    expect(broker.depth("orders").ready).toBe(0);
    await clock.advance(1);
    expect(broker.depth("orders").ready).toBe(1);
  });

  test("holds no more delayed messages than its limits allow", async () => {
    const { client, clock } = world({ maxMessages: 2, maxMessageBytes: 1_000, maxBytes: 1_500 });
    const { send } = await client();
    const later = { notBefore: clock.now() + 1_000 };
    const large = { ...later, body: new Uint8Array(900) };
    expect(
      await send(toOrders, message("1", large), message("2", large), message("3", later), message("4", later)),
    ).toEqual(["accepted", "REJECTED", "accepted", "REJECTED"]);
    await clock.advance(1_000);
    const again = { notBefore: clock.now() + 1_000 };
    expect(await send(toOrders, message("5", again))).toEqual(["accepted"]);
  });

  test("keeps a message that is due while its queue is full or missing, and delivers it when there is room", async () => {
    const { client, broker, clock } = world({ maxMessages: 1, partitions: 1 });
    const { transport, send } = await client();
    await send(toOrders, message("1", { notBefore: clock.now() + 1_000 }));
    await send(toOrders, message("2"));
    await clock.advance(10_000);
    expect(broker.delayed).toBe(1);
    const inbox = createInbox("accept");
    await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
    await clock.advance(1_000);
    expect(inbox.ids).toEqual(["2", "1"]);

    await send(toOrders, message("3", { notBefore: clock.now() + 5 }));
    broker.delete("orders");
    await clock.advance(5);
    expect(broker.delayed).toBe(1);
    await clock.advance(60_000);
    expect(inbox.ids).toEqual(["2", "1", "3"]);
    expect(broker.delayed).toBe(0);
  });

  test("duplicates a delayed message by a fault, and leaves no timer behind", async () => {
    const { client, broker, clock } = world({ faults: { duplicate: 1 } });
    const { transport, send } = await client();
    await send(toOrders, message("1", { notBefore: clock.now() + 1_000 }));
    await transport.close({ signal: never });
    expect(clock.pending).toBe(1);
    await clock.advance(1_000);
    expect(broker.depth("orders").ready).toBe(2);
    expect(clock.pending).toBe(0);
  });

  test("waits for nothing that another program sent, whatever it says", async () => {
    const { client, broker, clock } = world();
    await client();
    broker.inject(toOrders, { notBefore: clock.now() + 60_000 });
    expect(broker.depth("orders").ready).toBe(1);
  });

  test("leaves the outcome of a delayed message open where the answer got lost, and delivers it", async () => {
    const { client, broker, clock } = world({ faults: { dropConfirm: 1 } });
    const { transport } = await client();
    const abort = new AbortController();
    const dispatched = transport.dispatch(
      [{ address: toOrders, message: message("1", { notBefore: clock.now() + 1_000 }) }],
      { signal: abort.signal },
    );
    abort.abort();
    expect(outcomes(await dispatched)).toEqual(["UNKNOWN_OUTCOME"]);
    await clock.advance(1_000);
    expect(broker.depth("orders").ready).toBe(1);
  });
});
