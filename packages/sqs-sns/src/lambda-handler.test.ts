import { expect, test } from "vitest";
import type { SqsLambdaHandler } from "./lambda-handler.ts";
import type { LambdaReading } from "./lambda.fixture.ts";
import { createLambdaReading, eventOf, recordOf, remaining } from "./lambda.fixture.ts";
import { received } from "./received.fixture.ts";
import type { ReadingOptions } from "./reading.fixture.ts";
import { message, never } from "./reading.fixture.ts";
import { encodeMessage } from "./wire.ts";

const elsewhere = "arn:aws:sqs:eu-west-1:123456789012:elsewhere";

async function started(options: ReadingOptions = {}): Promise<LambdaReading> {
  const reading = await createLambdaReading(options);
  await reading.start();
  return reading;
}

function key(...ids: readonly string[]): { id: string; key: string }[] {
  return ids.map((id) => ({ id, key: id.charAt(0) }));
}

/** Its answer, once it is there. */
function watch<Answer>(answer: Promise<Answer>): { readonly answer: Promise<Answer>; readonly over: () => boolean } {
  let over = false;
  const end = (): void => {
    over = true;
  };
  answer.then(end, end);
  return { answer, over: () => over };
}

test("what is accepted is gone, what is released comes again", async () => {
  const { send, invoke, clock, held, left, got, asked } = await started();
  send("a", "b", "c");
  const invocation = invoke("orders");
  await clock.advance(0);
  const [a, b, c] = held;
  c?.settle("accept");
  b?.settle("release");
  a?.settle("accept");
  await expect(invocation).resolves.toHaveLength(1);
  expect(left()).toEqual(["b"]);
  expect(got).toEqual(["a", "b", "c"]);
  expect([asked("changeVisibility"), asked("receive"), asked("delete")]).toEqual([0, 1, 1]);
});

test("nothing is polled, and nothing is left of an invocation when it is answered", async () => {
  const { send, invoke, clock, asked } = await started({ receive: async () => "accept" });
  send("a");
  await clock.advance(60_000);
  expect(asked("receive")).toBe(0);
  await invoke("orders", remaining(30_000));
  expect(clock.pending).toBe(0);
});

test("messages are handed out in their order, as many at a time as may be", async () => {
  const { send, invoke, clock, got, held, settle, intake, left } = await started({ maxInFlight: 2 });
  send("a", "b", "c", "d", "e", "f");
  const invocation = invoke("orders");
  await clock.advance(0);
  expect(got).toEqual(["a", "b"]);
  held[1]?.settle("accept");
  await clock.advance(0);
  expect(got).toEqual(["a", "b", "c"]);
  intake.consumption.resize(4);
  expect(got).toEqual(["a", "b", "c", "d", "e"]);
  intake.consumption.resize(1);
  settle("accept", 3);
  await clock.advance(0);
  expect(got).toHaveLength(5);
  settle("accept");
  await clock.advance(0);
  settle("accept");
  await expect(invocation).resolves.toEqual([]);
  expect(left()).toEqual([]);
});

test("two invocations at a time share what may be handed out", async () => {
  const { send, invoke, clock, got, settle, left } = await started({ maxInFlight: 11 });
  send(...Array.from({ length: 20 }, (_, n) => `${n}`));
  const invocations = Promise.all([invoke("orders"), invoke("orders")]);
  await clock.advance(0);
  expect(got).toHaveLength(11);
  settle("accept");
  await clock.advance(0);
  settle("accept");
  await expect(invocations).resolves.toEqual([[], []]);
  expect(left()).toEqual([]);
});

test("nothing is handed out during a pause", async () => {
  const { send, invoke, clock, got, settle, intake } = await started({ paused: true });
  send("a");
  const invocation = invoke("orders");
  await clock.advance(0);
  expect(got).toEqual([]);
  intake.consumption.resume();
  expect(got).toEqual(["a"]);
  settle("accept");
  await expect(invocation).resolves.toEqual([]);
});

test("what is still paused at the deadline comes again, unhandled", async () => {
  const { send, invoke, clock, got, left } = await started({ paused: true });
  send("a");
  const invocation = invoke("orders", remaining(10_000));
  await clock.advance(9_000);
  await expect(invocation).resolves.toHaveLength(1);
  expect(left()).toEqual(["a"]);
  expect(got).toEqual([]);
});

