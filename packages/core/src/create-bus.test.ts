import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Bus, BusOptions } from "./bus.ts";
import { queue, topic } from "./channel.ts";
import { createBus } from "./create-bus.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { FakeTransport } from "./fake-transport.fixture.ts";
import type { BusEvent } from "./observe.ts";
import { deadLetter, discard, retryAfter } from "./outcome.ts";
import { failed } from "./transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const orders = queue("orders");
const PlaceOrder = orders.command("place-order", { schema: z.object({ sku: z.string() }) });
const events = topic("order-events");
const OrderPlaced = events.event("order-placed", { schema: z.object({ sku: z.string() }) });

interface Setup {
  readonly bus: Bus;
  readonly transport: FakeTransport;
  readonly clock: VirtualClock;
  readonly seen: BusEvent[];
}

function setup(options: Partial<BusOptions> = {}): Setup {
  const transport = createFakeTransport();
  const clock = createVirtualClock();
  const seen: BusEvent[] = [];
  const bus = createBus({
    service: "billing",
    transport,
    clock,
    random: () => 0,
    observe: (event) => void seen.push(event),
    ...options,
  });
  return { bus, transport, clock, seen };
}

const deadLettersOf = (transport: FakeTransport): Record<string, unknown>[] =>
  transport.batches
    .flat()
    .filter((outbound) => outbound.address.kind === "dead-letters")
    .map(
      (outbound) => JSON.parse(outbound.message.headers["posthorn-dead-letter"] ?? "null") as Record<string, unknown>,
    );

