/** The handlers of a bus in AWS Lambda, whose part here the plain AWS SDK plays. */
import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { type Bus, bytes, createBus, deliverAfter, queue, retryAfter, topic } from "@posthorn/core";
import { sqs, sqsLambda, type SqsLambda, type SqsOptions } from "@posthorn/sqs-sns";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { type HttpLink, openHttpLink } from "./brokers/http-link.ts";
import { sqsClients } from "./brokers/sqs-clients.ts";
import { useSqs } from "./brokers-in-use.ts";
import { type EventSourceMapping, mapEventSource } from "./event-source-mapping.ts";
import { startFrozenFunction } from "./instances/frozen-function.ts";
import { CardCharged, ChargeCard } from "./instances/lambda-contracts.ts";

const broker = useSqs();

/** Of every function here, unless a test is about it. */
const timeoutMs = 20_000;
/** What comes again does so after that. */
const visibilitySeconds = 4;

const schema = z.object({ number: z.int() });

function options(): SqsOptions {
  const { endpoint, region, credentials } = broker();
  return { endpoint, region, credentials, visibilitySeconds };
}

function busOf({ transport }: Pick<SqsLambda, "transport">): Bus {
  return createBus({ service: "billing", transport, observe: () => undefined });
}

function map(
  name: string,
  { handler }: Pick<SqsLambda, "handler">,
  functionTimeoutMs = timeoutMs,
): Promise<EventSourceMapping> {
  return mapEventSource({ broker: broker(), queue: name, handler, timeoutMs: functionTimeoutMs });
}

/** Of each invocation, how many messages it brought and how many of these are to come again. */
function answers({ invocations }: EventSourceMapping): readonly (readonly [number, number | undefined])[] {
  return invocations.map(({ event, response }) => [event.Records.length, response?.batchItemFailures.length]);
}

const failedIn = ({ invocations }: EventSourceMapping): number =>
  invocations.reduce((failed, { response }) => failed + (response?.batchItemFailures.length ?? Number.NaN), 0);

test("commands are handled in batches, each once, and leave the queue", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-charges").command("charge", { schema });
  await using bus = busOf(lambda);
  const handled: number[] = [];
  const subscription = bus.handle(Charge, ({ data }) => void handled.push(data.number));
  await bus.start();
  const numbers = Array.from({ length: 45 }, (_, number) => number);
  await Promise.all(numbers.map((number) => bus.send(Charge, { number })));
  await using mapping = await map("lambda-charges", lambda);

  await expect.poll(() => handled.length).toBe(numbers.length);
  await expect.poll(() => subscription.depth()).toMatchObject({ ready: 0, inFlight: 0 });
  expect(handled.toSorted((a, b) => a - b)).toEqual(numbers);
  expect(failedIn(mapping)).toBe(0);
});

test("a handler that fails twice gets its message again, later and by the queue, and no invocation reports a failure", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-retries").command("charge", { schema });
  await using bus = busOf(lambda);
  const attempts: { readonly attempt: number; readonly at: number }[] = [];
  bus.handle(
    Charge,
    (_, { attempt }) => {
      attempts.push({ attempt, at: Date.now() });
      if (attempt < 3) throw new Error("not yet");
    },
    { retry: { attempts: 5, backoff: { initialMs: 1_500, maxMs: 1_500, jitter: 0 } } },
  );
  await bus.start();
  await using mapping = await map("lambda-retries", lambda);
  await bus.send(Charge, { number: 1 });

  await expect.poll(() => attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  const [first, second, third] = attempts.map(({ at }) => at);
  expect([Number(second) - Number(first), Number(third) - Number(second)].every((ms) => ms >= 1_500)).toBe(true);
  await expect.poll(() => answers(mapping)).toEqual(Array.from({ length: 3 }, () => [1, 0]));
});

test("a message whose handler always fails is a dead letter, and its record is done", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-dead").command("charge", { schema });
  await using bus = busOf(lambda);
  const subscription = bus.handle(
    Charge,
    () => {
      throw new Error("never");
    },
    { retry: { attempts: 2, backoff: { initialMs: 50, maxMs: 50 } } },
  );
  await bus.start();
  await using mapping = await map("lambda-dead", lambda);
  const { id } = await bus.send(Charge, { number: 1 });

  await expect.poll(async () => (await subscription.deadLetters.depth()).ready).toBe(1);
  await expect(subscription.deadLetters.browse()).resolves.toMatchObject([
    { reason: "ATTEMPTS_EXHAUSTED", attempts: 2, message: { id } },
  ]);
  await expect.poll(() => answers(mapping)).toEqual([[1, 0]]);
  await expect.poll(() => subscription.depth()).toMatchObject({ ready: 0, inFlight: 0 });
});

