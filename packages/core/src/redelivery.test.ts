import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Bus, BusOptions } from "./bus.ts";
import { queue } from "./channel.ts";
import { createBus } from "./create-bus.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { FakeTransport } from "./fake-transport.fixture.ts";
import type { BusEvent } from "./observe.ts";
import { deadLetter, retryAfter } from "./outcome.ts";
import type { Outbound } from "./transport.ts";
import { failed } from "./transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const PlaceOrder = queue("orders").command("place-order", { schema: z.object({ sku: z.string() }) });
const retry = { attempts: 3, backoff: { initialMs: 400, maxMs: 100_000, factor: 10, jitter: 0 } };

interface Setup {
  readonly bus: Bus;
  readonly transport: FakeTransport;
  readonly clock: VirtualClock;
  readonly seen: BusEvent[];
}

function setup(options: Partial<BusOptions> = {}): Setup {
  const transport = createFakeTransport({ delayedDelivery: true });
  const clock = createVirtualClock();
  const seen: BusEvent[] = [];
  const observe = (event: BusEvent): void => void seen.push(event);
  const bus = createBus({ service: "billing", transport, clock, random: () => 0, retry, observe, ...options });
  return { bus, transport, clock, seen };
}

const sentTo = (transport: FakeTransport, kind: string): readonly Outbound[] =>
  transport.batches.flat().filter(({ address }) => address.kind === kind);

describe("a long wait between attempts", () => {
  test("is spent on the broker: a copy for the group alone, then the original is accepted", async () => {
    const { bus, transport, clock, seen } = setup();
    bus.handle(PlaceOrder, () => {
      throw new Error("not yet");
    });
    await bus.start();
    const start = clock.now();
    const settled = transport.deliver(aMessage({ headers: { trace: "7" } }));
    await clock.advance(400);
    await expect(settled).resolves.toBe("accept");
    const [copy, ...more] = sentTo(transport, "inlet");
    expect(more).toEqual([]);
    expect(copy?.address).toMatchObject({ channel: { name: "orders" }, group: "orders" });
    expect(copy?.message).toMatchObject({
      id: "message-1",
      attempt: 3,
      notBefore: start + 400 + 4_000,
      headers: { trace: "7", "posthorn-first-failed-at": String(start) },
      body: aMessage().body,
    });
    const waits = seen.flatMap((event) => (event.name === "message.failed" ? [[event.retryInMs, event.waits]] : []));
    expect(waits).toEqual([
      [400, "process"],
      [4_000, "broker"],
    ]);
  });

  test("goes on counting where it left off, and the dead letter tells of the first failure", async () => {
    const { bus, transport } = setup();
    const attempts: number[] = [];
    bus.handle(PlaceOrder, (_order, { attempt, channel }) => {
      attempts.push(attempt);
      throw new Error(`never, on ${channel.name}`);
    });
    await bus.start();
    const headers = { "posthorn-first-failed-at": "1767225000000" };
    await expect(transport.deliver(aMessage({ attempt: 3, headers }))).resolves.toBe("accept");
    expect(attempts).toEqual([3]);
    const [dead] = sentTo(transport, "dead-letters");
    expect(JSON.parse(dead?.message.headers["posthorn-dead-letter"] ?? "")).toMatchObject({
      reason: "ATTEMPTS_EXHAUSTED",
      attempts: 3,
      first: 1_767_225_000_000,
    });
  });

  test("is as long as retryAfter says; deadLetter does not wait", async () => {
    const { bus, transport, clock } = setup();
    const throws = [retryAfter("1h"), deadLetter("no")];
    bus.handle(PlaceOrder, () => {
      throw throws.shift() ?? new Error("called too often");
    });
    await bus.start();
    await expect(transport.deliver(aMessage())).resolves.toBe("accept");
    expect(sentTo(transport, "inlet")[0]?.message).toMatchObject({ attempt: 2, notBefore: clock.now() + 3_600_000 });
    await expect(transport.deliver(aMessage({ attempt: 2 }))).resolves.toBe("accept");
    expect(sentTo(transport, "dead-letters")).toHaveLength(1);
  });

  test("begins where the policy says, and with 0 there is no waiting in the process", async () => {
    const { bus, transport, clock } = setup({ retry: { ...retry, holdMs: 0 } });
    bus.handle(PlaceOrder, () => {
      throw new Error("not yet");
    });
    await bus.start();
    await expect(transport.deliver(aMessage())).resolves.toBe("accept");
    expect(sentTo(transport, "inlet")[0]?.message).toMatchObject({ attempt: 2, notBefore: clock.now() + 400 });
  });

  test.each([
    [1_200.5, 1_201],
    [1e300, 8.64e15],
  ])("of %d ms is a whole time that every broker can carry", async (delayMs, latest) => {
    const { bus, transport, clock } = setup();
    bus.handle(PlaceOrder, () => {
      throw retryAfter(delayMs);
    });
    await bus.start();
    await transport.deliver(aMessage());
    expect(sentTo(transport, "inlet")[0]?.message.notBefore).toBe(Math.min(clock.now() + latest, 8.64e15));
  });

  test("is spent in the process where the broker cannot carry the copy", async () => {
    const { bus, transport, clock } = setup();
    const handled: number[] = [];
    bus.handle(PlaceOrder, (_order, { attempt }) => {
      if (attempt === 1) throw retryAfter("10s");
      handled.push(attempt);
    });
    await bus.start();
    transport.answer = (batch) =>
      Promise.resolve(batch.map(() => failed(new PosthornError("MESSAGE_TOO_LARGE", "one byte too much"))));
    const settled = transport.deliver(aMessage());
    await clock.advance(10_000);
    await expect(settled).resolves.toBe("accept");
    expect(handled).toEqual([2]);
  });

  test("keeps the original, and tries again, as long as the broker does not take the copy", async () => {
    const { bus, transport, clock, seen } = setup();
    bus.handle(PlaceOrder, () => {
      throw retryAfter("10s");
    });
    await bus.start();
    const healthy = transport.answer;
    transport.answer = (batch) => Promise.resolve(batch.map(() => failed(new PosthornError("UNROUTABLE", "gone"))));
    let settlement: string | undefined;
    void transport.deliver(aMessage()).then((given) => (settlement = given));
    await clock.advance(400);
    expect(settlement).toBeUndefined();
    expect(seen).toContainEqual(expect.objectContaining({ name: "message.handover-failed", to: "inlet" }));
    transport.answer = healthy;
    await clock.advance(1_000);
    expect(settlement).toBe("accept");
  });
});

