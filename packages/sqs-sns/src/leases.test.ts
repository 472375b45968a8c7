import { expect, test } from "vitest";
import { noAnswer, refusal } from "./aws.fixture.ts";
import { createReading } from "./reading.fixture.ts";

const many = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
const refused = { ok: false, code: "ReceiptHandleIsInvalid", message: "Too old.", senderFault: true } as const;

test("leases are renewed at a third of the timeout, in batches, for as long as it takes", async () => {
  const { start, send, clock, aws, queue, held, asked } = await createReading();
  send(...many(25));
  await start();
  await clock.advance(9_000);
  expect(asked("changeVisibility orders")).toBe(0);
  await clock.advance(1_000);
  expect(aws.asked.filter((each) => each.startsWith("changeVisibility"))).toEqual([
    "changeVisibility orders 10",
    "changeVisibility orders 10",
    "changeVisibility orders 5",
  ]);
  await clock.advance(300_000);
  expect(asked("changeVisibility orders")).toBe(3 * 31);
  expect(queue.inFlight).toHaveLength(25);
  expect(held.some(({ delivery }) => delivery.lost.aborted)).toBe(false);
});

test("one timer serves all leases", async () => {
  const { start, send, clock, held } = await createReading({ maxInFlight: 50 });
  send(...many(50));
  await start();
  await clock.advance(100);
  expect(held).toHaveLength(50);
  expect(clock.pending).toBe(1);
});

test("what has come back is renewed no more", async () => {
  const { start, send, clock, settle, asked, left } = await createReading();
  send(...many(20));
  await start();
  settle("accept", 12);
  await clock.advance(10_000);
  expect(asked("changeVisibility orders 8")).toBe(1);
  settle("accept");
  await clock.advance(60_000);
  expect(asked("changeVisibility orders")).toBe(1);
  expect(left()).toEqual([]);
});

test("a renewal that is refused is a lease that is lost, and what was to be done is void", async () => {
  const { start, send, clock, aws, held, left, asked, told } = await createReading();
  send("a", "b");
  await start();
  const [a, b] = [held[0], held[1]];
  aws.entryFailures.set("changeVisibility", [refused]);
  await clock.advance(10_000);
  expect(a?.delivery.lost.aborted).toBe(true);
  expect(b?.delivery.lost.aborted).toBe(false);
  a?.settle("accept");
  await clock.advance(1_000);
  expect(asked("delete orders")).toBe(0);
  expect(left()).toEqual(["a", "b"]);
  expect(told).toEqual([]);
});

test("a renewal that fails for now is tried again while the lease lasts", async () => {
  const { start, send, clock, aws, held, asked } = await createReading();
  send("a");
  await start();
  const busy = { ok: false, code: "InternalError", message: "Busy.", senderFault: false } as const;
  aws.entryFailures.set("changeVisibility", [busy, busy]);
  aws.failures.set("changeVisibility", [refusal("ServiceUnavailable", 503), noAnswer()]);
  await clock.advance(15_000);
  expect(asked("changeVisibility orders")).toBe(5);
  expect(held[0]?.delivery.lost.aborted).toBe(false);
});

test("a lease that cannot be renewed is lost when its time is over, counted from before its request was sent", async () => {
  const { start, send, clock, aws, reach, held, intake } = await createReading({ paused: true });
  send("a");
  await start();
  aws.latencyMs = 2_000;
  intake.consumption.resume();
  await clock.advance(2_000);
  expect(held).toHaveLength(1);
  reach.cut();
  await clock.advance(27_900);
  expect(held[0]?.delivery.lost.aborted).toBe(false);
  await clock.advance(101);
  expect(held[0]?.delivery.lost.aborted).toBe(true);
});

test("what a long poll brought is renewed soon: nobody knows when its lease began", async () => {
  const { start, send, clock, asked, held } = await createReading();
  await start();
  await clock.advance(15_000);
  send("a");
  await clock.advance(0);
  expect(held).toHaveLength(1);
  await clock.advance(1_000);
  expect(asked("changeVisibility orders")).toBe(1);
  await clock.advance(9_000);
  expect(asked("changeVisibility orders")).toBe(1);
  await clock.advance(1_000);
  expect(asked("changeVisibility orders")).toBe(2);
});

test("a lease that is shorter than a poll may last is not over when it begins", async () => {
  const { start, send, clock, got, held } = await createReading({ settings: { visibilitySeconds: 3 } });
  await start();
  await clock.advance(15_000);
  send("a");
  await clock.advance(30_000);
  expect(got).toEqual(["a"]);
  expect(held[0]?.delivery.lost.aborted).toBe(false);
});

test("an answer that was longer on its way than its leases last is left alone", async () => {
  const { start, send, clock, aws, got, asked } = await createReading({ settings: { waitSeconds: 1 } });
  send("a");
  let delayed = false;
  const sqs = { ...aws.sqs };
  aws.sqs.receive = async (...given) => {
    const messages = await sqs.receive(...given);
    if (!delayed) {
      delayed = true;
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 40_000));
    }
    return messages;
  };
  await start();
  await clock.advance(40_000);
  expect(got).toEqual(["a"]);
  expect(asked("changeVisibility orders")).toBe(0);
});

test("the lease of what was handed out is lost when it is closed hard", async () => {
  const { start, send, intake, held, clock, asked, settle, left } = await createReading();
  send("a");
  await start();
  const [a] = held;
  await intake.close(AbortSignal.abort());
  expect(a?.delivery.lost.aborted).toBe(true);
  settle("accept");
  await clock.advance(60_000);
  expect([asked("delete orders"), asked("changeVisibility orders")]).toEqual([0, 0]);
  expect(left()).toEqual(["a"]);
});

test("where the account may not renew, that is told, and the lease is lost when its time is over", async () => {
  const { start, send, clock, aws, told, held } = await createReading();
  send("a");
  await start();
  aws.intercept = ({ api }) => {
    if (api === "changeVisibility") throw refusal("AccessDenied", 403);
  };
  const [{ delivery } = { delivery: undefined }] = held;
  await clock.advance(10_000);
  expect(told).toEqual(['What was received from queue "orders" cannot be kept, deleted or given back']);
  expect(delivery?.lost.aborted).toBe(false);
  await clock.advance(20_000);
  expect(delivery?.lost.aborted).toBe(true);
  expect(told).toHaveLength(1);
});