describe("outcomes", () => {
  test("a handler that returns has handled its message", async () => {
    const { bus, transport } = setup();
    const handled: string[] = [];
    bus.handle(PlaceOrder, (order) => void handled.push(order.data.sku));
    await bus.start();
    await expect(transport.deliver(aMessage())).resolves.toBe("accept");
    expect(handled).toEqual(["a"]);
  });

  test("a handler that throws is tried again after the backoff, with the message as it was", async () => {
    const { bus, transport, clock } = setup({ retry: { attempts: 3, backoff: { initialMs: 100, maxMs: 1_000 } } });
    const seen: unknown[] = [];
    bus.handle(PlaceOrder, (order, context) => {
      seen.push([order.data.sku, { ...order.headers }, context.attempt, clock.now()]);
      order.data.sku = "changed";
      (order.headers as Record<string, string>)["x"] = "changed";
      if (context.attempt < 3) throw new Error("not yet");
    });
    await bus.start();
    const start = clock.now();
    const settled = transport.deliver(aMessage({ headers: { x: "1" } }));
    await clock.advance(300);
    await expect(settled).resolves.toBe("accept");
    expect(seen).toEqual([
      ["a", { x: "1" }, 1, start],
      ["a", { x: "1" }, 2, start + 100],
      ["a", { x: "1" }, 3, start + 300],
    ]);
  });

  test("after the last attempt the copy is dispatched, and only then the original accepted", async () => {
    const { bus, transport, clock } = setup({ retry: { attempts: 2, backoff: { initialMs: 100, maxMs: 100 } } });
    bus.handle(PlaceOrder, () => {
      throw new TypeError("sku is wrong");
    });
    await bus.start();
    let open: (() => void) | undefined;
    transport.answer = (batch) =>
      new Promise((resolve) => {
        open = () => resolve(batch.map(() => ({ accepted: true })));
      });
    let settlement: string | undefined;
    void transport.deliver(aMessage()).then((given) => (settlement = given));
    await clock.advance(200);
    expect(settlement).toBeUndefined();
    open?.();
    await clock.advance(0);
    expect(settlement).toBe("accept");
    expect(deadLettersOf(transport)).toMatchObject([
      {
        reason: "ATTEMPTS_EXHAUSTED",
        error: "TypeError",
        message: "sku is wrong",
        attempts: 2,
        channel: "orders",
        group: "orders",
        service: "billing",
      },
    ]);
  });

  test("a dead letter that is refused keeps its message and is tried again", async () => {
    const { bus, transport, clock, seen } = setup();
    bus.handle(PlaceOrder, () => {
      throw deadLetter("no such customer");
    });
    await bus.start();
    const healthy = transport.answer;
    transport.answer = (batch) => Promise.resolve(batch.map(() => failed(new PosthornError("UNROUTABLE", "gone"))));
    let settlement: string | undefined;
    void transport.deliver(aMessage()).then((given) => (settlement = given));
    await clock.advance(400);
    expect(settlement).toBeUndefined();
    expect(seen.filter((event) => event.name === "message.handover-failed")).toHaveLength(1);
    transport.answer = healthy;
    await clock.advance(5_000);
    expect(settlement).toBe("accept");
    expect(deadLettersOf(transport).at(-1)).toMatchObject({
      reason: "DEAD_LETTERED",
      message: "no such customer",
      attempts: 1,
    });
  });

  test("discard forgets, retryAfter waits as long as it says, also when they are wrapped", async () => {
    const { bus, transport, clock, seen } = setup();
    const throws: Error[] = [
      new Error("wrapped", { cause: retryAfter("30s") }),
      new Error("wrapped", { cause: discard("stale") }),
    ];
    bus.handle(PlaceOrder, () => {
      throw throws.shift() ?? new Error("called too often");
    });
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(29_000);
    expect(throws).toHaveLength(1);
    await clock.advance(1_000);
    await expect(settled).resolves.toBe("accept");
    expect(transport.batches).toEqual([]);
    expect(seen.find((event) => event.name === "message.discarded")).toMatchObject({ reason: "stale" });
  });

  test.each([
    ["an unknown type", { type: "cancel-order" }, "NO_HANDLER"],
    ["an unknown version", { version: 2 }, "NO_HANDLER"],
    ["no type", { type: "" }, "NO_HANDLER"],
    ["a body that is not JSON", { body: new Uint8Array([0xff]) }, "UNDECODABLE"],
    ["an empty body", { body: new Uint8Array() }, "UNDECODABLE"],
    ["a foreign content type", { contentType: "application/xml" }, "UNDECODABLE"],
    ["a payload against the schema", { body: new TextEncoder().encode("{}") }, "SCHEMA_VIOLATION"],
  ])("%s goes to the dead letters at once", async (_what, changes, reason) => {
    const { bus, transport } = setup();
    let handled = 0;
    bus.handle(PlaceOrder, () => handled++);
    await bus.start();
    await expect(transport.deliver(aMessage(changes))).resolves.toBe("accept");
    expect(handled).toBe(0);
    expect(deadLettersOf(transport)).toMatchObject([{ reason, attempts: 0 }]);
  });

  test("a topic's types to which the group has not subscribed are left out", async () => {
    const { bus, transport, seen } = setup();
    bus.subscribe(OrderPlaced, () => undefined);
    await bus.start();
    await expect(transport.deliver(aMessage({ type: "order-cancelled" }))).resolves.toBe("accept");
    expect(transport.batches).toEqual([]);
    expect(seen.map((event) => event.name)).toContain("message.ignored");
  });
});

describe("what handlers can throw", () => {
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  test.each([
    ["nothing", undefined],
    ["a text", "text"],
    ["an error whose message is an array", Object.assign(new Error("x"), { message: ["a must be a string"] })],
    ["an error without a message", Object.assign(new Error("x"), { message: undefined })],
    ["an error whose name is a number", Object.assign(new Error("x"), { name: 42 })],
    ["an object without a prototype", Object.create(null) as object],
    [
      "an error whose getters throw",
      Object.defineProperties(new Error("x"), {
        message: {
          get: () => {
            throw new Error("y");
          },
        },
        cause: {
          get: () => {
            throw new Error("z");
          },
        },
      }),
    ],
    ["a revoked proxy", revoked.proxy],
    ["an error with half a surrogate pair and a megabyte", new Error(`\ud800${"x".repeat(1_000_000)}`)],
  ])("%s ends in the dead letters, after the attempts of its policy", async (_what, thrown) => {
    const { bus, transport, clock } = setup({ retry: { attempts: 2, backoff: { initialMs: 1, maxMs: 1 } } });
    let calls = 0;
    bus.handle(PlaceOrder, () => {
      calls++;
      // eslint-disable-next-line typescript/only-throw-error -- that is the point
      throw thrown;
    });
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(100);
    await expect(settled).resolves.toBe("accept");
    expect(calls).toBe(2);
    expect(deadLettersOf(transport)).toMatchObject([{ reason: "ATTEMPTS_EXHAUSTED", attempts: 2 }]);
  });
});