test("messages beyond what a process may keep waiting go back to the broker, however short their wait", async () => {
  const { bus, transport, clock } = setup({ concurrency: 1 });
  bus.handle(PlaceOrder, () => {
    throw new Error("not yet");
  });
  await bus.start();
  for (let index = 0; index < 15; index++) void transport.deliver(aMessage({ id: `message-${index}` }));
  await clock.advance(10);
  expect(sentTo(transport, "inlet").map(({ message }) => message.id)).toEqual(
    [10, 11, 12, 13, 14].map((index) => `message-${index}`),
  );
});

test("what waits in the process when the bus closes is sent to whoever gets it next, with its number", async () => {
  const { bus, transport, clock } = setup();
  bus.handle(PlaceOrder, () => {
    throw new Error("not yet");
  });
  await bus.start();
  const due = clock.now() + 400;
  const settled = transport.deliver(aMessage());
  await clock.advance(100);
  const closed = bus.close();
  await clock.advance(0);
  await expect(settled).resolves.toBe("accept");
  expect(sentTo(transport, "inlet")[0]?.message).toMatchObject({ attempt: 2, notBefore: due });
  await closed;
});

test("so is what waits for its place when the subscription is stopped", async () => {
  const { bus, transport, clock } = setup({ concurrency: 1 });
  const gate = Promise.withResolvers<void>();
  const subscription = bus.handle(PlaceOrder, ({ id }) => {
    if (id === "slow") return gate.promise;
    throw new Error("not yet");
  });
  await bus.start();
  const failing = transport.deliver(aMessage({ id: "failing" }));
  await clock.advance(10);
  void transport.deliver(aMessage({ id: "slow" }));
  await clock.advance(500);
  const untouched = transport.deliver(aMessage({ id: "untouched" }));
  await clock.advance(10);
  void subscription.stop();
  await clock.advance(10);
  await expect(failing).resolves.toBe("accept");
  expect(sentTo(transport, "inlet").map(({ message }) => [message.id, message.attempt])).toEqual([["failing", 2]]);
  await expect(untouched).resolves.toBe("release");
  gate.resolve();
});

