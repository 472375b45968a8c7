/** What a channel keeps that was declared ordered: the messages of a key come in their order, and to one consumer at a time. */
import { describe, expect, test } from "vitest";
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import type { ChannelInfo, Consumption, Topology } from "@posthorn/core/transport";
import { createInbox, createWorld, look, message, never } from "./client.fixture.ts";
import type { Client, Inbox, World } from "./client.fixture.ts";
import type { MemoryBrokerOptions } from "./index.ts";

const leaseMs = 3_000;
const accounts: ChannelInfo = { kind: "queue", name: "accounts", ordered: true };
const toAccounts = channelAddress(accounts);
const inlet = inletAddress(accounts, "accounts");
const topology: Topology = {
  channels: [accounts],
  groups: [{ channel: accounts, name: accounts.name, types: [] }],
};
const never10 = { signal: never, maxInFlight: 10 };

/** `a1`, `b7`: the letter is the key. */
const keyed = (...ids: readonly string[]) => ids.map((id) => message(id, { key: id.charAt(0) }));
const many = (key: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${key}${index}`);
const ofKey = (ids: readonly string[], key: string): readonly string[] => ids.filter((id) => id.startsWith(key));

function createOrderedWorld(options: MemoryBrokerOptions): World {
  const world = createWorld(options);
  return {
    ...world,
    client: async () => {
      const client = await world.client();
      await client.transport.provision(topology, "apply", { signal: never });
      return client;
    },
  };
}

describe.each(["queue", "log"] as const)("a %s broker with an ordered channel", (personality) => {
  const world = (options = {}): World => createOrderedWorld({ personality, leaseMs, ...options });
  const consume = ({ transport }: Client, inbox: Inbox, maxInFlight = 10): Promise<Consumption> =>
    transport.consume(inlet, inbox.receive, { signal: never, maxInFlight });
  const lostOf = ({ deliveries }: Inbox): readonly string[] =>
    deliveries.filter(({ lost }) => lost.aborted).map((delivery) => delivery.message.id);

  test.each([false, true])("delivers each key in its order, by faults too (shuffle %s)", async (shuffle) => {
    const { client } = world({ shuffle, faults: shuffle ? { reorder: 0.5, duplicate: 0.3 } : {} });
    const one = await client();
    const all = many("x", 300).map((id, index) => `${"abcde".charAt(index % 5)}${id.slice(1)}`);
    await one.send(toAccounts, ...keyed(...all));
    const inbox = createInbox("accept");
    await consume(one, inbox, 7);
    await inbox.count(300);
    await new Promise((resolve) => setImmediate(resolve));
    for (const key of "abcde") {
      const got = ofKey(inbox.ids, key).map((id) => Number(id.slice(1)));
      expect(got).toEqual(got.toSorted((first, second) => first - second));
      expect(new Set(got).size).toBe(60);
    }
  });

  test("gives one member the next of a key while the last is pending, and another member none of it", async () => {
    const { client, clock } = world({ partitions: 1 });
    const one = await client();
    const other = await client();
    const holder = createInbox();
    const holding = await consume(one, holder, 2);
    await one.send(toAccounts, ...keyed(...many("a", 4)));
    await holder.count(2);
    expect(holder.ids).toEqual(["a0", "a1"]);
    const second = createInbox("accept");
    await consume(other, second);
    await clock.advance(leaseMs * 3);
    expect(second.ids).toEqual([]);
    holder.settle(0, "accept");
    await holder.count(3);
    expect(holder.ids).toEqual(["a0", "a1", "a2"]);
    holding.pause();
    await clock.advance(leaseMs);
    expect(second.ids).toEqual([]);
    expect(lostOf(holder)).toEqual([]);
  });

  test("leaves a stopped or paused member its keys for as long as it has one of them in hand", async () => {
    const { client, clock, broker } = world({ partitions: 1 });
    const one = await client();
    const other = await client();
    const stopping = createInbox();
    const consumption = await consume(one, stopping, 2);
    await one.send(toAccounts, ...keyed(...many("a", 4)));
    await one.send(inlet, ...keyed("ax"));
    await stopping.count(2);
    await consumption.stop();
    const successor = createInbox();
    await consume(other, successor);
    await clock.advance(leaseMs * 3);
    stopping.settle(0, "accept");
    await clock.advance(leaseMs);
    expect(successor.ids).toEqual([]);
    expect(lostOf(stopping)).toEqual([]);
    stopping.settle(1, "accept");
    await successor.count(3);
    expect(ofKey(successor.ids, "a").filter((id) => id !== "ax")).toEqual(["a2", "a3"]);
    expect(successor.ids).toContain("ax");
    expect(stopping.ids).toEqual(["a0", "a1"]);
    expect(broker.consumers).toBe(1);
  });

  test("takes back with a released message what was taken of its key after it, and delivers all of it in order", async () => {
    const { client, clock, broker } = world({ partitions: 1 });
    const one = await client();
    const inbox = createInbox();
    await consume(one, inbox, 5);
    await one.send(toAccounts, ...keyed("a0", "a1", "b0", "a2", "a3"));
    await inbox.count(5);
    const at = (id: string): number => inbox.ids.indexOf(id);
    inbox.settle(at("a1"), "release");
    await clock.advance(0);
    expect(lostOf(inbox)).toEqual(["a2", "a3"]);
    for (const id of ["a0", "b0", "a2", "a3"]) inbox.settle(at(id), "accept");
    await inbox.count(8);
    expect(inbox.ids.slice(5)).toEqual(["a1", "a2", "a3"]);
    inbox.settleAll("accept");
    await clock.advance(0);
    expect(broker.depth("accounts")).toMatchObject({ ready: 0, inFlight: 0 });
  });

  test("delivers in order what was released together, whichever came back first", async () => {
    const { client, clock } = world({ partitions: 1 });
    const one = await client();
    const inbox = createInbox();
    const consumption = await consume(one, inbox, 3);
    await one.send(toAccounts, ...keyed(...many("a", 5)));
    await inbox.count(3);
    consumption.pause();
    for (const index of [2, 0, 1]) inbox.settle(index, "release");
    await clock.advance(0);
    inbox.settleAll("accept");
    consumption.resume();
    await inbox.count(8);
    expect(inbox.ids.slice(3)).toEqual(many("a", 5));
  });

  test.each(["crash", "cut", "break"] as const)(
    "delivers a key from its first unsettled message on after a %s",
    async (accident) => {
      const { client, clock, broker } = world({ partitions: 1 });
      const one = await client();
      const other = await client();
      const inbox = createInbox();
      await consume(one, inbox, 3);
      await one.send(toAccounts, ...keyed(...many("a", 5)));
      await inbox.count(3);
      inbox.settle(0, "accept");
      await inbox.count(4);
      const successor = createInbox("accept");
      if (accident === "crash") broker.crash(one.transport);
      else if (accident === "cut") broker.setPath(one.transport, "down");
      else broker.breakConsumers("accounts");
      expect(lostOf(inbox)).toEqual(["a1", "a2", "a3"]);
      inbox.settleAll("accept");
      await consume(other, successor);
      await clock.advance(0);
      const again = accident === "break" ? inbox.ids.slice(4) : successor.ids;
      expect(again).toEqual(["a1", "a2", "a3", "a4"]);
      await clock.advance(0);
      expect(broker.depth("accounts")).toMatchObject({ ready: 0, inFlight: 0 });
    },
  );

  test("moves the keys of a frozen client when its lease is over; it learns that first, and cannot settle them", async () => {
    const { client, clock, broker } = world({ partitions: 1 });
    const frozen = await client();
    const other = await client();
    const stale = createInbox();
    await consume(frozen, stale, 2);
    const successor = createInbox();
    await consume(other, successor, 2);
    await other.send(toAccounts, ...keyed(...many("a", 3)));
    await clock.advance(0);
    const [first, second] = stale.ids.length > 0 ? [stale, successor] : [successor, stale];
    const owner = first === stale ? frozen : other;
    expect(first.ids).toEqual(["a0", "a1"]);
    broker.freeze(owner.transport);
    first.settleAll("accept");
    await clock.advance(leaseMs - 1);
    expect(second.ids).toEqual([]);
    await clock.advance(1);
    expect(second.ids).toEqual(["a0", "a1"]);
    expect(lostOf(first)).toEqual([]);
    broker.thaw(owner.transport);
    expect(lostOf(first)).toEqual(["a0", "a1"]);
    await clock.advance(0);
    expect(broker.depth("accounts")).toMatchObject({ ready: 1, inFlight: 2 });
    second.settleAll("accept");
    await clock.advance(5_000);
    expect(broker.depth("accounts")).toMatchObject({ ready: 0, inFlight: 0 });
  });

  test("lets no key wait for another", async () => {
    const { client } = world({ partitions: 1 });
    const one = await client();
    await one.send(toAccounts, ...keyed(...many("a", 50), "b0", "c0"), message("none"));
    const inbox = createInbox();
    await consume(one, inbox, 200);
    await inbox.count(53);
    expect(new Set(inbox.ids.map((id) => id.charAt(0)))).toEqual(new Set(["a", "b", "c", "n"]));
  });

  test("lets nothing of a key pass what an administrator looks at", async () => {
    const { client, clock } = world({ partitions: 1 });
    const one = await client();
    await one.send(toAccounts, ...keyed(...many("a", 3)));
    const verdict = Promise.withResolvers<"keep">();
    const walking = one.transport.admin.walk(inlet, () => verdict.promise, { signal: never, limit: 1, maxPending: 1 });
    await clock.advance(0);
    const inbox = createInbox("accept");
    await one.transport.consume(inlet, inbox.receive, never10);
    await clock.advance(leaseMs);
    expect(inbox.ids).toEqual([]);
    verdict.resolve("keep");
    await walking;
    await inbox.count(3);
    expect(inbox.ids).toEqual(many("a", 3));
    await one.send(toAccounts, ...keyed("a4"));
    await clock.advance(0);
    expect(await look(one.transport, inlet, 10)).toEqual([]);
  });
});

test("a queue gives a member what nobody has before more of what it has, and shuffles across keys", async () => {
  const order = async (shuffle: boolean): Promise<readonly string[]> => {
    const one = await createOrderedWorld({ shuffle }).client();
    await one.send(toAccounts, ...keyed(...many("a", 20), ...many("b", 20), ...many("c", 20)));
    const inbox = createInbox();
    await one.transport.consume(inlet, inbox.receive, { signal: never, maxInFlight: 60 });
    await inbox.count(60);
    return inbox.ids;
  };
  const straight = await order(false);
  expect(straight.slice(0, 3)).toEqual(["a0", "b0", "c0"]);
  expect(await order(true)).not.toEqual(straight);
});

test("a queue whose settlement got lost brings back what came after it of the key, and nothing else", async () => {
  const { client, broker, clock } = createOrderedWorld({ leaseMs });
  const one = await client();
  const inbox = createInbox();
  await one.transport.consume(inlet, inbox.receive, { signal: never, maxInFlight: 4 });
  await one.send(toAccounts, ...keyed("a0", "a1", "a2", "b0"));
  await inbox.count(4);
  broker.setFaults({ dropSettlement: 1 });
  inbox.settle(inbox.ids.indexOf("a1"), "accept");
  await clock.advance(0);
  broker.heal();
  await clock.advance(leaseMs);
  expect(inbox.deliveries.filter(({ lost }) => lost.aborted).map((each) => each.message.id)).toEqual(["a2"]);
  inbox.settleAll("accept");
  await clock.advance(leaseMs * 2);
  expect(inbox.ids.slice(4)).toEqual(["a1", "a2"]);
  expect(broker.depth("accounts")).toMatchObject({ ready: 0, inFlight: 0 });
});

test("an ordered queue dead-letters in order what was lost too often", async () => {
  const { client, broker, clock } = createOrderedWorld({ leaseMs, deliveryLimit: 1 });
  const one = await client();
  const inbox = createInbox();
  await one.transport.consume(inlet, inbox.receive, { signal: never, maxInFlight: 3 });
  await one.send(toAccounts, ...keyed("a0", "a1", "a2", "a3"));
  await inbox.count(3);
  broker.crash(one.transport);
  expect(broker.peek("accounts.dlq").map(({ id }) => id)).toEqual(["a0", "a1", "a2"]);
  const other = await client();
  const successor = createInbox("accept");
  await other.transport.consume(inlet, successor.receive, never10);
  await clock.advance(0);
  expect(successor.ids).toEqual(["a3"]);
});

test("a log keeps a key with one member, whichever of its logs it comes from", async () => {
  const { client, broker, clock } = createOrderedWorld({ personality: "log", leaseMs, partitions: 8 });
  const [first, second, third] = [await client(), await client(), await client()];
  const clients = [first, second, third];
  const inboxes = clients.map(() => createInbox());
  for (const [index, one] of clients.entries()) {
    await one.transport.consume(inlet, (delivery) => inboxes[index]?.receive(delivery) ?? Promise.resolve("release"), {
      signal: never,
      maxInFlight: 100,
    });
  }
  const keys = "abcdefghijklmnop".split("");
  await first.send(toAccounts, ...keyed(...keys.map((key) => `${key}0`)));
  await first.send(inlet, ...keyed(...keys.map((key) => `${key}1`)));
  await clock.advance(0);
  const owners = (): string[] => keys.map((key) => inboxes.map(({ ids }) => ofKey(ids, key).length).join(""));
  expect(new Set(owners())).toEqual(new Set(["200", "020", "002"]));
  for (const inbox of inboxes) inbox.settleAll("accept");
  broker.crash(first.transport);
  await second.send(toAccounts, ...keyed(...keys.map((key) => `${key}2`)));
  await second.send(inlet, ...keyed(...keys.map((key) => `${key}3`)));
  await clock.advance(0);
  const later = inboxes.map(({ ids }) => ids.filter((id) => /[23]$/.test(id)));
  expect(later[0]).toEqual([]);
  for (const key of keys) expect(later.map((ids) => ofKey(ids, key).length).join("")).toMatch(/^0(20|02)$/);
});