test("a stop finishes what was handed out and gives back the rest", async () => {
  const { send, invoke, clock, got, settle, intake, left, ended } = await started({ maxInFlight: 1 });
  send("a", "b");
  const invocation = invoke("orders");
  await clock.advance(0);
  await intake.consumption.stop();
  expect(ended()).toBe(0);
  settle("accept");
  await expect(invocation).resolves.toHaveLength(1);
  expect([got, left(), ended()]).toEqual([["a"], ["b"], 1]);
});

test("a stop answers an invocation of which nothing was handed out", async () => {
  const { send, invoke, clock, got, settle, intake } = await started({ maxInFlight: 10 });
  send(...Array.from({ length: 11 }, (_, n) => `${n}`));
  const first = invoke("orders");
  const second = invoke("orders");
  await clock.advance(0);
  await intake.consumption.stop();
  await expect(second).resolves.toHaveLength(1);
  settle("accept");
  await expect(first).resolves.toEqual([]);
  expect(got).toHaveLength(10);
});

test("what comes after a stop, or after its deadline, is not handed out", async () => {
  const { aws, routes, intake, got } = await started();
  const reader = await routes.find(aws.queue("orders").arn, never);
  const message = received({ body: "b", attributes: {} });
  await expect(reader.take([message], AbortSignal.abort())).resolves.toEqual([message]);
  await intake.consumption.stop();
  await expect(reader.take([message], never)).resolves.toEqual([message]);
  expect(got).toEqual([]);
});

test("a close gives back also what is being handled, and not what was just settled", async () => {
  const { send, invoke, clock, held, intake, left, ended } = await started();
  send("a", "b");
  const invocation = invoke("orders");
  await clock.advance(0);
  const [a, b] = held;
  a?.settle("accept");
  await intake.close(new AbortController().signal);
  await expect(invocation).resolves.toHaveLength(1);
  expect(b?.delivery.lost.aborted).toBe(true);
  expect([left(), ended()]).toEqual([["b"], 1]);
});

test("behind a failed message of a FIFO queue nothing of its group is handled, and everything of others is", async () => {
  const { send, invoke, clock, got, held, settle, left } = await started({ ordered: true, maxInFlight: 2 });
  send(...key("a1", "b1", "a2", "c1", "a3", "b2"));
  const invocation = invoke("orders.fifo");
  await clock.advance(0);
  expect(got).toEqual(["a1", "b1"]);
  held[0]?.settle("release");
  await clock.advance(0);
  expect(got).toEqual(["a1", "b1", "c1"]);
  settle("accept");
  await clock.advance(0);
  expect(got).toEqual(["a1", "b1", "c1", "b2"]);
  settle("accept");
  await expect(invocation).resolves.toHaveLength(3);
  expect(left()).toEqual(["a1", "a2", "a3"]);
});

test("what follows a failed message of a FIFO queue and was begun is lost; what came before it stays done", async () => {
  const { send, invoke, clock, held, left } = await started({ ordered: true, maxInFlight: 1_024 });
  send(...key("a1", "a2", "a3", "a4", "b1"));
  const invocation = invoke("orders.fifo");
  await clock.advance(0);
  const [a1, a2, a3, a4, b1] = held;
  a4?.settle("accept");
  await clock.advance(0);
  a2?.settle("release");
  await clock.advance(0);
  expect([a1, a3, b1].map((one) => one?.delivery.lost.aborted)).toEqual([false, true, false]);
  expect(a3?.delivery.lost.reason).toMatchObject({ message: expect.stringContaining("of the same key") as string });
  a3?.settle("accept");
  a1?.settle("accept");
  b1?.settle("accept");
  await expect(invocation).resolves.toHaveLength(2);
  expect(left()).toEqual(["a2", "a3"]);
});

test("on a standard queue a group is no order", async () => {
  const { aws, handler, clock, got, held, settle } = await started();
  const { body, attributes } = encodeMessage(message({ id: "a" }));
  const one = received({ body, attributes }, { messageId: "1", groupId: "tenant" });
  const other = received({ body, attributes }, { messageId: "2", groupId: "tenant" });
  const invocation = handler(eventOf(aws.queue("orders").arn, [one, other]));
  await clock.advance(0);
  held[0]?.settle("release");
  await clock.advance(0);
  expect(held[0]?.delivery.lost.aborted).toBe(false);
  settle("accept");
  await expect(invocation).resolves.toEqual({ batchItemFailures: [{ itemIdentifier: "1" }] });
  expect(got).toEqual(["a", "a"]);
});

