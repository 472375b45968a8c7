import type { Message, Verdict, WalkOptions } from "@posthorn/core/transport";
import { deadLetterAddress, inletAddress, sleep } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { Admin } from "./admin.ts";
import { createAdmin } from "./admin.ts";
import type { FakeAws } from "./aws.fixture.ts";
import { createFakeAws, during, noAnswer, refusal } from "./aws.fixture.ts";
import { createPlaces } from "./places.ts";
import type { FakeQueue } from "./queue.fixture.ts";

const never = new AbortController().signal;
const orders = { kind: "queue", name: "orders", ordered: false } as const;
const ledger = { kind: "queue", name: "ledger", ordered: true } as const;
const dead = deadLetterAddress(orders, "orders");
const orderedInlet = inletAddress(ledger, "ledger");

interface Setup {
  readonly clock: VirtualClock;
  readonly aws: FakeAws;
  readonly admin: Admin;
  readonly queue: FakeQueue;
  /** Begins an outage; what it gives back ends it. */
  readonly cut: () => () => void;
  readonly fill: (count: number, to?: FakeQueue) => void;
  readonly walk: (
    visit: (body: string) => Verdict | Promise<Verdict>,
    options?: Partial<WalkOptions>,
    source?: typeof dead | typeof orderedInlet,
  ) => Promise<void>;
}

async function setup(visibilitySeconds = 30): Promise<Setup> {
  const clock = createVirtualClock();
  const aws = createFakeAws(clock);
  let outage = new AbortController();
  let up = Promise.resolve();
  const reach = {
    aws,
    closed: false,
    get outage() {
      return outage.signal;
    },
    async ready(signal: AbortSignal) {
      signal.throwIfAborted();
      const gone = new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      await Promise.race([up, gone]);
    },
  };
  const environment = { clock, random: () => 0 };
  const places = createPlaces({
    reach,
    environment,
    settings: { prefix: "", region: "eu-west-1", accountId: undefined },
  });
  const admin = createAdmin({ reach, places, environment, settings: { prefix: "", visibilitySeconds } });
  for (const name of ["orders", "orders__dlq"]) await aws.sqs.createQueue(name, {}, {}, never);
  await aws.sqs.createQueue("ledger.fifo", { FifoQueue: "true" }, {}, never);
  const queue = aws.queue("orders__dlq");
  return {
    clock,
    aws,
    admin,
    queue,
    cut() {
      const restored = Promise.withResolvers<void>();
      up = restored.promise;
      outage.abort(new Error("cut"));
      return () => {
        outage = new AbortController();
        restored.resolve();
      };
    },
    fill(count, to = queue) {
      for (let n = 0; n < count; n++) to.accept({ body: `m${n}`, attributes: {} });
    },
    walk: (visit, options = {}, source = dead) =>
      admin.walk(source, async ({ body }: Message) => visit(Buffer.from(body).toString()), {
        signal: never,
        limit: 1_000_000,
        maxPending: 1,
        ...options,
      }),
  };
}

const bodies = (queue: FakeQueue): readonly string[] => queue.visible.map(({ body }) => body);
const named = (count: number): readonly string[] => Array.from({ length: count }, (_, n) => `m${n}`);

test("depth counts what waits and what is out; what is delayed is neither", async () => {
  const { aws, admin, clock, fill } = await setup();
  fill(4, aws.queue("orders"));
  aws.queue("orders").accept({ body: "later", attributes: {}, delaySeconds: 60 });
  await aws.sqs.receive(aws.queue("orders").url, { maxMessages: 1, waitSeconds: 0, visibilitySeconds: 30 }, never);
  const depth = admin.depth(inletAddress(orders, "orders"), { signal: never });
  expect(await during(clock, depth)).toEqual({ ready: 3, inFlight: 1, oldestAgeMs: undefined });
});

