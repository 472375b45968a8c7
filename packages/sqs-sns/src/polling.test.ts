import { expect, test } from "vitest";
import { createReading } from "./reading.fixture.ts";

const many = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

test("an idle subscription makes one poll in twenty seconds", async () => {
  const { start, clock, asked, intake } = await createReading();
  await start();
  await clock.advance(100_000);
  expect(asked("receive orders")).toBe(6);
  expect(intake.restoring).toBe(false);
});

test("free capacity decides how many messages are asked for, and no more are here", async () => {
  const { start, send, clock, got, queue, held, settle } = await createReading({ maxInFlight: 3 });
  send(...many(10));
  await start();
  await clock.advance(1_000);
  expect(got).toEqual(["0", "1", "2"]);
  expect(queue.inFlight).toHaveLength(3);
  settle("accept", 1);
  await clock.advance(10);
  expect(got).toHaveLength(4);
  expect(held).toHaveLength(3);
  expect(queue.inFlight).toHaveLength(3);
  expect(queue.messages).toHaveLength(9);
});

test("one poll becomes several while messages come faster, and one again when none comes", async () => {
  const reading = await createReading({ maxInFlight: 200, paused: true });
  const { start, send, clock, aws, got, asked, settle, intake } = reading;
  send(...many(150));
  let most = 0;
  let open = 0;
  aws.intercept = ({ api, signal }) => {
    if (api !== "receive") return;
    most = Math.max(most, ++open);
    clock.setTimeout(() => open--, 10);
    signal.throwIfAborted();
  };
  await start();
  aws.latencyMs = 10;
  intake.consumption.resume();
  await clock.advance(200);
  expect(got).toHaveLength(150);
  expect(most).toBeGreaterThan(2);
  expect(most).toBeLessThanOrEqual(10);
  settle("accept");
  await clock.advance(60_000);
  const before = asked("receive orders");
  await clock.advance(100_000);
  expect(asked("receive orders") - before).toBeLessThanOrEqual(6);
});

test("what comes back in one turn makes room for one poll, not for many", async () => {
  const { start, send, clock, asked, settle, got } = await createReading({ maxInFlight: 5 });
  send(...many(20));
  await start();
  expect(asked("receive orders")).toBe(1);
  settle("accept");
  await clock.advance(0);
  expect(asked("receive orders")).toBe(2);
  expect(got).toHaveLength(10);
});

test("a second poll is for what one cannot take", async () => {
  const { start, send, clock, aws, got, settle, intake } = await createReading({ maxInFlight: 35, paused: true });
  send(...many(100));
  await start();
  const polls: { readonly maxMessages: number; readonly beside: number }[] = [];
  const sqs = { ...aws.sqs };
  let open = 0;
  aws.sqs.receive = async (url, request, signal) => {
    polls.push({ maxMessages: request.maxMessages, beside: open++ });
    try {
      return await sqs.receive(url, request, signal);
    } finally {
      open--;
    }
  };
  aws.latencyMs = 10;
  intake.consumption.resume();
  await clock.advance(50);
  for (let settled = 0; got.length < 100 && settled < 200; settled++) {
    settle("accept", 1);
    await clock.advance(3);
  }
  expect(got).toHaveLength(100);
  expect(polls.some(({ beside }) => beside > 0)).toBe(true);
  expect(polls.filter(({ maxMessages, beside }) => beside > 0 && maxMessages < 10)).toEqual([]);
});

test("a pause gives up no poll: what it brings is given back, and after a resume it is handed out", async () => {
  const { start, send, clock, got, queue, intake, asked } = await createReading();
  await start();
  intake.consumption.pause();
  send("a", "b");
  await clock.advance(100);
  expect(got).toEqual([]);
  expect(queue.visible).toHaveLength(2);
  await clock.advance(60_000);
  expect(asked("receive orders")).toBe(1);
  intake.consumption.resume();
  await clock.advance(0);
  expect(got).toEqual(["a", "b"]);
  intake.consumption.pause();
  intake.consumption.resume();
  send("c");
  await clock.advance(100);
  expect(got).toEqual(["a", "b", "c"]);
});

test("what begins paused asks for nothing before it is resumed", async () => {
  const { start, send, clock, got, asked, intake } = await createReading({ paused: true });
  send("a");
  await start();
  await clock.advance(60_000);
  expect(asked("receive orders")).toBe(0);
  intake.consumption.resume();
  await clock.advance(0);
  expect(got).toEqual(["a"]);
});

test("a smaller size leaves the poll alone, and what is too much is given back", async () => {
  const { start, send, clock, got, queue, intake, asked, settle, held } = await createReading({ maxInFlight: 4 });
  await start();
  intake.consumption.resize(2);
  send(...many(4));
  await clock.advance(100);
  expect(got).toEqual(["0", "1"]);
  expect(queue.visible).toHaveLength(2);
  expect(asked("receive orders")).toBe(1);
  intake.consumption.resize(3);
  await clock.advance(0);
  expect(held).toHaveLength(3);
  settle("accept");
  await clock.advance(0);
  expect(got).toHaveLength(4);
});

test("what an open poll brings after the stop is given back; it is not received", async () => {
  const { start, send, clock, got, queue, intake, ended, asked } = await createReading();
  await start();
  await intake.consumption.stop();
  send("a");
  await clock.advance(100);
  expect(got).toEqual([]);
  expect(queue.visible).toHaveLength(1);
  expect(ended()).toBe(1);
  await clock.advance(60_000);
  expect(asked("receive orders")).toBe(1);
});

test("a close gives up the open polls", async () => {
  const { start, clock, intake, ended, aws } = await createReading();
  const signals: AbortSignal[] = [];
  aws.intercept = ({ api, signal }) => {
    if (api === "receive") signals.push(signal);
  };
  await start();
  await intake.close(new AbortController().signal);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  expect(ended()).toBe(1);
  await clock.advance(60_000);
  expect(signals).toHaveLength(1);
});

test("after an outage there is another poll at once, and what the old one may still bring is not lost", async () => {
  const { start, send, clock, got, reach, asked, told } = await createReading();
  await start();
  reach.cut();
  await clock.advance(5_000);
  expect(asked("receive orders")).toBe(1);
  reach.mend();
  await clock.advance(200);
  expect(asked("receive orders")).toBe(2);
  send("a", "b");
  await clock.advance(100);
  expect(got.toSorted()).toEqual(["a", "b"]);
  await clock.advance(20_000);
  expect(told).toEqual([]);
});