test("on an ordered channel a key that fails holds up itself alone, and comes again in its order", async () => {
  const lambda = sqsLambda(options());
  const Step = queue("lambda-steps", { ordered: true }).command("step", {
    schema: z.object({ key: z.string(), number: z.int() }),
    key: ({ key }) => key,
  });
  await using bus = busOf(lambda);
  const steps: string[] = [];
  let failures = 0;
  bus.handle(Step, ({ data: { key, number } }) => {
    steps.push(`${key}${number}`);
    // Longer than the function has.
    if (key === "a" && number === 3 && failures++ === 0) throw retryAfter("1h");
  });
  await bus.start();
  for (let number = 1; number <= 5; number++) for (const key of ["a", "b"]) await bus.send(Step, { key, number });
  await using mapping = await map("lambda-steps.fifo", lambda, 3_000);

  await expect.poll(() => steps.length).toBe(11);
  const of = (key: string): readonly string[] => steps.filter((step) => step.startsWith(key));
  expect(of("a")).toEqual(["a1", "a2", "a3", "a3", "a4", "a5"]);
  expect(of("b")).toEqual(["b1", "b2", "b3", "b4", "b5"]);
  expect(steps.lastIndexOf("b5")).toBeLessThan(steps.lastIndexOf("a3"));
  await expect
    .poll(() => answers(mapping))
    .toEqual([
      [10, 3],
      [3, 0],
    ]);
});

test("what waits beside an ordered channel's queue comes by a second event source, and never early", async () => {
  const lambda = sqsLambda(options());
  const Step = queue("lambda-waits", { ordered: true }).command("step", { schema, key: () => "k" });
  await using bus = busOf(lambda);
  const late: number[] = [];
  let sentAt = 0;
  bus.handle(Step, () => void late.push(Date.now() - sentAt - 2_700));
  await bus.start();
  await using mapping = await map("lambda-waits.fifo", lambda);
  await using beside = await map("lambda-waits__delay", lambda);
  sentAt = Date.now();
  await bus.send(Step, { number: 1 }, deliverAfter(2_700));

  await expect.poll(() => late.length).toBe(1);
  expect(late[0]).toBeGreaterThanOrEqual(0);
  await expect.poll(() => [answers(beside), answers(mapping)]).toEqual([[[1, 0]], [[1, 0]]]);
});

test("a topic's group is an event source like any queue", async () => {
  const lambda = sqsLambda(options());
  const Placed = topic("lambda-events").event("placed", { schema });
  await using bus = busOf(lambda);
  const handled: number[] = [];
  bus.subscribe(Placed, ({ data }) => void handled.push(data.number));
  await bus.start();
  await using mapping = await map("lambda-events--billing", lambda);
  await bus.publish(Placed, { number: 7 });

  await expect.poll(() => handled).toEqual([7]);
  await expect.poll(() => answers(mapping)).toEqual([[1, 0]]);
});

test("what is still handled when the function's time is over is stopped, is all that is reported, and comes again", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-slow").command("charge", { schema });
  await using bus = busOf(lambda);
  const handled: number[] = [];
  const stopped: unknown[] = [];
  bus.handle(Charge, async ({ data: { number } }, { signal }) => {
    if (number === 0 && stopped.length === 0) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      stopped.push(signal.reason);
    } else handled.push(number);
  });
  await bus.start();
  await Promise.all([0, 1, 2].map((number) => bus.send(Charge, { number })));
  await using mapping = await map("lambda-slow", lambda, 2_500);

  await expect.poll(() => handled.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  expect(handled.at(-1)).toBe(0);
  expect(stopped).toEqual([expect.objectContaining({ message: "The function's time is almost over." })]);
  expect(mapping.invocations.map(({ durationMs }) => durationMs < 2_500)).not.toContain(false);
  const [cut] = mapping.invocations.filter(({ response }) => response?.batchItemFailures.length === 1);
  const slow = cut?.event.Records.find(({ body }) => body === JSON.stringify({ number: 0 }));
  expect(cut?.response).toEqual({ batchItemFailures: [{ itemIdentifier: slow?.messageId }] });
  expect(failedIn(mapping)).toBe(1);
});

