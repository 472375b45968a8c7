import { describe, expect, test } from "vitest";
import { z } from "zod";
import { queue } from "./channel.ts";
import { createBus } from "./create-bus.ts";
import { deliverAfter, deliverAt } from "./delay.ts";
import { createFakeTransport } from "./fake-transport.fixture.ts";
import type { SendOptions } from "./handler.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const Remind = queue("reminders").command("remind", { schema: z.string() });
const now = Date.UTC(2026, 0, 1);

async function sentWith(options: SendOptions): Promise<number | undefined> {
  const transport = createFakeTransport({ delayedDelivery: true });
  const bus = createBus({ service: "shop", transport, clock: createVirtualClock(now) });
  bus.declare(Remind);
  await bus.start();
  await bus.send(Remind, "x", options);
  return transport.batches[0]?.[0]?.message.notBefore;
}

test.each<[string, SendOptions, number]>([
  ["a text", deliverAfter("1.5h"), now + 5_400_000],
  ["milliseconds", deliverAfter(250), now + 250],
  ["days", deliverAfter("30d"), now + 30 * 86_400_000],
  ["a negative number", deliverAfter(-5), now - 5],
  ["a Date", deliverAt(new Date(now + 7)), now + 7],
  ["a number", deliverAt(now + 8), now + 8],
  ["an ISO text with an offset", deliverAt("2027-01-01T01:00:00+01:00"), Date.UTC(2027, 0, 1)],
  ["the past", deliverAt("1999-12-31T23:59:59Z"), Date.UTC(1999, 11, 31, 23, 59, 59)],
])("a delay from %s", async (_what, options, notBefore) => {
  await expect(sentWith(options)).resolves.toBe(notBefore);
});

describe("refused by name", () => {
  test.each<[string, () => unknown]>([
    ["deliverAfter with words", () => deliverAfter("soon")],
    ["deliverAfter with nothing", () => deliverAfter("")],
    ["deliverAfter with NaN", () => deliverAfter(Number.NaN)],
    ["deliverAfter with Infinity", () => deliverAfter(Infinity)],
    ["deliverAt with an invalid date", () => deliverAt(new Date(Number.NaN))],
    ["deliverAt with a text that names no offset", () => deliverAt("2027-01-01T00:00:00")],
    ["deliverAt with a day", () => deliverAt("2027-01-01")],
    ["both", () => sentWith({ ...deliverAfter(1), ...deliverAt(now) })],
    ["a delay beyond all dates", () => sentWith(deliverAfter(Number.MAX_VALUE))],
    ["delayMs that is no number", () => sentWith({ delayMs: "5" as unknown as number })],
    ["notBefore that is no Date", () => sentWith({ notBefore: "2027-01-01" as unknown as Date })],
  ])("%s", async (_what, work) => {
    await expect((async () => work())()).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
});