test.each([
  { has: 60_000, until: 59_000 },
  { has: 5_000, until: 4_000 },
  { has: 3_000, until: 2_400 },
  { has: 500, until: 400 },
])("of a function that has $has ms left, what is not settled after $until is lost", async ({ has, until }) => {
  const { send, invoke, clock, held, left, told } = await started();
  send("slow", "quick");
  const invocation = watch(invoke("orders", remaining(has)));
  await clock.advance(until - 1);
  held[1]?.settle("accept");
  const [slow] = held;
  await clock.advance(0);
  expect([slow?.delivery.lost.aborted, invocation.over()]).toEqual([false, false]);
  await clock.advance(1);
  expect(slow?.delivery.lost.reason).toMatchObject({ message: "The function's time is almost over." });
  expect(invocation.over()).toBe(true);
  await expect(invocation.answer).resolves.toHaveLength(1);
  expect(left()).toEqual(["slow"]);
  expect(told).toEqual(['1 of queue "orders" could not be handled in time, and come again']);
  expect(clock.pending).toBe(0);
});

test("what settles after its deadline changes nothing, and has its place until then", async () => {
  const { send, invoke, clock, got, settle, left } = await started({ maxInFlight: 1 });
  send("a", "b");
  const first = invoke("orders", remaining(10_000));
  await clock.advance(9_000);
  await expect(first).resolves.toHaveLength(2);
  await clock.advance(180_000);
  const second = invoke("orders", remaining(10_000));
  await clock.advance(0);
  expect(got).toEqual(["a"]);
  settle("accept");
  await clock.advance(0);
  expect(got).toEqual(["a", "a"]);
  settle("accept");
  await clock.advance(0);
  settle("accept");
  await expect(second).resolves.toEqual([]);
  expect(left()).toEqual([]);
});

test("a message that is released after its deadline takes nothing back of what came again", async () => {
  const { send, invoke, clock, held, settle } = await started({ ordered: true, maxInFlight: 1_024 });
  send(...key("a1", "a2"));
  const first = invoke("orders.fifo", remaining(10_000));
  await clock.advance(9_000);
  await expect(first).resolves.toHaveLength(2);
  await clock.advance(180_000);
  const second = invoke("orders.fifo", remaining(10_000));
  await clock.advance(0);
  settle("release", 2);
  await clock.advance(0);
  expect(held.map(({ id, delivery }) => [id, delivery.lost.aborted])).toEqual([
    ["a1", false],
    ["a2", false],
  ]);
  settle("accept");
  await expect(second).resolves.toEqual([]);
});

test("without a context a message may take as long as it needs", async () => {
  const { send, invoke, clock, settle, left } = await started();
  send("a");
  const invocation = watch(invoke("orders"));
  await clock.advance(3_600_000);
  expect(invocation.over()).toBe(false);
  settle("accept");
  await expect(invocation.answer).resolves.toEqual([]);
  expect(left()).toEqual([]);
});

test("an invocation that comes before the bus has started waits for it", async () => {
  const { send, invoke, clock, got, settle, start, routes } = await createLambdaReading();
  send("a");
  const invocation = invoke("orders", remaining(10_000));
  await clock.advance(4_000);
  routes.expect(["orders"]);
  await clock.advance(4_000);
  expect(got).toEqual([]);
  await start();
  expect(got).toEqual(["a"]);
  settle("accept");
  await expect(invocation).resolves.toEqual([]);
});

test("it waits until the deadline, and then says what to do", async () => {
  const { send, invoke, clock, queue } = await createLambdaReading();
  send("a");
  const invocation = watch(invoke("orders", remaining(10_000)));
  await clock.advance(8_999);
  expect(invocation.over()).toBe(false);
  await clock.advance(1);
  await expect(invocation.answer).rejects.toMatchObject({
    code: "NOT_STARTED",
    message: expect.stringContaining("await bus.start()") as string,
    details: { queue: queue.arn },
  });
  expect(clock.pending).toBe(0);
});

test("a bus that is closed, or closes meanwhile, handles nothing", async () => {
  const { send, invoke, clock, routes } = await createLambdaReading();
  send("a");
  const invocation = invoke("orders");
  const refused = expect(invocation).rejects.toMatchObject({ code: "CLOSED" });
  await clock.advance(0);
  routes.close();
  await refused;
  send("b");
  await expect(invoke("orders")).rejects.toMatchObject({ code: "CLOSED" });
});