test("a wait in the process ends when its subscription is stopped", async () => {
  const { bus, transport, clock } = setup();
  const subscription = bus.handle(PlaceOrder, () => {
    throw new Error("not yet");
  });
  await bus.start();
  const settled = transport.deliver(aMessage());
  await clock.advance(10);
  void subscription.stop();
  await clock.advance(0);
  await expect(settled).resolves.toBe("accept");
  expect(sentTo(transport, "inlet")[0]?.message.attempt).toBe(2);
});

test("what lost its lease is released, and nothing is sent", async () => {
  const { bus, transport, clock } = setup();
  bus.handle(PlaceOrder, () => {
    throw new Error("not yet");
  });
  await bus.start();
  const lost = new AbortController();
  const settled = transport.deliver(aMessage(), { lost: lost.signal });
  await clock.advance(100);
  lost.abort();
  await expect(settled).resolves.toBe("release");
  expect(transport.batches).toEqual([]);
});

describe("an attempt that takes longer than maxHandlingMs", () => {
  test("has failed: its signal fires, the message goes on, and what the handler does later is void", async () => {
    const { bus, transport, clock, seen } = setup();
    const gate = Promise.withResolvers<void>();
    let signal: AbortSignal | undefined;
    bus.handle(
      PlaceOrder,
      (_order, context) => {
        ({ signal } = context);
        return gate.promise;
      },
      { maxHandlingMs: 5_000, retry: { ...retry, holdMs: 0 }, concurrency: 1 },
    );
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(4_999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    await expect(settled).resolves.toBe("accept");
    expect(signal?.reason).toMatchObject({ code: "HANDLING_TIMEOUT" });
    expect(sentTo(transport, "inlet")[0]?.message.attempt).toBe(2);
    expect(seen).toContainEqual(expect.objectContaining({ name: "message.overdue", maxHandlingMs: 5_000 }));
    // Its place is taken until it ends.
    let begun = 0;
    void transport.deliver(aMessage({ id: "next" })).then(() => begun++);
    await clock.advance(10);
    expect(bus.health().handling).toBe(1);
    gate.resolve();
    await clock.advance(0);
    expect(bus.health().handling).toBe(0);
    expect(seen.filter(({ name }) => name === "message.handled")).toHaveLength(1);
  });

  test("is told late when the handler looks late", async () => {
    const { bus, transport, clock } = setup();
    const seen: unknown[] = [];
    const gate = Promise.withResolvers<void>();
    bus.handle(
      PlaceOrder,
      async (_order, context) => {
        await gate.promise;
        seen.push(context.signal.reason);
      },
      { maxHandlingMs: 10 },
    );
    await bus.start();
    void transport.deliver(aMessage());
    await clock.advance(10);
    gate.resolve();
    await clock.advance(0);
    expect(seen).toMatchObject([{ code: "HANDLING_TIMEOUT" }]);
  });

  test("is given once for all handlers of a channel", () => {
    const { bus } = setup();
    bus.handle(PlaceOrder, () => undefined, { maxHandlingMs: 10 });
    const Cancel = queue("orders").command("cancel", { schema: z.string() });
    expect(() => bus.handle(Cancel, () => undefined, { maxHandlingMs: 20 })).toThrow(/maxHandlingMs/);
  });
});

describe("a message that comes before it is due", () => {
  test("long before goes to its group again, as it came", async () => {
    const { bus, transport, clock } = setup();
    let handled = 0;
    bus.handle(PlaceOrder, () => handled++);
    await bus.start();
    const notBefore = clock.now() + 5_000;
    await expect(transport.deliver(aMessage({ notBefore, attempt: 2 }))).resolves.toBe("accept");
    expect(handled).toBe(0);
    expect(sentTo(transport, "inlet").map(({ message }) => message)).toEqual([aMessage({ notBefore, attempt: 2 })]);
  });

  test("shortly before waits here", async () => {
    const { bus, transport, clock } = setup();
    const handled: number[] = [];
    bus.handle(PlaceOrder, () => void handled.push(clock.now()));
    await bus.start();
    const notBefore = clock.now() + 900;
    const settled = transport.deliver(aMessage({ notBefore }));
    await clock.advance(2_000);
    await expect(settled).resolves.toBe("accept");
    expect(handled).toEqual([notBefore]);
  });
});
