import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import amqp from "amqplib";
import { createBus, isPosthornError, openTransport, queue, topic } from "@posthorn/core";
import type { Bus, TransportConfig } from "@posthorn/core";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { useRabbitmq } from "./brokers-in-use.ts";

const registry = { memory: () => import("@posthorn/memory"), amqp: () => import("@posthorn/rabbitmq") };
const broker = useRabbitmq("4.0");

const schema = z.object({ sku: z.string() });
const PlaceOrder = queue("wrong-input").command("place-order", { schema });
const OrderPlaced = topic("wrong-input-events").event("order-placed", { schema });

const opened: Bus[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((bus) => bus.close()));
});

async function busOn(config: TransportConfig, events: string[] = []): Promise<Bus> {
  const transport = await openTransport(config, registry);
  const bus = createBus({ service: "wrong-input", transport, observe: (event) => events.push(event.name) });
  opened.push(bus);
  return bus;
}

/** Within its timeout: what is refused says so, and in one sentence that holds no secret. */
async function refusal(work: Promise<unknown>, code: string, withinMs: number): Promise<Error> {
  const startedAt = performance.now();
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(isPosthornError(error), String(error)).toBe(true);
  expect(error).toMatchObject({ code });
  expect(performance.now() - startedAt).toBeLessThan(withinMs);
  expect((error as Error).message).not.toContain("hunter2");
  return error as Error;
}

describe("configuration", () => {
  test("an unknown URL scheme", async () => {
    expect(
      (await refusal(openTransport("nats://u:hunter2@host", registry), "UNKNOWN_TRANSPORT", 1_000)).message,
    ).toMatch(/memory, amqp/);
  });

  test.each([
    ["memory:?personalty=log", /personalty/],
    ["amqp://u:hunter2@localhost?hartbeat=1", /hartbeat/],
    [{ transport: "amqp", password: "hunter2", heartbeatSeconds: "soon" }, /heartbeatSeconds/],
    [{ transport: "memory", personality: "stack" }, /personality/],
  ])("an unknown or wrong option: %j", async (config, name) => {
    expect(
      (await refusal(openTransport(config as TransportConfig, registry), "INVALID_OPTION", 1_000)).message,
    ).toMatch(name);
  });
});

describe("connecting", () => {
  test("a refused connection ends with its cause when the time to start is over", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const bus = await busOn(`amqp://guest:hunter2@127.0.0.1:${port}`);
    const error = await refusal(bus.start({ timeoutMs: 1_500 }), "CONNECTION_FAILED", 4_000);
    expect((error.cause as Error).message).toMatch(/ECONNREFUSED/);
  });

  test("wrong credentials fail at once, not at the deadline", async () => {
    const url = new URL(broker().url);
    url.password = "hunter2";
    const bus = await busOn(url.href);
    await refusal(bus.start({ timeoutMs: 20_000 }), "AUTHENTICATION_FAILED", 8_000);
  });

  test("a virtual host that does not exist fails at once", async () => {
    const url = new URL(broker().url);
    url.pathname = "/nowhere";
    const error = await refusal((await busOn(url.href)).start({ timeoutMs: 20_000 }), "ACCESS_REFUSED", 8_000);
    expect(error.message).toContain("nowhere");
  });
});

test("a queue that exists with other arguments is named, with the field, and stays as it is", async () => {
  await using connection = await closing(amqp.connect(broker().url));
  const channel = await connection.value.createChannel();
  await channel.assertQueue("legacy", { durable: true, arguments: { "x-queue-type": "classic" } });
  const bus = await busOn(broker().url);
  bus.declare(queue("legacy").command("place-order", { schema }));
  const error = await refusal(bus.start(), "TOPOLOGY_MISMATCH", 10_000);
  // The broker names the first argument that differs.
  expect(error.message).toMatch(/queue "legacy": x-[a-z-]+ is /);
  await expect(channel.checkQueue("legacy")).resolves.toMatchObject({ messageCount: 0 });
});

describe.each([
  ["memory", () => "memory:wrong-input"],
  ["rabbitmq", () => broker().url],
])("sending on %s", (_name, url) => {
  async function started(): Promise<Bus> {
    const bus = await busOn(url());
    bus.declare(PlaceOrder, OrderPlaced);
    await bus.start();
    return bus;
  }

  test("a payload against its schema", async () => {
    const bus = await started();
    expect((await refusal(bus.send(PlaceOrder, { sku: 1 as never }), "SCHEMA_VIOLATION", 1_000)).message).toMatch(
      /sku/,
    );
  });

  test("a body over the limit", async () => {
    const bus = await started();
    expect(
      (await refusal(bus.send(PlaceOrder, { sku: "x".repeat(262_144) }), "MESSAGE_TOO_LARGE", 1_000)).message,
    ).toMatch(/262144/);
  });

  test("an event type nobody declared", async () => {
    const bus = await started();
    const Other = topic("wrong-input-events").event("order-cancelled", { schema });
    expect((await refusal(bus.publish(Other, { sku: "a" }), "UNDECLARED_CONTRACT", 1_000)).message).toMatch(
      /bus\.declare/,
    );
  });

  test("what was refused left nothing behind, and the bus still works", async () => {
    const bus = await started();
    await refusal(bus.send(PlaceOrder, {} as never), "SCHEMA_VIOLATION", 1_000);
    await expect(bus.send(PlaceOrder, { sku: "a" })).resolves.toBeDefined();
    await expect(bus.publish(OrderPlaced, { sku: "a" })).resolves.toBeDefined();
  });
});

async function closing<T extends { close(): Promise<unknown> }>(
  made: Promise<T>,
): Promise<{ value: T } & AsyncDisposable> {
  const value = await made;
  return { value, [Symbol.asyncDispose]: async () => void (await value.close()) };
}