test("a walk visits each once, oldest first, removes what it is told to, and leaves the rest as it was", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(35);
  const visited: string[] = [];
  const walking = walk((body) => {
    visited.push(body);
    return Number(body.slice(1)) % 2 === 0 ? "remove" : "keep";
  });
  await during(clock, walking);
  expect(visited).toEqual(named(35));
  expect(bodies(queue)).toEqual(named(35).filter((_, n) => n % 2 === 1));
  expect(queue.inFlight).toEqual([]);
  expect(clock.pending).toBe(0);
});

test("it takes no second when SQS says that there was no more, and one where there is nothing", async () => {
  const { clock, fill, walk } = await setup();
  let before = clock.now();
  await during(
    clock,
    walk(() => expect.unreachable("nothing is there")),
  );
  expect(clock.now() - before).toBeGreaterThanOrEqual(1_000);
  fill(12);
  before = clock.now();
  await during(
    clock,
    walk(() => "keep"),
  );
  expect(clock.now() - before).toBeLessThan(1_000);
});

test("it ends where it is told to stop and at its limit, and hides no more from others than it needs", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(30);
  const visited: string[] = [];
  let hidden = 0;
  const look = (body: string): Verdict => {
    visited.push(body);
    hidden = queue.inFlight.length;
    return body === "m4" ? "stop" : "keep";
  };
  await during(clock, walk(look));
  expect([visited.length, hidden]).toEqual([5, 10]);
  await during(clock, walk(look, { limit: 3 }));
  expect([visited.slice(5), hidden]).toEqual([named(3), 3]);
  expect(bodies(queue)).toEqual(named(30));
});

test("at most so many visits are pending, and as many as that", async () => {
  const { clock, fill, walk } = await setup();
  fill(25);
  let pending = 0;
  let most = 0;
  const walking = walk(
    async (): Promise<Verdict> => {
      most = Math.max(most, ++pending);
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 50));
      pending--;
      return "remove";
    },
    { maxPending: 4 },
  );
  await during(clock, walking);
  expect(most).toBe(4);
});

test("what comes while it lasts is none of it, and stays", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(4);
  let visits = 0;
  const walking = walk(async (): Promise<Verdict> => {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 5));
    queue.accept({ body: `new ${++visits}`, attributes: {} });
    return "keep";
  });
  await during(clock, walking);
  expect(visits).toBe(4);
  expect(queue.visible).toHaveLength(8);
});

test("it ends although more and more comes", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(4);
  aws.latencyMs = 1;
  aws.intercept = ({ api }) => {
    if (api === "receive") fill(10);
  };
  await during(
    clock,
    walk(() => "keep"),
  );
  expect(queue.inFlight).toEqual([]);
});

test("what waited is visited although the clock here is behind that of SQS", async () => {
  const { clock, aws, queue, walk } = await setup();
  const place = { body: "x", attributes: {}, groupId: undefined, deduplicationId: undefined, receivedAt: 0 };
  for (let n = 0; n < 15; n++)
    queue.put({
      ...place,
      messageId: `id${n}`,
      sentAt: clock.now() + 60_000,
      visibleAt: 0,
      receiveCount: 0,
      receiptHandle: undefined,
    });
  expect(aws.queue("orders__dlq").visible).toHaveLength(15);
  let visits = 0;
  await during(
    clock,
    walk(() => (++visits, "keep")),
  );
  expect(visits).toBe(15);
});

test("what is held for long is hidden for all of it, with fewer and fewer requests", async () => {
  const { clock, aws, queue, fill, walk } = await setup(6);
  fill(13);
  const walking = walk(async (body): Promise<Verdict> => {
    if (body === "m12") await new Promise<void>((resolve) => clock.setTimeout(resolve, 3_600_000));
    return body === "m3" ? "remove" : "keep";
  });
  for (let minute = 0; minute < 59; minute++) {
    await clock.advance(60_000);
    expect(queue.visible, `minute ${minute}`).toEqual([]);
  }
  await during(clock, walking);
  expect(bodies(queue)).toEqual(named(13).filter((body) => body !== "m3"));
  expect(queue.messages.every(({ receiveCount }) => receiveCount === 1)).toBe(true);
  expect(aws.asked.filter((asked) => asked.startsWith("changeVisibility")).length).toBeLessThan(50);
  expect(clock.pending).toBe(0);
});

