import { afterEach, describe, expect, test } from "vitest";
import { createVirtualClock } from "@posthorn/core/testing";
import { createInbox, message, never, ordersInlet, orderTopology, toOrders } from "./client.fixture.ts";
import { createMemoryBroker, createTransport, dropMemoryBroker, memory } from "./index.ts";

const names = ["default", "other", "logs"];

afterEach(() => {
  for (const name of names) dropMemoryBroker(name);
});

const report = (): void => undefined;

test("transports of one URL reach one broker, those of another name another", async () => {
  const [one, two, three] = [
    createTransport("memory:"),
    createTransport({ transport: "memory" }),
    createTransport("memory://other"),
  ];
  for (const transport of [one, two, three]) {
    await transport.connect({ signal: never, report });
    await transport.provision(orderTopology, "apply", { signal: never });
  }
  await one.dispatch([{ address: toOrders, message: message("1") }], { signal: never });
  const inbox = createInbox("accept");
  await two.consume(ordersInlet, inbox.receive, { signal: never, maxInFlight: 1 });
  await inbox.count(1);
  expect((await three.admin.depth(ordersInlet, { signal: never })).ready).toBe(0);
  for (const transport of [one, two, three]) await transport.close({ signal: never });
});

test("a dropped broker is forgotten with its messages", () => {
  expect(createTransport("memory:logs?personality=log").capabilities.settlement).toBe("prefix");
  expect(dropMemoryBroker("logs")).toBe(true);
  expect(dropMemoryBroker("logs")).toBe(false);
  expect(createTransport("memory:logs").capabilities.settlement).toBe("message");
});

test("a URL's options are those of the object", () => {
  expect(
    createTransport("memory:logs?personality=log&maxMessageBytes=1000&shuffle=true").capabilities.maxMessageBytes,
  ).toBe(1_000);
  expect(createTransport({ transport: "memory", name: "logs", personality: "log", shuffle: true })).toBeDefined();
  expect(memory().capabilities).toEqual({
    maxMessageBytes: 1_048_576,
    durable: false,
    settlement: "message",
    delayedDelivery: true,
    ordering: true,
    replies: false,
  });
});

describe("refuses, naming the option:", () => {
  const broker = createMemoryBroker();
  const wrong: readonly (readonly [option: string, config: string | Record<string, unknown>])[] = [
    ["colour", { transport: "memory", colour: "red" }],
    ["colour", "memory:?colour=red"],
    ["transport", { transport: "kafka" }],
    ["personality", "memory:?personality=tape"],
    ["leaseMs", { leaseMs: 0 }],
    ["partitions", { partitions: 1.5 }],
    ["longestDelayMs", { longestDelayMs: -1 }],
    ["faults.cut", { faults: { cut: 2 } }],
    ["faults.fire", { faults: { fire: 1 } }],
    ["name", "memory:user:secret@host"],
    ["name", { name: "x", broker }],
    ["name", "memory:?name=x"],
    ["broker", { broker: {} }],
    ["broker", "memory:?broker=x"],
    ["personality", { broker, personality: "log" }],
    ["faults", { broker, faults: { cut: 1 } }],
    ["url", "kafka:"],
  ];
  test.each(wrong)("%s", (option, config) => {
    let error: unknown;
    try {
      createTransport(config);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_OPTION", details: { option } });
    expect(String(error)).toContain(`"${option}"`);
    expect(String(error)).not.toContain("secret");
  });
});

test("options that agree with an existing broker are fine, contradicting ones and another clock are refused", () => {
  const clock = createVirtualClock();
  createTransport("memory:other?leaseMs=5000", { clock });
  expect(createTransport("memory:other?leaseMs=5000&personality=queue", { clock })).toBeDefined();
  expect(createTransport("memory:other")).toBeDefined();
  expect(() => createTransport("memory:other?leaseMs=6000")).toThrow(`"leaseMs"`);
  expect(() => createTransport("memory:other", { clock: createVirtualClock() })).toThrow(`"clock"`);
  expect(() => createMemoryBroker().setFaults({ cut: -1 })).toThrow(`"cut"`);
});
