import { text } from "node:stream/consumers";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { refusal } from "./aws.fixture.ts";
import { createReading } from "./reading.fixture.ts";

const key = (...ids: readonly string[]) => ids.map((id) => ({ id, key: id.charAt(0) }));

test("what arrives is decoded, counted, and has objects of its own", async () => {
  const { start, send, clock, held, settle } = await createReading();
  send({ id: "a", headers: { tenant: "acme" }, key: "k" });
  await start();
  const [first] = held;
  expect(first?.delivery.message).toMatchObject({ id: "a", type: "placed", key: "k" });
  expect({ ...first?.delivery.message.headers }).toEqual({ tenant: "acme" });
  expect(await text(Readable.from([first?.delivery.message.body]))).toBe('{"n":1}');
  expect([first?.delivery.deliveryCount, first?.delivery.defect]).toEqual([1, undefined]);
  settle("release");
  await clock.advance(0);
  expect(held[0]?.delivery.message).toEqual(first?.delivery.message);
  expect(held[0]?.delivery.message).not.toBe(first?.delivery.message);
});

test("what cannot be understood is delivered all the same", async () => {
  const { start, queue, held, clock } = await createReading();
  queue.accept({ body: "?", attributes: { posthorn: "no JSON" } });
  await start();
  await clock.advance(0);
  expect(held[0]?.delivery.defect).toEqual(expect.any(String));
});

test("a receive that breaks its promise never to throw gives back its message", async () => {
  let calls = 0;
  const { start, send, clock, left } = await createReading({
    receive: () => {
      calls++;
      if (calls === 1) throw new Error("It must not.");
      return calls === 2 ? Promise.reject(new Error("Nor this.")) : Promise.resolve("accept");
    },
  });
  send("a");
  await start();
  await clock.advance(100);
  expect(calls).toBe(3);
  expect(left()).toEqual([]);
});

test("a queue that does not exist, and is not ours to make, is UNROUTABLE", async () => {
  const { intake, aws } = await createReading();
  aws.deleteQueue("orders");
  await expect(intake.start(new AbortController().signal)).rejects.toMatchObject({ code: "UNROUTABLE" });
});

test("a start that is given up is ABORTED, and one that is closed meanwhile is CLOSED", async () => {
  for (const code of ["ABORTED", "CLOSED"]) {
    const { intake, reach } = await createReading();
    reach.cut();
    const signal = new AbortController();
    const starting = intake.start(signal.signal);
    if (code === "ABORTED") signal.abort();
    else void intake.close(AbortSignal.abort());
    await expect(starting).rejects.toMatchObject({ code });
  }
});

test("a queue that was deleted is told once, made again, and consumed again; what was in hand is lost", async () => {
  let made = 0;
  const reading = await createReading({
    settings: { visibilitySeconds: 300 },
    restore: async (signal) => {
      made++;
      if (made < 3) throw refusal("QueueDeletedRecently");
      await reading.aws.sqs.createQueue("orders", {}, {}, signal);
      return true;
    },
  });
  const { start, send, clock, aws, told, held, intake, got, settle } = reading;
  send("a");
  await start();
  const [a] = held;
  aws.queues.delete("orders");
  await clock.advance(21_000);
  expect(told).toEqual(["lost"]);
  expect(intake.restoring).toBe(true);
  expect(a?.delivery.lost.aborted).toBe(true);
  await clock.advance(10_000);
  expect(told).toEqual(["lost", "restored"]);
  expect(intake.restoring).toBe(false);
  send("b");
  await clock.advance(0);
  expect(got).toEqual(["a", "b"]);
  settle("accept");
  await clock.advance(1_000);
  expect(reading.left()).toEqual([]);
});

test("a queue that is gone and not ours is told, asked for with backoff, and consumed when it is there again", async () => {
  const { start, send, clock, aws, told, asked, got } = await createReading();
  await start();
  aws.queues.delete("orders");
  await clock.advance(20_000);
  const before = asked("receive orders");
  await clock.advance(60_000);
  expect(told).toEqual(["lost", 'There is no queue "orders", and it is not ours to make']);
  expect(asked("receive orders") - before).toBeLessThan(25);
  const creating = aws.sqs.createQueue("orders", {}, {}, new AbortController().signal);
  await clock.advance(10_000);
  await creating;
  expect(told.slice(2)).toEqual(["restored"]);
  send("a");
  await clock.advance(0);
  expect(got).toEqual(["a"]);
});

