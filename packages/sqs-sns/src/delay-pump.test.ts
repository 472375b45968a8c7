import { expect, test } from "vitest";
import { noAnswer, refusal } from "./aws.fixture.ts";
import type { Reading } from "./reading.fixture.ts";
import { createReading, message, never } from "./reading.fixture.ts";
import { encodeMessage } from "./wire.ts";

/** An ordered group, and messages that wait on its delay queue. */
async function delaying(options: Parameters<typeof createReading>[0] = {}) {
  const reading = await createReading({ ordered: true, maxInFlight: 1_024, ...options });
  return { ...reading, queue: reading.aws.queue("orders.fifo"), delayed: reading.aws.queue("delayed") };
}

function delay({ aws, clock }: Pick<Reading, "aws" | "clock">, id: string, forMs: number, delaySeconds?: number): void {
  const notBefore = clock.now() + forMs;
  aws.queue("delayed").accept({
    ...encodeMessage(message({ id, key: id.charAt(0), notBefore })),
    delaySeconds: delaySeconds ?? Math.floor(Math.min(forMs, 900_000) / 1_000),
  });
}

test("an idle ordered subscription makes two polls in twenty seconds", async () => {
  const { start, clock, asked } = await delaying();
  await start();
  await clock.advance(100_000);
  expect([asked("receive orders.fifo"), asked("receive delayed")]).toEqual([6, 6]);
});

test("what is due joins the queue, unchanged, never early, and leaves the delay queue", async () => {
  const { start, clock, aws, got, delayed, held } = await delaying();
  await start();
  delay({ aws, clock }, "a", 2_700);
  const [before] = delayed.messages;
  await clock.advance(2_699);
  expect(got).toEqual([]);
  await clock.advance(100);
  expect(got).toEqual(["a"]);
  expect(delayed.messages).toEqual([]);
  const [joined] = aws.queue("orders.fifo").messages;
  expect([joined?.body, joined?.attributes, joined?.groupId]).toEqual([before?.body, before?.attributes, "a"]);
  expect(held[0]?.delivery.message.notBefore).toBeLessThanOrEqual(clock.now());
});

test("what is early waits again, as long as the delay queue can delay it", async () => {
  const { start, clock, aws, got, delayed } = await delaying();
  await start();
  delay({ aws, clock }, "a", 2_000_500);
  await clock.advance(900_100);
  expect(delayed.delayed.map(({ visibleAt }) => visibleAt - clock.now())).toEqual([899_900]);
  await clock.advance(900_000);
  expect(delayed.delayed).toHaveLength(1);
  expect(delayed.messages).toHaveLength(1);
  await clock.advance(200_300);
  expect(got).toEqual([]);
  await clock.advance(200);
  expect(got).toEqual(["a"]);
  expect(delayed.messages).toEqual([]);
});

test("a message that comes the same way twice is not taken for a repetition", async () => {
  const { start, clock, aws, got, settle } = await delaying();
  await start();
  delay({ aws, clock }, "a", 1_000);
  const entry = { ...encodeMessage(message({ id: "a", key: "a", notBefore: clock.now() + 1_000 })), delaySeconds: 1 };
  await clock.advance(2_000);
  expect(got).toEqual(["a"]);
  settle("accept");
  await clock.advance(100);
  // A consumer whose clock is behind has sent it back.
  aws.queue("delayed").accept(entry);
  await clock.advance(2_000);
  expect(got).toEqual(["a", "a"]);
});

test("a crash between the copy and the deletion gives no second one within five minutes", async () => {
  const { start, clock, aws, got, settle, delayed } = await delaying();
  await start();
  aws.intercept = ({ api, target }) => {
    if (api !== "receive" && target === "delayed") throw refusal("ServiceUnavailable", 503);
  };
  delay({ aws, clock }, "a", 1_000);
  await clock.advance(2_000);
  expect(got).toEqual(["a"]);
  settle("accept");
  expect(delayed.messages).toHaveLength(1);
  aws.intercept = () => undefined;
  await clock.advance(60_000);
  expect(delayed.messages).toEqual([]);
  expect(got).toEqual(["a"]);
});