describe("dead letters", () => {
  test("one that leaves no room for the record gets a smaller one, and goes without headers where that is too much as well", async () => {
    const { bus, transport } = setup();
    bus.handle(PlaceOrder, () => undefined);
    await bus.start();
    const tooLarge = failed(new PosthornError("MESSAGE_TOO_LARGE", "too large"));
    transport.answer = (batch) =>
      Promise.resolve(batch.map(() => (transport.batches.length < 3 ? tooLarge : { accepted: true })));
    await expect(transport.deliver(aMessage({ type: "foreign", headers: { large: "x" } }))).resolves.toBe("accept");
    expect(deadLettersOf(transport)).toMatchObject([
      { message: expect.any(String) as string },
      { reason: "NO_HANDLER" },
      { headersCut: true },
    ]);
    expect(transport.batches[2]?.[0]?.message.headers["large"]).toBeUndefined();
  });

  test("of a structured CloudEvent is the event as it came", async () => {
    const { bus, transport } = setup();
    bus.handle(PlaceOrder, () => undefined);
    await bus.start();
    const body = new TextEncoder().encode(
      '{"specversion":"1.0","id":"1","source":"s","type":"place-order","data":{"sku":12345678901234567890}}',
    );
    const carrier = aMessage({ type: "", contentType: "application/cloudevents+json", body });
    await expect(transport.deliver(carrier)).resolves.toBe("accept");
    expect(transport.batches[0]?.[0]?.message).toMatchObject({ body, contentType: carrier.contentType, type: "" });
  });
});

describe("schemas", () => {
  const schemaOf = (validate: (value: unknown) => unknown): never =>
    ({ "~standard": { version: 1, vendor: "test", validate } }) as never;
  const refuses = { issues: [{ message: 'Received "4111-1111"', path: ["card"] }] };

  test.each([
    ["a promise", () => Promise.resolve(refuses)],
    // eslint-disable-next-line unicorn/no-thenable -- that is the point
    ["a thenable", () => ({ then: (resolve: (value: unknown) => void) => resolve(refuses) })],
    ["the result itself", () => refuses],
  ])("that answer by %s are heard, and what they quote is not printed", async (_what, validate) => {
    const { bus, transport } = setup();
    const Pay = orders.command("pay", { schema: schemaOf(validate) });
    bus.declare(Pay);
    await bus.start();
    const error: unknown = await bus.send(Pay, {} as never).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "SCHEMA_VIOLATION", details: { issues: [{ path: "card" }] } });
    expect(inspect(error)).not.toContain("4111");
    expect(transport.batches).toEqual([]);
  });

  test("that give no result at all are a failure, not a pass", async () => {
    const { bus } = setup();
    const Pay = orders.command("pay", { schema: schemaOf(() => undefined) });
    bus.declare(Pay);
    await bus.start();
    await expect(bus.send(Pay, {} as never)).rejects.toThrow(/Standard Schema/);
  });

  test("that take their time see what is sent", async () => {
    const { bus, transport } = setup();
    const gate = Promise.withResolvers<void>();
    const Pay = orders.command("pay", { schema: schemaOf((value) => gate.promise.then(() => ({ value }))) });
    bus.declare(Pay);
    await bus.start();
    const payload = { sku: "a" };
    const sent = bus.send(Pay, payload as never);
    payload.sku = "changed";
    gate.resolve();
    await sent;
    expect(new TextDecoder().decode(transport.batches[0]?.[0]?.message.body)).toBe('{"sku":"a"}');
  });
});