test("one refusal that a queue does not exist is not believed", async () => {
  const { start, send, clock, aws, told, got } = await createReading();
  aws.failures.set("receive", [refusal("QueueDoesNotExist")]);
  send("a");
  await start();
  await clock.advance(1_000);
  expect(got).toEqual(["a"]);
  expect(told).toEqual([]);
});

test("what forbids the receiving is told once, what passes only when it lasts, and both are tried again", async () => {
  const { start, send, clock, aws, told, got } = await createReading();
  aws.failures.set(
    "receive",
    Array.from({ length: 6 }, () => refusal("AccessDenied", 403)),
  );
  send("a");
  await start();
  await clock.advance(30_000);
  expect(told).toEqual(['Nothing can be received from queue "orders"']);
  expect(got).toEqual(["a"]);
  const rare = await createReading();
  rare.aws.failures.set("receive", [refusal("ServiceUnavailable", 503), refusal("OverLimit", 403)]);
  rare.send("a");
  await rare.start();
  await rare.clock.advance(10_000);
  expect([rare.told, rare.got]).toEqual([[], ["a"]]);
});

test("dead letters are received from their own queue", async () => {
  const { start, send, got, settle, clock, left } = await createReading({ deadLetters: true });
  send("a");
  await start();
  expect(got).toEqual(["a"]);
  settle("accept");
  await clock.advance(0);
  expect(left()).toEqual([]);
});

test("a key's messages come in order, and what is released of them comes again in order", async () => {
  const { start, send, clock, got, settle, held } = await createReading({ ordered: true, maxInFlight: 1_024 });
  send(...key("a1", "a2", "a3", "b1", "a4"));
  await start();
  await clock.advance(0);
  expect(got).toEqual(["a1", "a2", "a3", "b1", "a4"]);
  settle("accept", 1);
  const lost = held.map(({ delivery }) => delivery.lost);
  for (const one of held.filter(({ id }) => id.startsWith("a"))) one.settle("release");
  await clock.advance(10);
  expect(got.slice(5)).toEqual(["a2", "a3", "a4"]);
  expect(lost.some(({ aborted }) => aborted)).toBe(false);
  expect(held.map(({ id }) => id)).toEqual(["b1", "a2", "a3", "a4"]);
});

test("what follows a released message of its key is taken back with it", async () => {
  const { start, send, clock, got, held } = await createReading({ ordered: true, maxInFlight: 1_024 });
  send(...key("a1", "a2", "a3", "b1"));
  await start();
  const [a1, a2, a3, b1] = held;
  a2?.settle("release");
  await clock.advance(10);
  expect([a1, a3, b1].map((one) => one?.delivery.lost.aborted)).toEqual([false, true, false]);
  a3?.settle("accept");
  await clock.advance(10);
  expect(got).toHaveLength(4);
  a1?.settle("accept");
  await clock.advance(10);
  expect(got.slice(4)).toEqual(["a2", "a3"]);
});

test("what follows a lost lease of its key is lost with it", async () => {
  const { start, send, clock, aws, held, got } = await createReading({ ordered: true, maxInFlight: 1_024 });
  send(...key("a1", "a2", "b1"));
  await start();
  const [a1, a2, b1] = held;
  aws.entryFailures.set("changeVisibility", [
    { ok: false, code: "InvalidParameterValue", message: "The receipt handle has expired.", senderFault: true },
  ]);
  await clock.advance(10_010);
  expect([a1, a2, b1].map((one) => one?.delivery.lost.aborted)).toEqual([true, true, false]);
  await clock.advance(20_000);
  expect(got.slice(3)).toEqual(["a1", "a2"]);
});

test("an ordered group whose delay queue is missing is UNROUTABLE, and nothing of it is received", async () => {
  const { intake, aws, send, got, clock } = await createReading({ ordered: true });
  aws.queues.delete("delayed");
  send("a");
  await expect(intake.start(new AbortController().signal)).rejects.toMatchObject({ code: "UNROUTABLE" });
  await clock.advance(1_000);
  expect(got).toEqual([]);
});

test("when both queues of an ordered group are gone that is told once, and so is their coming back", async () => {
  const reading = await createReading({
    ordered: true,
    restore: async (signal) => {
      await reading.aws.sqs.createQueue("orders.fifo", { FifoQueue: "true" }, {}, signal);
      await reading.aws.sqs.createQueue("delayed", {}, {}, signal);
      return true;
    },
  });
  const { start, clock, aws, told } = reading;
  await start();
  aws.queues.clear();
  await clock.advance(30_000);
  expect(told).toEqual(["lost", "restored"]);
});
