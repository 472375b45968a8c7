import { expect, test } from "vitest";
import { noAnswer, refusal } from "./aws.fixture.ts";
import { createReading } from "./reading.fixture.ts";

const many = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
const busy = { ok: false, code: "InternalError", message: "Busy.", senderFault: false } as const;
const stale = { ok: false, code: "ReceiptHandleIsInvalid", message: "Too old.", senderFault: true } as const;

test("what is accepted is deleted, in batches", async () => {
  const { start, send, clock, settle, aws, left } = await createReading();
  send(...many(23));
  await start();
  settle("accept");
  await clock.advance(0);
  expect(left()).toEqual([]);
  const sizes = aws.asked.filter((each) => each.startsWith("delete")).map((each) => Number(each.split(" ")[2]));
  expect(sizes.toSorted((one, other) => one - other)).toEqual([3, 10, 10]);
});

test("what is released comes again at once", async () => {
  const { start, send, clock, settle, got, held } = await createReading();
  send("a");
  await start();
  settle("release");
  await clock.advance(0);
  expect(got).toEqual(["a", "a"]);
  expect(held[0]?.delivery.deliveryCount).toBe(2);
});

test("a deletion that fails is tried again, singly, and the lease is kept meanwhile", async () => {
  const { start, send, clock, settle, aws, left, told, queue } = await createReading();
  send("a", "b", "c");
  await start();
  aws.entryFailures.set("delete", [undefined, busy, undefined]);
  settle("accept");
  await clock.advance(0);
  expect(left()).toEqual(["b"]);
  aws.entryFailures.set(
    "delete",
    Array.from({ length: 12 }, () => busy),
  );
  await clock.advance(35_000);
  expect(queue.inFlight).toHaveLength(1);
  expect(told).toEqual([]);
  await clock.advance(30_000);
  expect(left()).toEqual([]);
  expect(told).toEqual([]);
});

test("a deletion without an answer is tried again, and finds nothing: no word of that", async () => {
  const { start, send, clock, settle, aws, told, left, asked } = await createReading();
  send("a");
  await start();
  aws.lostAnswers.set("delete", [noAnswer()]);
  settle("accept");
  await clock.advance(0);
  aws.entryFailures.set("delete", [stale]);
  await clock.advance(1_000);
  expect(left()).toEqual([]);
  expect(asked("delete orders")).toBe(2);
  expect(told).toEqual([]);
});

test("when the lease of something accepted is over, nothing is deleted, and that is told once", async () => {
  const { start, send, clock, settle, aws, told, left } = await createReading();
  send("a", "b");
  await start();
  aws.intercept = ({ api }) => {
    if (api !== "receive") throw refusal("ServiceUnavailable", 503);
  };
  settle("accept");
  await clock.advance(31_000);
  expect(told).toEqual(['2 handled of queue "orders" could not be deleted in time, and may come again']);
  aws.intercept = () => undefined;
  await clock.advance(100);
  expect(left()).toEqual(["a", "b"]);
});

test("a stale handle is no more than a lost lease: nothing is told, nor tried again", async () => {
  const { start, send, clock, settle, aws, told, asked } = await createReading();
  send("a");
  await start();
  aws.entryFailures.set("delete", [stale]);
  settle("accept");
  await clock.advance(0);
  await clock.advance(20_000);
  expect(told).toEqual([]);
  expect(asked("delete orders")).toBe(1);
});

test("a giving back that is refused for now is tried again; one without an answer is not", async () => {
  const { start, send, clock, settle, aws, got, asked } = await createReading();
  send("a");
  await start();
  aws.failures.set("changeVisibility", [refusal("Throttling")]);
  settle("release");
  await clock.advance(500);
  expect(got).toEqual(["a", "a"]);
  expect(asked("changeVisibility orders")).toBe(2);
  aws.failures.set("changeVisibility", [noAnswer()]);
  settle("release");
  await clock.advance(20_000);
  expect(asked("changeVisibility orders")).toBe(3);
  expect(got).toHaveLength(2);
  await clock.advance(11_000);
  expect(got).toHaveLength(3);
});

test("what is released is renewed no more, also while it cannot be given back", async () => {
  const { start, send, clock, settle, aws } = await createReading();
  send("a");
  await start();
  const sqs = { ...aws.sqs };
  const asked: number[] = [];
  aws.sqs.changeVisibility = (url, entries, signal) => {
    asked.push(...entries.map(({ visibilitySeconds }) => visibilitySeconds));
    return sqs.changeVisibility(url, entries, signal);
  };
  aws.failures.set(
    "changeVisibility",
    Array.from({ length: 20 }, () => refusal("Throttling")),
  );
  settle("release");
  await clock.advance(29_000);
  expect(asked.length).toBeGreaterThan(5);
  expect(new Set(asked)).toEqual(new Set([0]));
});

