import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Bus } from "./bus.ts";
import { queue, topic } from "./channel.ts";
import { createBus } from "./create-bus.ts";
import type { DeadLetterChannel } from "./dead-letter-channel.ts";
import { toDeadLetter } from "./dead-letter.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { FakeTransport } from "./fake-transport.fixture.ts";
import type { Message } from "./message.ts";
import { failed } from "./transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const Declared = queue("orders").command("place-order", { schema: z.unknown() });
const at = (minute: number): number => Date.UTC(2026, 0, 1, 12, minute);

function dead(number: number, changes: Partial<Message> = {}, error: Error = new TypeError("no sku")): Message {
  const message = aMessage({ id: `message-${number}`, attempt: 4, notBefore: at(0), ...changes });
  return toDeadLetter(message, {
    reason: "ATTEMPTS_EXHAUSTED",
    error,
    attempts: 4,
    firstFailedAt: at(number),
    lastFailedAt: at(number + 1),
    channel: "orders",
    group: "orders",
    service: "billing",
    serviceVersion: "1.2.3",
  });
}

interface Setup {
  readonly bus: Bus;
  readonly transport: FakeTransport;
  readonly clock: VirtualClock;
  readonly desk: DeadLetterChannel;
}

async function setup(...waiting: readonly Message[]): Promise<Setup> {
  const transport = createFakeTransport();
  transport.waiting = [...waiting];
  const clock = createVirtualClock();
  const bus = createBus({ service: "billing", transport, clock, observe: () => undefined });
  bus.declare(Declared);
  await bus.start();
  return { bus, transport, clock, desk: bus.deadLetters(queue("orders")) };
}

const ids = (messages: readonly { readonly id: string }[]): string[] => messages.map(({ id }) => id);
const redriven = (transport: FakeTransport): string[] => ids(transport.batches.flat().map(({ message }) => message));

describe("looking", () => {
  test("shows the oldest that match", async () => {
    const { desk, transport } = await setup(dead(1), dead(2, { type: "cancel" }), dead(3), dead(4));
    const found = await desk.browse({ type: "place-order", limit: 2 });
    expect(ids(found.map(({ message }) => message))).toEqual(["message-1", "message-3"]);
    expect(found[0]).toMatchObject({ errorName: "TypeError", errorMessage: "no sku", attempts: 4, redriveCount: 0 });
    expect(transport.waiting).toHaveLength(4);
  });

  test.each([
    ["ids", { ids: ["message-2", "message-9"] }, ["message-2"]],
    ["error", { errorName: "RangeError" }, ["message-3"]],
    ["reason", { reason: "NO_HANDLER" as const }, []],
    ["time", { failedBefore: new Date(at(3)) }, ["message-1"]],
    ["anything", { where: ({ message }: { message: Message }) => message.key === "k" }, ["message-2"]],
    ["all of it", { where: () => true, errorName: "TypeError", ids: ["message-1"] }, ["message-1"]],
  ])("by %s", async (_what, filter, expected) => {
    const { desk } = await setup(dead(1), dead(2, { key: "k" }), dead(3, {}, new RangeError("too many")));
    expect(ids((await desk.browse(filter)).map(({ message }) => message))).toEqual(expected);
  });

  test("finds one by its id, or nothing", async () => {
    const { desk } = await setup(dead(1), dead(2));
    await expect(desk.find("message-2")).resolves.toMatchObject({ message: { id: "message-2" } });
    await expect(desk.find("message-3")).resolves.toBeUndefined();
  });

  test("sums up by reason and error, the most frequent first", async () => {
    const { desk } = await setup(dead(1, {}, new RangeError("one")), dead(2), dead(3, {}, new TypeError("newest")));
    await expect(desk.summarize()).resolves.toEqual([
      {
        reason: "ATTEMPTS_EXHAUSTED",
        errorName: "TypeError",
        errorMessage: "newest",
        count: 2,
        firstFailedAt: new Date(at(2)),
        lastFailedAt: new Date(at(4)),
      },
      expect.objectContaining({ errorName: "RangeError", count: 1 }),
    ]);
  });

  test("exports a line of JSON each, from which the bytes can be had again", async () => {
    const binary = Uint8Array.from({ length: 10_000 }, (_, index) => index % 256);
    const { desk } = await setup(dead(1), dead(2, { body: binary, key: "ß\n" }));
    const lines: string[] = [];
    for await (const line of desk.export()) lines.push(line);
    expect(lines.map((line) => line.split("\n").length)).toEqual([2, 2]);
    const [text, bytes] = lines.map((line) => JSON.parse(line) as { message: Record<string, string> });
    expect(text).toMatchObject({
      reason: "ATTEMPTS_EXHAUSTED",
      service: "billing",
      serviceVersion: "1.2.3",
      firstFailedAt: "2026-01-01T12:01:00.000Z",
      message: { id: "message-1", type: "place-order", time: "2026-01-01T00:00:00.000Z", body: '{"sku":"a"}' },
    });
    expect(bytes?.message).toMatchObject({ key: "ß\n" });
    expect(Buffer.from(bytes?.message["bodyBase64"] ?? "", "base64").equals(binary)).toBe(true);
  });

  test("an export that is left early ends the walk", async () => {
    const { desk, transport } = await setup(dead(1), dead(2), dead(3));
    for await (const line of desk.export()) {
      expect(line).toContain("message-1");
      break;
    }
    expect(transport.waiting).toHaveLength(3);
  });
});