test("what the queue does not take stays, is tried again, and is never lost", async () => {
  const { start, clock, aws, got, delayed, told } = await delaying();
  await start();
  aws.failures.set("send", [noAnswer(), refusal("ServiceUnavailable", 503), refusal("QueueDoesNotExist")]);
  aws.entryFailures.set("send", [{ ok: false, code: "InternalError", message: "Busy.", senderFault: false }]);
  delay({ aws, clock }, "a", 1_000);
  await clock.advance(1_100);
  expect(got).toEqual([]);
  expect(delayed.messages).toHaveLength(1);
  await clock.advance(10_000);
  expect(got).toEqual(["a"]);
  expect(delayed.messages).toEqual([]);
  expect(told).toEqual([]);
});

test("what was not moved before its lease was over is moved by whoever has it then", async () => {
  const { start, clock, aws, reach, delayed } = await delaying();
  await start();
  reach.cut();
  delay({ aws, clock }, "a", 300_000, 0);
  await clock.advance(35_000);
  reach.mend();
  await clock.advance(5_000);
  expect(delayed.messages).toHaveLength(1);
  expect(delayed.delayed).toHaveLength(1);
});

test("what forbids the moving is told once, and it goes on", async () => {
  const { start, clock, aws, got, told } = await delaying();
  await start();
  aws.failures.set("send", [refusal("AccessDenied", 403), refusal("AccessDenied", 403)]);
  delay({ aws, clock }, "a", 1_000);
  await clock.advance(10_000);
  expect(got).toEqual(["a"]);
  expect(told).toEqual(['What waits in the delay queue of queue "orders" cannot be moved on']);
});

test("many that are due at one time go in batches, each as large as one may be", async () => {
  const { start, clock, aws, got } = await delaying({
    settings: { maxMessageBytes: 1_000 },
    receive: async () => "accept",
  });
  await start();
  for (let n = 0; n < 300; n++) delay({ aws, clock }, `${n}`, 5_500);
  aws.batchBytes = 1_000;
  await clock.advance(20_000);
  expect(new Set(got).size).toBe(300);
  expect(got).toHaveLength(300);
});

test("it is paused, and stopped, with the rest", async () => {
  const { start, clock, aws, intake, asked, delayed, ended } = await delaying({ paused: true });
  delay({ aws, clock }, "a", 0);
  await start();
  await clock.advance(60_000);
  expect(asked("receive delayed")).toBe(0);
  await intake.consumption.stop();
  expect(ended()).toBe(1);
  expect(delayed.messages).toHaveLength(1);
});

test("a stop finishes what is being moved; a close gives it back", async () => {
  const stopped = await delaying();
  await stopped.start();
  delay(stopped, "a", 900, 0);
  await stopped.clock.advance(100);
  expect(stopped.delayed.inFlight).toHaveLength(1);
  await stopped.intake.consumption.stop();
  await stopped.clock.advance(30_000);
  expect(stopped.queue.visible).toHaveLength(1);
  expect(stopped.delayed.messages).toEqual([]);
  expect(stopped.ended()).toBe(1);

  const closed = await delaying();
  await closed.start();
  delay(closed, "a", 900, 0);
  await closed.clock.advance(100);
  const closing = closed.intake.close(new AbortController().signal);
  await closed.clock.advance(0);
  await closing;
  expect(closed.delayed.visible).toHaveLength(1);
  expect(closed.queue.messages).toEqual([]);
});

test("a close waits for what is being moved, so that nothing is there twice, and gives back the rest", async () => {
  const { start, clock, aws, intake, delayed, queue } = await delaying();
  await start();
  delay({ aws, clock }, "a", 2_000);
  delay({ aws, clock }, "b", 2_900);
  const answer = Promise.withResolvers<void>();
  aws.intercept = ({ api }) => (api === "send" ? answer.promise : undefined);
  await clock.advance(2_100);
  const closed = intake.close(never);
  await clock.advance(100);
  answer.resolve();
  await clock.advance(100);
  await closed;
  expect([queue.messages.length, delayed.messages.length, delayed.inFlight.length]).toEqual([1, 1, 0]);
});