test("a renewal that is refused while the deletion is on its way says nothing", async () => {
  const { start, send, clock, settle, aws, told, left, asked } = await createReading();
  send("a");
  await start();
  await clock.advance(9_000);
  aws.intercept = ({ api }) => {
    if (api === "delete") return new Promise((resolve) => void clock.setTimeout(resolve, 3_000));
    return undefined;
  };
  aws.entryFailures.set("changeVisibility", [stale]);
  settle("accept");
  await clock.advance(4_000);
  expect(asked("changeVisibility orders")).toBeGreaterThan(0);
  expect(left()).toEqual([]);
  expect(told).toEqual([]);
});

test("a renewal on its way does not overtake the giving back", async () => {
  const { start, send, clock, settle, aws, got } = await createReading();
  send("a");
  await start();
  aws.latencyMs = 1_000;
  await clock.advance(10_500);
  settle("release");
  aws.latencyMs = 0;
  await clock.advance(1_000);
  expect(aws.asked.filter((each) => each.startsWith("changeVisibility"))).toHaveLength(2);
  expect(got).toEqual(["a", "a"]);
});

test("what cannot be deleted stops the receiving before much of it gathers", async () => {
  const { start, send, clock, aws, got } = await createReading({ maxInFlight: 10, receive: async () => "accept" });
  send(...many(1_000));
  aws.intercept = ({ api }) => {
    if (api === "delete") throw refusal("ServiceUnavailable", 503);
  };
  await start();
  await clock.advance(5_000);
  expect(got.length).toBeGreaterThanOrEqual(200);
  expect(got.length).toBeLessThanOrEqual(230);
});

test("a close waits until everything is carried out, and gives back what is not settled", async () => {
  const { start, send, clock, settle, aws, intake, left, held, queue, ended } = await createReading();
  send("a", "b", "c");
  await start();
  aws.latencyMs = 500;
  const [, , c] = held;
  settle("accept", 2);
  let closed = false;
  const closing = intake.close(new AbortController().signal).then(() => (closed = true));
  await clock.advance(400);
  expect(closed).toBe(false);
  await clock.advance(200);
  await closing;
  expect(c?.delivery.lost.aborted).toBe(true);
  expect(left()).toEqual(["c"]);
  expect(queue.visible).toHaveLength(1);
  expect(ended()).toBe(1);
});

test("a close whose signal fires waits for nothing", async () => {
  const { start, send, clock, settle, aws, intake, ended } = await createReading();
  send("a");
  await start();
  aws.latencyMs = 60_000;
  settle("accept");
  const signal = new AbortController();
  const closing = intake.close(signal.signal);
  await clock.advance(100);
  expect(ended()).toBe(0);
  signal.abort();
  await closing;
  expect(ended()).toBe(1);
});

test("after a stop what is pending keeps its lease, and is settled as ever", async () => {
  const { start, send, clock, settle, intake, queue, left, ended } = await createReading();
  send("a", "b");
  await start();
  await intake.consumption.stop();
  await clock.advance(100_000);
  expect(queue.inFlight).toHaveLength(2);
  settle("accept", 1);
  settle("release", 1);
  expect(ended()).toBe(0);
  await clock.advance(0);
  expect(left()).toEqual(["b"]);
  expect(queue.visible).toHaveLength(1);
  expect(ended()).toBe(1);
});

test.each([
  { settlement: "accept", api: "delete" },
  { settlement: "release", api: "changeVisibility" },
] as const)("where the account may not $api, that is told once, and tried again", async ({ settlement, api }) => {
  const { start, send, clock, settle, aws, told, asked } = await createReading();
  send("a", "b");
  await start();
  const refused = Array.from({ length: 3 }, () => refusal("AccessDenied", 403));
  aws.failures.set(api, refused);
  settle(settlement, 1);
  await clock.advance(0);
  expect(told).toEqual(['What was received from queue "orders" cannot be kept, deleted or given back']);
  await clock.advance(5_000);
  expect(told).toHaveLength(1);
  expect(asked(`${api} orders`)).toBe(4);
});

test("what runs out while its deletion waits is given up and comes again, although a renewal is confirmed after that", async () => {
  const { start, send, clock, settle, aws, reach, told, got } = await createReading();
  const changeVisibility = aws.sqs.changeVisibility.bind(aws.sqs);
  const late = Promise.withResolvers<void>();
  Object.assign(aws.sqs, {
    async changeVisibility(...given: Parameters<typeof changeVisibility>) {
      const results = await changeVisibility(...given);
      await late.promise;
      return results;
    },
  });
  // Before the timer that ends the lease, as on a busy computer.
  clock.setTimeout(() => reach.mend(), 30_000);
  clock.setTimeout(() => late.resolve(), 30_000);
  send("a");
  await start();
  await clock.advance(29_000);
  reach.cut();
  settle("accept");
  await clock.advance(1_000);
  expect(told).toEqual(['1 handled of queue "orders" could not be deleted in time, and may come again']);
  await clock.advance(60_000);
  expect(got).toEqual(["a", "a"]);
});