describe("concurrency", () => {
  test("a message that waits for its next attempt leaves its place to others", async () => {
    const { bus, transport, clock } = setup({ concurrency: 1 });
    bus.handle(PlaceOrder, (order, context) => {
      if (order.id === "poison" && context.attempt === 1) throw new Error("later");
    });
    await bus.start();
    const poison = transport.deliver(aMessage({ id: "poison" }));
    await clock.advance(1);
    await expect(transport.deliver(aMessage({ id: "healthy" }))).resolves.toBe("accept");
    await clock.advance(1_000);
    await expect(poison).resolves.toBe("accept");
  });
});

describe("flow", () => {
  test("what a handler sends carries the flow's correlation id and the cause's id, with and without its context", async () => {
    const { bus, transport } = setup();
    bus.declare(OrderPlaced);
    bus.handle(PlaceOrder, async (_order, context) => {
      await context.publish(OrderPlaced, { sku: "by context" });
      await bus.publish(OrderPlaced, { sku: "by the ambient flow" });
    });
    await bus.start();
    await transport.deliver(aMessage({ id: "cause", correlationId: "flow", traceparent: "00-trace" }));
    for (const { message } of transport.batches.flat()) {
      expect(message).toMatchObject({ correlationId: "flow", causationId: "cause", traceparent: "00-trace" });
    }
    expect(transport.batches.flat()).toHaveLength(2);
  });

  test("a message of its own begins a flow", async () => {
    const { bus, transport } = setup();
    bus.declare(PlaceOrder);
    await bus.start();
    const sent = await bus.send(PlaceOrder, { sku: "a" });
    expect(sent.correlationId).toBe(sent.id);
    expect(transport.batches[0]?.[0]?.message).toMatchObject({
      id: sent.id,
      correlationId: sent.id,
      causationId: undefined,
      source: "billing",
    });
  });
});

describe("middleware", () => {
  test("goes round handlers and publishes, the first added outermost", async () => {
    const { bus, transport } = setup();
    const steps: string[] = [];
    for (const name of ["outer", "inner"]) {
      bus.use({
        async handle(_message, _context, next) {
          steps.push(`${name} before`);
          await next();
          steps.push(`${name} after`);
        },
        async publish(message, _contract, next) {
          steps.push(`${name} publishes ${message.type}`);
          await next();
        },
      });
    }
    bus.declare(OrderPlaced);
    bus.handle(PlaceOrder, (_order, context) => context.publish(OrderPlaced, { sku: "a" }));
    await bus.start();
    await transport.deliver(aMessage());
    expect(steps).toEqual([
      "outer before",
      "inner before",
      "outer publishes order-placed",
      "inner publishes order-placed",
      "inner after",
      "outer after",
    ]);
  });
});

test("middleware that does not go on has handled the message", async () => {
  const { bus, transport } = setup();
  let handled = 0;
  bus.use({ handle: () => Promise.resolve() });
  bus.handle(PlaceOrder, () => handled++);
  await bus.start();
  await expect(transport.deliver(aMessage())).resolves.toBe("accept");
  expect(handled).toBe(0);
});

