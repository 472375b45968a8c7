/** What only a log does. */
import { expect, test } from "vitest";
import {
  createInbox,
  createWorld,
  eventTopology,
  message,
  never,
  ordersInlet,
  toEvents,
  billingInlet,
  shippingInlet,
  toOrders,
} from "./client.fixture.ts";

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

test("commits only the contiguous prefix: a crash brings back what was accepted behind a gap", async () => {
  const { client, broker } = createWorld({ personality: "log", partitions: 1 });
  const first = await client();
  const second = await client();
  const inbox = createInbox();
  await first.transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
  await second.send(toOrders, ...ids(5).map((id) => message(id)));
  await inbox.count(5);
  inbox.settle(0, "accept");
  inbox.settle(2, "accept");
  inbox.settle(4, "accept");
  await new Promise((resolve) => setImmediate(resolve));
  expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 2 });
  broker.crash(first.transport);
  const successor = createInbox("accept");
  await second.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 1 });
  await successor.count(4);
  expect(successor.ids).toEqual(["1", "2", "3", "4"]);
});

test("delivers a released record again, and skips none behind it", async () => {
  const { client, broker, clock } = createWorld({ personality: "log", partitions: 1 });
  const { transport, send } = await client();
  const inbox = createInbox();
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 3 });
  await send(toOrders, ...ids(5).map((id) => message(id)));
  await inbox.count(3);
  inbox.settle(2, "release");
  await inbox.count(4);
  inbox.settle(0, "release");
  await inbox.count(5);
  inbox.settleAll("accept");
  await inbox.count(7);
  expect(inbox.ids).toEqual(["0", "1", "2", "2", "0", "3", "4"]);
  await clock.advance(0);
  expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
});

test("keeps the messages of one key in one partition and in order", async () => {
  const { client } = createWorld({ personality: "log" });
  const { transport, send } = await client();
  await send(toOrders, ...ids(60).map((id) => message(id, { key: `key-${Number(id) % 3}` })));
  const inbox = createInbox("accept");
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await inbox.count(60);
  for (const key of [0, 1, 2]) {
    const ofKey = inbox.ids.filter((id) => Number(id) % 3 === key);
    expect(ofKey).toEqual(ofKey.toSorted((one, other) => Number(one) - Number(other)));
  }
});

test("moves partitions to a member that joins: their deliveries are lost and given to the new owner", async () => {
  const { client, broker, clock } = createWorld({ personality: "log", partitions: 2 });
  const first = await client();
  const second = await client();
  const inbox = createInbox();
  await first.transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 10 });
  await first.send(toOrders, message("0"), message("1"));
  await inbox.count(2);
  const successor = createInbox("accept");
  await second.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 10 });
  await successor.count(1);
  const lost = inbox.deliveries.filter((delivery) => delivery.lost.aborted);
  expect(lost.map((delivery) => delivery.message.id)).toEqual(successor.ids);
  inbox.settleAll("accept");
  await clock.advance(0);
  expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
});

test("leaves a stopping member what it still works on, and moves the rest at once", async () => {
  const { client, broker, clock } = createWorld({ personality: "log", partitions: 2 });
  const first = await client();
  const second = await client();
  const slow = createInbox();
  const stopping = await first.transport.consume(ordersInlet, slow.receive, { signal: never, maxInFlight: 1 });
  await first.send(toOrders, message("0"), message("1"));
  await slow.count(1);
  await stopping.stop();
  const successor = createInbox("accept");
  await second.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 10 });
  await successor.count(1);
  expect(slow.deliveries[0]?.lost.aborted).toBe(false);
  await second.send(toOrders, message("2"), message("3"));
  await clock.advance(0);
  expect(successor.ids).toHaveLength(2);
  slow.settle(0, "accept");
  await successor.count(3);
  expect([...slow.ids, ...successor.ids].toSorted()).toEqual(["0", "1", "2", "3"]);
  await clock.advance(0);
  expect(broker.depth("orders")).toMatchObject({ ready: 0, inFlight: 0 });
});

test("starts a group at the log's end, and forgets records that every group has committed", async () => {
  const { client, broker } = createWorld({ personality: "log", partitions: 1, maxMessages: 3 });
  const { transport, send } = await client();
  await transport.provision(eventTopology(["billing"]), "apply", { signal: never });
  await send(toEvents, message("early"));
  await transport.provision(eventTopology(["shipping"]), "apply", { signal: never });
  expect(await send(toEvents, message("1"), message("2"), message("3"))).toEqual(["accepted", "accepted", "REJECTED"]);
  expect(broker.peek("events.billing").map((each) => each.id)).toEqual(["early", "1", "2"]);
  expect(broker.peek("events.shipping").map((each) => each.id)).toEqual(["1", "2"]);
  const billing = createInbox("accept");
  await transport.consume(billingInlet, billing.receive, { signal: never, maxInFlight: 1 });
  await billing.count(3);
  const shipping = createInbox("accept");
  await transport.consume(shippingInlet, shipping.receive, { signal: never, maxInFlight: 1 });
  await shipping.count(2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(await send(toEvents, message("3"), message("4"), message("5"))).toEqual(["accepted", "accepted", "accepted"]);
  await billing.count(6);
  await shipping.count(5);
});

test("remembers what was purged behind a gap when the partition moves", async () => {
  const { client, broker } = createWorld({ personality: "log", partitions: 1 });
  const { transport, send } = await client();
  const other = await client();
  const inbox = createInbox();
  await transport.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await send(toOrders, ...ids(4).map((id) => message(id)));
  await inbox.count(1);
  expect(await transport.admin.purge(ordersInlet, { signal: never })).toBe(3);
  broker.crash(transport);
  await other.send(toOrders, message("4"));
  const successor = createInbox("accept");
  await other.transport.consume(ordersInlet, successor.receive, { signal: never, maxInFlight: 1 });
  await successor.count(2);
  expect(successor.ids).toEqual(["0", "4"]);
});