describe("redrive", () => {
  test("keeps other redrives out while it lasts; a dry run and a look need not", async () => {
    const { desk, transport } = await setup(dead(1));
    const walk = vi.spyOn(transport.admin, "walk");
    await desk.browse();
    await desk.redrive({ dryRun: true });
    await desk.redrive();
    expect(walk.mock.calls.map(([, , { exclusive }]) => exclusive)).toEqual([false, false, true]);
  });

  test("sends back to the failing group alone, as if for the first time, and removes what was accepted", async () => {
    const transport = createFakeTransport();
    const bus = createBus({ service: "ops", transport, observe: () => undefined });
    bus.declare(Declared);
    await bus.start();
    transport.waiting = [dead(1, { headers: { trace: "7", "posthorn-first-failed-at": "5" } })];
    const report = await bus.deadLetters(topic("order-events"), "billing").redrive();
    expect(report).toEqual({ redriven: 1, unmatched: 0, guarded: 0 });
    const [sent, ...more] = transport.batches.flat();
    expect(more).toEqual([]);
    expect(sent?.address).toMatchObject({ kind: "inlet", channel: { name: "order-events" }, group: "billing" });
    const original = aMessage({ id: "message-1", headers: { trace: "7", "posthorn-redrive-count": "1" } });
    expect(sent?.message).toEqual({ ...original, headers: { ...original.headers } });
    expect(transport.waiting).toEqual([]);
  });

  test("of a filter, of ids and up to a limit leaves the rest", async () => {
    const { desk, transport } = await setup(dead(1), dead(2), dead(3, { type: "cancel" }), dead(4), dead(5));
    await expect(desk.redrive({ type: "place-order", limit: 2 })).resolves.toMatchObject({ redriven: 2 });
    expect(redriven(transport)).toEqual(["message-1", "message-2"]);
    await expect(desk.redrive({ ids: ["message-5"] })).resolves.toEqual({ redriven: 1, unmatched: 2, guarded: 0 });
    expect(ids(transport.waiting)).toEqual(["message-3", "message-4"]);
  });

  test("that is dry says what it would do and does nothing", async () => {
    const { desk, transport } = await setup(dead(1), dead(2));
    await expect(desk.redrive({ dryRun: true })).resolves.toEqual({ redriven: 2, unmatched: 0, guarded: 0 });
    expect(transport.batches).toEqual([]);
    expect(transport.waiting).toHaveLength(2);
  });

  test("leaves what was redriven too often", async () => {
    const often = dead(1, { headers: { "posthorn-redrive-count": "3" } });
    const { desk, transport } = await setup(often, dead(2));
    await expect(desk.redrive({ maxRedrives: 3 })).resolves.toEqual({ redriven: 1, unmatched: 0, guarded: 1 });
    expect(transport.waiting).toEqual([often]);
  });

  test("keeps to its rate", async () => {
    const { desk, transport, clock } = await setup(dead(1), dead(2), dead(3), dead(4));
    const done = desk.redrive({ messagesPerSecond: 2 });
    const counts: number[] = [];
    for (let step = 0; step < 4; step++) {
      await clock.advance(step === 0 ? 0 : 500);
      counts.push(redriven(transport).length);
    }
    expect(counts).toEqual([1, 2, 3, 4]);
    await expect(done).resolves.toMatchObject({ redriven: 4 });
  });

  test("that the broker refuses says so, and what was not taken is still there", async () => {
    const { desk, transport } = await setup(dead(1), dead(2));
    transport.answer = (batch) =>
      Promise.resolve(batch.map(() => failed(new PosthornError("UNROUTABLE", "no such queue"))));
    await expect(desk.redrive()).rejects.toMatchObject({ code: "UNROUTABLE" });
    expect(ids(transport.waiting)).toEqual(["message-1", "message-2"]);
  });

  test("ends with the bus, and with its signal", async () => {
    const { bus, desk, transport, clock } = await setup(dead(1), dead(2));
    const giveUp = new AbortController();
    const given = desk.redrive({ messagesPerSecond: 0.1, signal: giveUp.signal });
    const failing = expect(given).rejects.toMatchObject({ code: "ABORTED" });
    await clock.advance(0);
    giveUp.abort();
    await failing;
    await expect(desk.redrive({ messagesPerSecond: 0.1 })).resolves.toMatchObject({ redriven: 1 });
    const closed = bus.close();
    await clock.advance(0);
    await closed;
    await expect(desk.redrive()).rejects.toMatchObject({ code: "CLOSED" });
    expect(transport.waiting).toEqual([]);
  });

  test.each([
    ["a limit of nothing", { limit: 0 }],
    ["a rate of nothing", { messagesPerSecond: 0 }],
    ["no redrives", { maxRedrives: 0 }],
  ])("refuses %s", async (_what, options) => {
    const { desk } = await setup(dead(1));
    await expect(desk.redrive(options)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
});

test("purge removes what the filter says, and without one everything", async () => {
  const { desk, transport } = await setup(dead(1), dead(2, { type: "cancel" }), dead(3));
  await expect(desk.purge({ type: "cancel" })).resolves.toBe(1);
  expect(ids(transport.waiting)).toEqual(["message-1", "message-3"]);
  await expect(desk.purge()).resolves.toBe(2);
});

test("a queue has no groups to choose from", async () => {
  const { bus } = await setup();
  expect(() => bus.deadLetters(queue("orders"), "billing")).toThrow(/one group/);
  expect(bus.deadLetters(topic("order-events"))).toMatchObject({ group: "billing" });
});