test("a renewal that fails is made again; one that is refused for good ends the walk", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(3);
  aws.failures.set("changeVisibility", [refusal("RequestThrottled"), refusal("InternalError", 500)]);
  const hold = Promise.withResolvers<Verdict>();
  const walking = walk(() => hold.promise);
  await clock.advance(60_000);
  expect(queue.visible).toEqual([]);
  const stale = { ok: false, code: "ReceiptHandleIsInvalid", message: "no", senderFault: true } as const;
  aws.entryFailures.set("changeVisibility", [stale]);
  await expect(during(clock, walking)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("a removal for which SQS has no answer is made again, and is made once", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(12);
  aws.failures.set("delete", [refusal("RequestThrottled")]);
  aws.lostAnswers.set("delete", [noAnswer()]);
  aws.entryFailures.set("delete", [
    { ok: false, code: "InternalError", message: "later", senderFault: false },
    undefined,
  ]);
  await during(
    clock,
    walk(() => "remove", { maxPending: 12 }),
  );
  expect(queue.messages).toEqual([]);
});

test("a removal that is refused for good is told, and the message is given back", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(2);
  const refused = async (): Promise<unknown> =>
    during(
      clock,
      walk(() => "remove", { limit: 2 }).catch((error: unknown) => error),
    );
  aws.failures.set("delete", [refusal("AccessDenied", 403), refusal("QueueDoesNotExist")]);
  expect(await refused()).toMatchObject({ code: "ACCESS_REFUSED" });
  expect(await refused()).toMatchObject({ code: "UNROUTABLE" });
  const wrong = { ok: false, code: "Odd", message: "no", senderFault: true } as const;
  aws.entryFailures.set("delete", [wrong, wrong]);
  expect(await refused()).toMatchObject({
    code: "TRANSPORT_FAILED",
    message: expect.stringContaining("Odd") as string,
  });
  expect(queue.visible).toHaveLength(2);
  expect(clock.pending).toBe(0);
});

test("a visit that rejects ends the walk with its error, and what was said before it counts", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(8);
  const failure = new RangeError("enough");
  const visited: string[] = [];
  const walking = walk(async (body): Promise<Verdict> => {
    visited.push(body);
    if (body === "m3") throw failure;
    return body === "m1" ? "remove" : "keep";
  });
  await expect(during(clock, walking)).rejects.toBe(failure);
  expect(visited).toEqual(named(4));
  expect(bodies(queue)).toEqual(named(8).filter((body) => body !== "m1"));
});