test("a message of a program that knows no envelope is handled, with its attributes as headers", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-foreign").command("charge", { schema, untyped: true });
  await using bus = busOf(lambda);
  const handled: unknown[] = [];
  bus.handle(Charge, ({ data, headers, id }) => void handled.push({ data, headers, id }));
  await bus.start();
  using clients = sqsClients(broker());
  const QueueUrl = await clients.createQueue("lambda-foreign", { VisibilityTimeout: String(visibilitySeconds) });
  const { MessageId } = await clients.sqs.send(
    new SendMessageCommand({
      QueueUrl,
      MessageBody: '{"number":9}',
      MessageAttributes: { tenant: { DataType: "String", StringValue: "ü" } },
    }),
  );
  await using mapping = await map("lambda-foreign", lambda);

  await expect.poll(() => handled).toEqual([{ data: { number: 9 }, headers: { tenant: "ü" }, id: `sqs:${MessageId}` }]);
  await expect.poll(() => answers(mapping)).toEqual([[1, 0]]);
});

test("bytes that are no text arrive as they were sent by a service that polls", async () => {
  const lambda = sqsLambda(options());
  const Blob = queue("lambda-bytes").document("blob", { codec: bytes });
  await using sender = busOf({ transport: sqs(options()) });
  sender.declare(Blob);
  await sender.start();
  await using bus = busOf(lambda);
  const handled: Uint8Array[] = [];
  bus.handle(Blob, ({ data }) => void handled.push(data));
  await bus.start();
  await using mapping = await map("lambda-bytes", lambda);
  const data = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  await sender.send(Blob, data);

  await expect.poll(() => handled).toEqual([data]);
  await expect.poll(() => answers(mapping)).toEqual([[1, 0]]);
});

test("an invocation during the cold start waits for the bus; one for a queue that nothing handles fails as a whole", async () => {
  const lambda = sqsLambda(options());
  const Charge = queue("lambda-cold").command("charge", { schema });
  using clients = sqsClients(broker());
  const QueueUrl = await clients.createQueue("lambda-other", { VisibilityTimeout: "60" });
  await clients.send(QueueUrl, "{}");
  await using sender = busOf({ transport: sqs(options()) });
  sender.declare(Charge);
  await sender.start();
  await sender.send(Charge, { number: 1 });

  await using bus = busOf(lambda);
  const handled: number[] = [];
  bus.handle(Charge, ({ data }) => void handled.push(data.number));
  await using mapping = await map("lambda-cold", lambda);
  await using other = await map("lambda-other", lambda);
  await expect.poll(() => [mapping.begun, other.begun]).toEqual([1, 1]);
  expect(handled).toEqual([]);
  await bus.start();

  await expect.poll(() => handled).toEqual([1]);
  await expect.poll(() => answers(mapping)).toEqual([[1, 0]]);
  await expect
    .poll(() => other.invocations)
    .toMatchObject([{ response: undefined, error: { code: "UNDECLARED_CONTRACT" } }]);
  await expect(clients.receive(QueueUrl)).resolves.toEqual([]);
});

test.each([
  { what: "are ended meanwhile", strike: (link: HttpLink) => link.end() },
  { what: "are reset meanwhile", strike: (link: HttpLink) => link.cut() },
  {
    what: "break at their next use",
    strike: (link: HttpLink) =>
      link.inject({ kind: "reset", when: "before" }, { actions: ["SendMessageBatch"], times: 1 }),
  },
])(
  "a function that stands still between its invocations, and whose connections $what, misses nothing",
  async ({ strike }) => {
    const link = await openHttpLink(broker().endpoint);
    onTestFinished(() => link.close());
    await using fn = await startFrozenFunction(broker(), link.endpoint, () => strike(link));
    await using bus = busOf({ transport: sqs({ ...options(), visibilitySeconds: 30 }) });
    bus.declare(ChargeCard);
    const results: number[] = [];
    bus.handle(CardCharged, ({ data }) => void results.push(data.number));
    await bus.start();
    await using mapping = await map(ChargeCard.channel.name, fn);
    const numbers = [1, 2, 3];
    for (const number of numbers) {
      const before = mapping.begun;
      await bus.send(ChargeCard, { number });
      await expect.poll(() => results.length).toBe(number);
      expect(mapping.begun - before).toBe(2);
    }

    expect(results).toEqual(numbers);
    await expect.poll(() => answers(mapping)).toEqual(Array.from({ length: 6 }, () => [1, 0]));
    expect(Math.max(...mapping.invocations.map(({ durationMs }) => durationMs))).toBeLessThan(timeoutMs / 2);
  },
);
