import { expect, test } from "vitest";
import { z } from "zod";
import type { Bus } from "./bus.ts";
import { queue } from "./channel.ts";
import { createBus } from "./create-bus.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { FakeTransport } from "./fake-transport.fixture.ts";
import { deadLetter } from "./outcome.ts";
import type { Settlement } from "./transport.ts";
import { accepted, failed } from "./transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const Step = queue("steps", { ordered: true }).command("step", {
  schema: z.object({ n: z.number(), key: z.string() }),
  key: ({ key }) => key,
});
const retry = { attempts: 3, backoff: { initialMs: 5_000, maxMs: 5_000, jitter: 0 } };

interface Setup {
  readonly bus: Bus;
  readonly transport: FakeTransport;
  readonly clock: VirtualClock;
  readonly deliver: (n: number, key: string, lost?: AbortSignal) => Promise<Settlement>;
}

function setup(): Setup {
  const transport = createFakeTransport({ delayedDelivery: true, ordering: true });
  const clock = createVirtualClock();
  const bus = createBus({ service: "billing", transport, clock, random: () => 0, retry, observe: () => undefined });
  const deliver: Setup["deliver"] = (n, key, lost) =>
    transport.deliver(
      aMessage({ id: `${key}${n}`, type: "step", key, body: new TextEncoder().encode(JSON.stringify({ n, key })) }),
      lost === undefined ? {} : { lost },
    );
  return { bus, transport, clock, deliver };
}

test("a message that fails blocks its key, and no other, until it is handled", async () => {
  const { bus, transport, clock, deliver } = setup();
  const handled: string[] = [];
  let failures = 1;
  bus.handle(Step, ({ id }) => {
    if (id === "a1" && failures-- > 0) throw new Error("not yet");
    handled.push(id);
  });
  await bus.start();
  const all = Promise.all([deliver(1, "a"), deliver(2, "a"), deliver(1, "b"), deliver(2, "b")]);
  await clock.advance(4_999);
  expect(handled).toEqual(["b1", "b2"]);
  await clock.advance(1);
  expect(handled).toEqual(["b1", "b2", "a1", "a2"]);
  await expect(all).resolves.toEqual(["accept", "accept", "accept", "accept"]);
  expect(transport.batches, "nothing left its place in the order").toEqual([]);
});

test("a dead letter lets the next of its key through", async () => {
  const { bus, deliver, clock } = setup();
  const handled: string[] = [];
  bus.handle(Step, ({ id }) => {
    if (id === "a1") throw deadLetter("broken");
    handled.push(id);
  });
  await bus.start();
  const all = Promise.all([deliver(1, "a"), deliver(2, "a")]);
  await clock.advance(0);
  await expect(all).resolves.toEqual(["accept", "accept"]);
  expect(handled).toEqual(["a2"]);
});

test("on closing all that waits behind a key is released, after what came before it", async () => {
  const { bus, deliver, clock } = setup();
  const gate = Promise.withResolvers<void>();
  bus.handle(Step, () => gate.promise);
  await bus.start();
  const settled: string[] = [];
  for (const n of [1, 2, 3]) void deliver(n, "a").then((settlement) => settled.push(`${n} ${settlement}`));
  await clock.advance(0);
  const closed = bus.close();
  await clock.advance(0);
  gate.resolve();
  await clock.advance(0);
  await closed;
  expect(settled).toEqual(["1 accept", "2 release", "3 release"]);
});

test("after a lost lease the old handler ends before the message begins again", async () => {
  const { bus, deliver, clock } = setup();
  const lost = new AbortController();
  const gate = Promise.withResolvers<void>();
  const begun: string[] = [];
  bus.handle(Step, async ({ id }) => {
    begun.push(id);
    if (begun.length === 1) await gate.promise;
  });
  await bus.start();
  const old = [deliver(1, "a", lost.signal), deliver(2, "a", lost.signal)];
  await clock.advance(0);
  lost.abort();
  const again = [deliver(1, "a"), deliver(2, "a")];
  await clock.advance(0);
  expect(begun).toEqual(["a1"]);
  gate.resolve();
  await clock.advance(0);
  await expect(Promise.all(old)).resolves.toEqual(["release", "release"]);
  await expect(Promise.all(again)).resolves.toEqual(["accept", "accept"]);
  expect(begun).toEqual(["a1", "a1", "a2"]);
});

test("a handler that is overdue keeps its key until it ends, and has failed", async () => {
  const { bus, deliver, clock } = setup();
  const gate = Promise.withResolvers<void>();
  const begun: string[] = [];
  bus.handle(
    Step,
    ({ id }, { attempt }) => {
      begun.push(`${id} ${attempt}`);
      return begun.length === 1 ? gate.promise : undefined;
    },
    { maxHandlingMs: 100, retry: { ...retry, backoff: { initialMs: 0, maxMs: 0 } } },
  );
  await bus.start();
  const all = [deliver(1, "a"), deliver(2, "a")];
  await clock.advance(200);
  expect(begun).toEqual(["a1 1"]);
  gate.resolve();
  await clock.advance(0);
  await Promise.all(all);
  expect(begun).toEqual(["a1 1", "a1 2", "a2 1"]);
});

test("messages of one key that are sent at once go one after the other, also when the broker refuses some", async () => {
  const { bus, transport, clock } = setup();
  bus.declare(Step);
  await bus.start();
  const landed: string[] = [];
  let calls = 0;
  transport.answer = (batch) =>
    Promise.resolve(
      batch.map(({ message }) => {
        if (++calls % 3 === 0) return failed(new PosthornError("REJECTED", "not now"));
        landed.push(`${message.key} ${new TextDecoder().decode(message.body)}`);
        return accepted;
      }),
    );
  const sends: Promise<unknown>[] = [];
  for (let n = 0; n < 20; n++) for (const key of ["a", "b", "c"]) sends.push(bus.send(Step, { n, key }));
  await clock.advance(60_000);
  await Promise.all(sends);
  for (const key of ["a", "b", "c"]) {
    const bodies = landed.filter((text) => text.startsWith(`${key} `)).map((text) => text.slice(2));
    expect(bodies).toEqual(Array.from({ length: 20 }, (_, n) => JSON.stringify({ n, key })));
  }
});