test("when the signal fires it ends at once, and everything comes back", async () => {
  const { clock, aws, admin, queue, fill, walk } = await setup();
  fill(13);
  const giveUp = new AbortController();
  const hold = Promise.withResolvers<Verdict>();
  let pending = 0;
  const walking = walk(() => (pending++, hold.promise), { signal: giveUp.signal, maxPending: 3 });
  await clock.advance(100);
  expect(pending).toBe(3);
  aws.latencyMs = 50;
  giveUp.abort();
  await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
  await during(clock, admin.settled());
  expect(bodies(queue)).toEqual(named(13));
  hold.resolve("remove");
  await clock.advance(1_000);
  expect([queue.messages.length, pending]).toEqual([13, 3]);
  await expect(walk(() => "remove", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  expect(clock.pending).toBe(0);
});

test("what a receive brings after the walk was given up comes back, too", async () => {
  const { clock, aws, admin, queue, fill, walk } = await setup();
  fill(5);
  const giveUp = new AbortController();
  const answer = Promise.withResolvers<void>();
  aws.intercept = async ({ api }) => {
    if (api === "receive") await answer.promise;
  };
  const walking = walk(() => "remove", { signal: giveUp.signal });
  await clock.advance(100);
  giveUp.abort();
  await expect(walking).rejects.toMatchObject({ code: "ABORTED" });
  answer.resolve();
  await during(clock, admin.settled());
  expect([queue.visible.length, queue.messages[0]?.receiveCount]).toEqual([5, 1]);
});

test("in an outage it ends with CONNECTION_LOST, and what it held is given back when that is over", async () => {
  const { clock, admin, queue, fill, cut, walk } = await setup();
  fill(5);
  const hold = Promise.withResolvers<Verdict>();
  const walking = walk(() => hold.promise);
  await clock.advance(100);
  const restore = cut();
  await expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await clock.advance(5_000);
  expect(queue.visible).toEqual([]);
  restore();
  await during(clock, admin.settled());
  expect(bodies(queue)).toEqual(named(5));
});

test("in an outage that lasts it is over when SQS has given everything back by itself", async () => {
  const { clock, admin, queue, fill, cut, walk } = await setup();
  fill(5);
  const walking = walk(() => new Promise<Verdict>(() => undefined));
  await clock.advance(100);
  cut();
  await expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await clock.advance(31_000);
  await admin.settled();
  expect(queue.visible).toHaveLength(5);
  expect(clock.pending).toBe(0);
});

test("a request without an answer ends it with CONNECTION_LOST", async () => {
  const { clock, aws, fill, walk } = await setup();
  fill(5);
  aws.failures.set("receive", [refusal("RequestThrottled"), noAnswer()]);
  await expect(
    during(
      clock,
      walk(() => "keep"),
    ),
  ).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("two walks at a time visit no message both", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(40);
  aws.latencyMs = 3;
  const visited: string[] = [];
  const look = async (body: string): Promise<Verdict> => {
    visited.push(body);
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 7));
    return "remove";
  };
  await during(clock, Promise.all([walk(look, { exclusive: true }), walk(look, { exclusive: true })]));
  expect(visited.toSorted()).toEqual(named(40).toSorted());
  expect(queue.messages).toEqual([]);
});

test("an account that may not look at the queue's attributes can walk, and has no depth", async () => {
  const { clock, aws, admin, fill, walk } = await setup();
  fill(12);
  aws.intercept = ({ api }) => {
    if (api === "queueAttributes") throw refusal("AccessDenied", 403);
  };
  let visits = 0;
  await during(
    clock,
    walk(() => (++visits, "keep")),
  );
  expect(visits).toBe(12);
  await expect(during(clock, admin.depth(dead, { signal: never }))).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
});

test("what does not exist is unroutable, also when it was there a moment ago", async () => {
  const { clock, aws, admin } = await setup();
  expect(await during(clock, admin.depth(dead, { signal: never }))).toMatchObject({ ready: 0 });
  aws.deleteQueue("orders__dlq");
  for (let round = 0; round < 2; round++)
    await expect(during(clock, admin.depth(dead, { signal: never }))).rejects.toMatchObject({ code: "UNROUTABLE" });
});

test("purging removes all that waits and counts it", async () => {
  const { clock, queue, fill, admin } = await setup();
  fill(137);
  expect(await during(clock, admin.purge(dead, { signal: never }))).toBe(137);
  expect(queue.messages).toEqual([]);
  expect(await during(clock, admin.purge(dead, { signal: never }))).toBe(0);
});

test("a purge that is given up ends at once, and what it did not remove comes back", async () => {
  const { clock, aws, queue, fill, admin } = await setup();
  fill(500);
  aws.latencyMs = 20;
  const giveUp = new AbortController();
  const purging = admin.purge(dead, { signal: giveUp.signal });
  const outcome = expect(purging).rejects.toMatchObject({ code: "ABORTED" });
  await clock.advance(100);
  giveUp.abort();
  await outcome;
  await during(clock, admin.settled());
  expect(queue.messages.length).toBeGreaterThan(0);
  expect(queue.inFlight).toEqual([]);
});

test("a purge of an ordered inlet ends when one of its requests is refused, whatever the others bring after that", async () => {
  const { clock, aws, admin } = await setup();
  const inlet = aws.queue("ledger.fifo");
  inlet.accept({ body: "m0", attributes: {}, groupId: "g", deduplicationId: "d" });
  let receives = 0;
  aws.intercept = async ({ api, signal }) => {
    if (api !== "receive") return;
    if (++receives === 1) throw refusal("AccessDenied", 403);
    await sleep(clock, 10, signal);
  };
  await expect(during(clock, admin.purge(orderedInlet, { signal: never }))).rejects.toMatchObject({
    code: "ACCESS_REFUSED",
  });
  expect(inlet.visible).toHaveLength(1);
});

test("nothing is given back before a renewal that is under way is over: it would hide the messages again", async () => {
  const { clock, aws, queue, fill, walk } = await setup();
  fill(5);
  const gate = Promise.withResolvers<void>();
  aws.intercept = ({ api }) => (api === "changeVisibility" ? gate.promise : undefined);
  const visit = Promise.withResolvers<Verdict>();
  const walking = walk(() => visit.promise, { maxPending: 5 });
  const renewals = (): number => aws.asked.filter((asked) => asked.startsWith("changeVisibility")).length;
  await clock.advance(11_000);
  expect(renewals()).toBe(1);
  visit.resolve("keep");
  await clock.advance(2_000);
  expect(renewals()).toBe(1);
  gate.resolve();
  await during(clock, walking);
  expect(renewals()).toBe(2);
  expect(queue.visible).toHaveLength(5);
});

test("of an ordered inlet the first ten of a key are seen, and all when these are removed", async () => {
  const { clock, aws, walk, admin } = await setup();
  const fifo = aws.queue("ledger.fifo");
  for (let n = 0; n < 25; n++)
    fifo.accept({ body: `m${n}`, attributes: {}, groupId: "key", deduplicationId: String(n) });
  const visited: string[] = [];
  const look = (verdict: Verdict) => (body: string) => (visited.push(body), verdict);
  await during(clock, walk(look("keep"), {}, orderedInlet));
  expect(visited).toEqual(named(10));
  visited.length = 0;
  await during(clock, walk(look("remove"), { limit: 15 }, orderedInlet));
  expect(visited).toEqual(named(15));
  expect(bodies(fifo)).toEqual(named(25).slice(15));
  expect(await during(clock, admin.purge(orderedInlet, { signal: never }))).toBe(10);
});

test("a walk can go through more than SQS gives in many answers, and holds only handles of it", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(3_000);
  let visits = 0;
  await during(
    clock,
    walk(() => (++visits % 3 === 0 ? "remove" : "keep"), { maxPending: 16 }),
  );
  expect(visits).toBe(3_000);
  expect(queue.visible).toHaveLength(2_000);
});

test("what SQS delivers once more, held or removed, is not visited again, and what was removed is removed", async () => {
  const { clock, queue, fill, walk } = await setup();
  fill(12);
  const visited: string[] = [];
  const walking = walk(async (body): Promise<Verdict> => {
    visited.push(body);
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 10));
    if (body === "m11")
      for (const index of [0, 1]) {
        const again = copies[index];
        if (again !== undefined) queue.put({ ...again, visibleAt: clock.now(), receiptHandle: undefined });
      }
    return body === "m0" ? "remove" : "keep";
  });
  const copies = queue.messages.slice(0, 2);
  await during(clock, walking);
  expect(visited).toEqual(named(12));
  expect(queue.messages.some(({ body }) => body === "m0")).toBe(false);
});

test("after twelve hours, when SQS lets nobody have a message any longer, a walk ends", async () => {
  const { clock, queue, fill, walk } = await setup(900);
  fill(2);
  const walking = walk(() => new Promise<Verdict>(() => undefined));
  const outcome = expect(walking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  for (let hour = 0; hour < 13; hour++) await clock.advance(3_600_000);
  await outcome;
  expect(queue.visible).toHaveLength(2);
  expect(clock.pending).toBe(0);
});