describe("what is refused", () => {
  test("before start: sending; after start: declaring; after close: everything", async () => {
    const { bus } = setup();
    bus.declare(PlaceOrder);
    await expect(bus.send(PlaceOrder, { sku: "a" })).rejects.toMatchObject({ code: "NOT_STARTED" });
    await bus.start();
    expect(() => bus.handle(PlaceOrder, () => undefined)).toThrow(
      expect.objectContaining({ code: "INVALID_DECLARATION" }),
    );
    await bus.close();
    await bus.close();
    await expect(bus.send(PlaceOrder, { sku: "a" })).rejects.toMatchObject({ code: "CLOSED" });
    await expect(bus.start()).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("a contract that nobody declared", async () => {
    const { bus } = setup();
    await bus.start();
    await expect(bus.publish(OrderPlaced, { sku: "a" })).rejects.toMatchObject({ code: "UNDECLARED_CONTRACT" });
  });

  test("a payload against its schema, by path and without its values", async () => {
    const { bus, transport } = setup();
    bus.declare(PlaceOrder);
    await bus.start();
    const sent = bus.send(PlaceOrder, { sku: 42_424_242 } as never);
    await expect(sent).rejects.toMatchObject({ code: "SCHEMA_VIOLATION", details: { issues: [{ path: "sku" }] } });
    await expect(sent).rejects.not.toThrow(/42424242/);
    expect(transport.batches).toEqual([]);
  });

  test("a message over the limit, in bytes and with its headers", async () => {
    const { bus } = setup({ maxMessageBytes: 200 });
    bus.declare(PlaceOrder);
    await bus.start();
    await expect(bus.send(PlaceOrder, { sku: "é".repeat(100) })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    await expect(bus.send(PlaceOrder, { sku: "a" }, { headers: { h: "v".repeat(200) } })).rejects.toMatchObject({
      code: "MESSAGE_TOO_LARGE",
    });
  });

  test("an ordered channel and a delay, where the transport has neither", async () => {
    const ordered = setup();
    ordered.bus.declare(
      queue("ledger", { ordered: true }).command("book", { schema: z.string(), key: (text) => text }),
    );
    await expect(ordered.bus.start()).rejects.toMatchObject({ code: "UNSUPPORTED_CAPABILITY" });
    const { bus } = setup();
    bus.declare(PlaceOrder);
    await bus.start();
    await expect(bus.send(PlaceOrder, { sku: "a" }, { notBefore: new Date() })).rejects.toMatchObject({
      code: "UNSUPPORTED_CAPABILITY",
    });
  });

  test.each([
    ["two handlers for one type", (bus: Bus) => [bus.handle(PlaceOrder, () => 1), bus.handle(PlaceOrder, () => 2)]],
    [
      "a channel of two kinds",
      (bus: Bus) => bus.declare(PlaceOrder, topic("orders").event("x", { schema: z.string() })),
    ],
    [
      "two concurrencies for one channel",
      (bus: Bus) => [
        bus.handle(PlaceOrder, () => 1, { concurrency: 1 }),
        bus.handle(orders.command("cancel", { schema: z.string() }), () => 1, { concurrency: 2 }),
      ],
    ],
  ])("%s", (_what, declare) => {
    const { bus } = setup();
    expect(() => declare(bus)).toThrow(expect.objectContaining({ code: "INVALID_DECLARATION" }));
  });

  test.each([
    ["concurrency", { concurrency: 0 }],
    ["maxMessageBytes", { maxMessageBytes: -1 }],
    ["attempts", { retry: { attempts: 0, backoff: { initialMs: 1, maxMs: 1 } } }],
  ])("an option out of range: %s", (name, options) => {
    expect(() => setup(options)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining(name) as string }),
    );
  });
});

describe("starting", () => {
  test.each([
    ["apply", ["connect", "provision apply", "consume inlet:queue:orders:orders"]],
    ["verify", ["connect", "provision verify", "consume inlet:queue:orders:orders"]],
    ["assume", ["connect", "consume inlet:queue:orders:orders"]],
  ] as const)("with provision: %s it asks the broker no more than that", async (provision, calls) => {
    const { bus, transport } = setup({ provision });
    bus.handle(PlaceOrder, () => undefined);
    await bus.start();
    expect(transport.calls).toEqual(calls);
  });

  test("that is given up by its caller says so", async () => {
    const { bus, transport } = setup();
    transport.connect = ({ signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new PosthornError("CONNECTION_FAILED", "no broker"))),
      );
    const controller = new AbortController();
    const started = bus.start({ signal: controller.signal });
    controller.abort(new Error("changed my mind"));
    await expect(started).rejects.toMatchObject({ code: "ABORTED" });
    expect(bus.health().status).toBe("closed");
  });

  test("that runs out of time tells the transport's failure", async () => {
    const { bus, transport, clock } = setup();
    transport.connect = ({ signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new PosthornError("CONNECTION_FAILED", "no broker"))),
      );
    const started = expect(bus.start({ timeoutMs: 1_000 })).rejects.toMatchObject({ code: "CONNECTION_FAILED" });
    await clock.advance(1_000);
    await started;
  });

  test("two buses on one transport is refused", () => {
    const { transport } = setup();
    expect(() => createBus({ service: "other", transport })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION" }),
    );
  });
});