test("between the end of its consumption and the close of the bus an invocation waits, and is refused", async () => {
  const { send, invoke, clock, intake, routes } = await started();
  await intake.consumption.stop();
  send("a");
  const invocation = watch(invoke("orders"));
  await clock.advance(1_000);
  expect(invocation.over()).toBe(false);
  routes.close();
  await expect(invocation.answer).rejects.toMatchObject({ code: "CLOSED" });
});

test("a queue that nothing is for is told at once, and then nothing of the event is handled", async () => {
  const { aws, handler, routes, clock, got } = await started();
  routes.expect(["orders", "orders__delay"]);
  const { body, attributes } = encodeMessage(message({ id: "a" }));
  const event = {
    Records: [aws.queue("orders").arn, elsewhere].map((arn) => recordOf(arn, received({ body, attributes }))),
  };
  await expect(handler(event, remaining(10_000))).rejects.toMatchObject({
    code: "UNDECLARED_CONTRACT",
    message: `Nothing on this bus handles messages of ${elsewhere}: register a handler for its channel before bus.start(), or take its event source mapping away. The bus consumes eu-west-1:123456789012:orders.`,
  });
  expect(got).toEqual([]);
  expect(clock.pending).toBe(0);
});

test.each(["arn:aws:sqs:us-east-1:123456789012:orders", elsewhere])(
  "an invocation that waits is told as soon as it is known that nothing is for %s",
  async (arn) => {
    const { handler, routes } = await createLambdaReading();
    const invocation = handler(eventOf(arn, [received({ body: "b", attributes: {} })]), remaining(10_000));
    const refused = expect(invocation).rejects.toMatchObject({ code: "UNDECLARED_CONTRACT" });
    routes.expect(["orders"]);
    await refused;
  },
);

test("queues are told apart by region and account, and partitions go with regions", async () => {
  const { handler, clock } = await started({ receive: async () => "accept" });
  const from = (arn: string): ReturnType<SqsLambdaHandler> =>
    handler(eventOf(arn, [received({ body: "b", attributes: {} })]), remaining(1_000));
  await expect(from("arn:aws-new:sqs:eu-west-1:123456789012:orders")).resolves.toEqual({ batchItemFailures: [] });
  const refused = expect(from("arn:aws:sqs:eu-west-1:999999999999:orders")).rejects.toMatchObject({
    code: "NOT_STARTED",
    message: expect.stringContaining("consumes eu-west-1:123456789012:orders.") as string,
  });
  await clock.advance(1_000);
  await refused;
});

test("an event without any records is answered with nothing", async () => {
  const { handler } = await createLambdaReading();
  await expect(handler({ Records: [] })).resolves.toEqual({ batchItemFailures: [] });
});

test("messages that wait beside a FIFO queue come by a source of their own: what is due moves on, the rest waits again", async () => {
  const { aws, clock, invoke, got, settle, left } = await started({ ordered: true, maxInFlight: 1_024 });
  const delay = (id: string, forMs: number): void => {
    aws.queue("delayed").accept(encodeMessage(message({ id, key: "k", notBefore: clock.now() + forMs })));
  };
  delay("due", 0);
  delay("soon", 700);
  delay("later", 90_000);
  const invocation = invoke("delayed", remaining(30_000));
  await clock.advance(0);
  expect(left()).toEqual(["due"]);
  await clock.advance(700);
  await expect(invocation).resolves.toEqual([]);
  expect(left()).toEqual(["due", "soon"]);
  expect(aws.queue("delayed").messages.map(({ visibleAt }) => visibleAt - clock.now())).toEqual([89_300]);
  expect(clock.pending).toBe(0);
  const next = invoke("orders.fifo", remaining(30_000));
  await clock.advance(0);
  expect(got).toEqual(["due", "soon"]);
  settle("accept");
  await expect(next).resolves.toEqual([]);
});

test("what cannot be moved on before the deadline stays beside the queue", async () => {
  const { aws, clock, reach, invoke } = await started({ ordered: true, maxInFlight: 1_024 });
  reach.cut();
  aws.queue("delayed").accept(encodeMessage(message({ id: "a", key: "k", notBefore: clock.now() })));
  const invocation = invoke("delayed", remaining(5_000));
  await clock.advance(4_000);
  await expect(invocation).resolves.toHaveLength(1);
  reach.mend();
  await clock.advance(1_000);
  expect([aws.queue("delayed").messages.length, aws.queue("orders.fifo").messages.length]).toEqual([1, 0]);
});