describe("closing", () => {
  test("waits for the handlers that run, whose signal stays quiet", async () => {
    const { bus, transport, clock } = setup();
    let finish: (() => void) | undefined;
    let signal: AbortSignal | undefined;
    bus.handle(PlaceOrder, (_order, context) => {
      ({ signal } = context);
      return new Promise<void>((resolve) => (finish = resolve));
    });
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(0);
    const closed = bus.close({ timeoutMs: 1_000 });
    await clock.advance(500);
    expect(signal?.aborted).toBe(false);
    expect(transport.calls).not.toContain("close");
    finish?.();
    await closed;
    await expect(settled).resolves.toBe("accept");
    expect(transport.calls.at(-1)).toBe("close");
    expect(clock.pending).toBe(0);
  });

  test("after the deadline the signal fires, and what is left is released without a failure", async () => {
    const { bus, transport, clock, seen } = setup();
    let signal: AbortSignal | undefined;
    bus.handle(PlaceOrder, (_order, context) => {
      ({ signal } = context);
      return new Promise<void>((_resolve, reject) =>
        context.signal.addEventListener("abort", () => reject(new Error("told to stop"))),
      );
    });
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(0);
    const closed = bus.close({ timeoutMs: 1_000 });
    await clock.advance(1_000);
    await closed;
    expect(signal?.aborted).toBe(true);
    await expect(settled).resolves.toBe("release");
    expect(transport.batches).toEqual([]);
    expect(seen.map((event) => event.name)).not.toContain("message.failed");
  });

  test("a second call that gives less time shortens the first", async () => {
    const { bus, transport, clock } = setup();
    bus.handle(PlaceOrder, () => new Promise(() => undefined));
    await bus.start();
    const settled = transport.deliver(aMessage());
    await clock.advance(0);
    const patient = bus.close({ timeoutMs: 60_000 });
    const hurried = bus.close({ timeoutMs: 0 });
    await clock.advance(0);
    await Promise.all([patient, hurried]);
    await expect(settled).resolves.toBe("release");
  });

  test("a transport that fails to stop or close is told of, and does not hold up the rest", async () => {
    const { bus, transport, clock, seen } = setup();
    const consume = transport.consume.bind(transport);
    transport.consume = async (...args) => ({
      ...(await consume(...args)),
      stop: () => Promise.reject(new Error("cannot stop")),
    });
    transport.close = () => new Promise(() => undefined);
    bus.handle(PlaceOrder, () => undefined);
    await bus.start();
    const closed = bus.close({ timeoutMs: 100 });
    await clock.advance(10_000);
    await closed;
    expect(seen.filter((event) => event.name === "bus.failed")).toHaveLength(2);
    expect(bus.health().status).toBe("closed");
  });

  test("a handler's signal fires for its own attempt only", async () => {
    const { bus, transport } = setup();
    const lost = new AbortController();
    const signals: AbortSignal[] = [];
    const gate = Promise.withResolvers<void>();
    bus.handle(PlaceOrder, async (order, { signal }) => {
      signals.push(signal);
      if (order.id === "second") await gate.promise;
    });
    await bus.start();
    await transport.deliver(aMessage({ id: "first" }), { lost: lost.signal });
    const second = transport.deliver(aMessage({ id: "second" }), { lost: lost.signal });
    await Promise.resolve();
    lost.abort();
    gate.resolve();
    await second;
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true]);
  });

  test("what waits for its next attempt, or for a place, is released at once", async () => {
    const { bus, transport, clock } = setup({ concurrency: 1 });
    bus.handle(PlaceOrder, () => {
      throw retryAfter("1h");
    });
    await bus.start();
    const waiting = transport.deliver(aMessage());
    await clock.advance(1);
    bus.close().catch(() => undefined);
    await expect(waiting).resolves.toBe("release");
    await expect(transport.deliver(aMessage())).resolves.toBe("release");
  });
});
