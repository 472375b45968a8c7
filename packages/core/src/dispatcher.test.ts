import { describe, expect, test } from "vitest";
import { channelAddress } from "./address.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { createDispatcher } from "./dispatcher.ts";
import { PosthornError } from "./errors.ts";
import { aMessage, createFakeTransport } from "./fake-transport.fixture.ts";
import type { FakeTransport } from "./fake-transport.fixture.ts";
import type { BusEvent } from "./observe.ts";
import type { Receipt } from "./transport.ts";
import { accepted, failed } from "./transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const orders = channelAddress({ kind: "queue", name: "orders", ordered: false });
const emails = channelAddress({ kind: "queue", name: "emails", ordered: false });
const lost = failed(new PosthornError("CONNECTION_LOST", "the connection is down"));
const unknown = failed(new PosthornError("UNKNOWN_OUTCOME", "no answer"));
const unroutable = failed(new PosthornError("UNROUTABLE", "no such queue"));

interface Setup {
  readonly dispatcher: Dispatcher;
  readonly transport: FakeTransport;
  readonly clock: VirtualClock;
  readonly events: BusEvent[];
}

function setup(bounds: { maxPendingMessages?: number; maxPendingBytes?: number } = {}): Setup {
  const transport = createFakeTransport();
  const clock = createVirtualClock();
  const events: BusEvent[] = [];
  const dispatcher = createDispatcher({
    transport,
    clock,
    random: () => 0,
    observe: (event) => void events.push(event),
    maxPendingMessages: 1_000,
    maxPendingBytes: 1_000_000,
    ...bounds,
  });
  return { dispatcher, transport, clock, events };
}

const ids = (transport: FakeTransport): string[][] =>
  transport.batches.map((batch) => batch.map((outbound) => outbound.message.id));

describe("natural batching", () => {
  test("the first message goes at once, what comes meanwhile goes together", async () => {
    const { dispatcher, transport } = setup();
    const sent = ["a", "b", "c"].map((id) => dispatcher.dispatch(orders, aMessage({ id }), 1_000));
    await Promise.all(sent);
    expect(ids(transport)).toEqual([["a"], ["b", "c"]]);
    expect(dispatcher.pending).toBe(0);
  });

  test("one address does not wait for another", async () => {
    const { dispatcher, transport } = setup();
    transport.answer = (batch) =>
      batch[0]?.address === orders ? new Promise(() => undefined) : Promise.resolve(batch.map(() => accepted));
    void dispatcher.dispatch(orders, aMessage(), 60_000).catch(() => undefined);
    await expect(dispatcher.dispatch(emails, aMessage(), 1_000)).resolves.toBeUndefined();
  });
});

describe("retries", () => {
  test("what was not sent is tried again, before what came later, until it is accepted", async () => {
    const { dispatcher, transport, clock, events } = setup();
    const answers: Receipt[][] = [[lost], [lost, lost], [accepted, accepted]];
    transport.answer = () => Promise.resolve(answers.shift() ?? []);
    const sent = ["a", "b"].map((id) => dispatcher.dispatch(orders, aMessage({ id }), 10_000));
    await clock.advance(5_000);
    await Promise.all(sent);
    expect(ids(transport)).toEqual([["a"], ["a", "b"], ["a", "b"]]);
    expect(events.filter((event) => event.name === "publish.retried")).toHaveLength(2);
  });

  test("one bad message fails alone", async () => {
    const { dispatcher, transport } = setup();
    const first = dispatcher.dispatch(orders, aMessage({ id: "first" }), 1_000);
    transport.answer = () => Promise.resolve([accepted, unroutable, accepted]);
    const rest = ["a", "b", "c"].map((id) => dispatcher.dispatch(orders, aMessage({ id }), 1_000));
    await first;
    const results = await Promise.allSettled(rest);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(results[1]).toMatchObject({ reason: { code: "UNROUTABLE" } });
  });
});

describe("deadlines", () => {
  test("a message that was never sent times out as not sent", async () => {
    const { dispatcher, transport, clock } = setup();
    transport.answer = () => Promise.resolve([lost]);
    const sent = expect(dispatcher.dispatch(orders, aMessage(), 2_000)).rejects.toMatchObject({
      code: "PUBLISH_TIMEOUT",
    });
    await clock.advance(2_100);
    await sent;
  });

  test("a message that may have landed ends as an unknown outcome, whatever the later tries said", async () => {
    const { dispatcher, transport, clock } = setup();
    const answers = [[unknown]];
    transport.answer = () => Promise.resolve(answers.shift() ?? [lost]);
    const sent = expect(dispatcher.dispatch(orders, aMessage(), 2_000)).rejects.toMatchObject({
      code: "UNKNOWN_OUTCOME",
    });
    await clock.advance(2_100);
    await sent;
  });

  test("a dispatch that hangs is aborted, and its receipts decide", async () => {
    const { dispatcher, transport, clock } = setup();
    transport.answer = (_batch, signal) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve([unknown])));
    const sent = expect(dispatcher.dispatch(orders, aMessage(), 500)).rejects.toMatchObject({
      code: "UNKNOWN_OUTCOME",
    });
    await clock.advance(600);
    await sent;
    expect(dispatcher.pending).toBe(0);
    expect(clock.pending).toBe(0);
  });

  test("an abort takes back what waits and tells of what is under way that it may have been accepted", async () => {
    const { dispatcher, transport } = setup();
    transport.answer = () => new Promise(() => undefined);
    const controller = new AbortController();
    const flying = dispatcher.dispatch(orders, aMessage({ id: "flying" }), 1_000, controller.signal);
    const waiting = dispatcher.dispatch(orders, aMessage({ id: "waiting" }), 1_000, controller.signal);
    controller.abort();
    await expect(flying).rejects.toMatchObject({ code: "ABORTED", details: { mayHaveBeenAccepted: true } });
    await expect(waiting).rejects.toMatchObject({ code: "ABORTED", details: { mayHaveBeenAccepted: false } });
    expect(dispatcher.pending).toBe(0);
  });
});

describe("a transport that answers late or wrongly", () => {
  const onlyWhenAborted: FakeTransport["answer"] = (batch, signal) =>
    new Promise((resolve) => signal.addEventListener("abort", () => resolve(batch.map(() => unknown))));

  test("when everyone who waited has given up, the address goes on", async () => {
    const { dispatcher, transport } = setup();
    const healthy = transport.answer;
    transport.answer = onlyWhenAborted;
    const controller = new AbortController();
    const given = dispatcher.dispatch(orders, aMessage(), 60_000, controller.signal);
    transport.answer = healthy;
    const next = dispatcher.dispatch(orders, aMessage(), 60_000);
    controller.abort();
    await expect(given).rejects.toMatchObject({ code: "ABORTED" });
    await expect(next).resolves.toBeUndefined();
  });

  test("a short timeout ends its own message, and leaves the others of its batch under way", async () => {
    const { dispatcher, transport, clock } = setup();
    let answer: (() => void) | undefined;
    const first = dispatcher.dispatch(orders, aMessage({ id: "first" }), 60_000);
    transport.answer = (batch) => new Promise((resolve) => (answer = () => resolve(batch.map(() => accepted))));
    const short = expect(dispatcher.dispatch(orders, aMessage({ id: "short" }), 100)).rejects.toMatchObject({
      code: "UNKNOWN_OUTCOME",
    });
    const long = dispatcher.dispatch(orders, aMessage({ id: "long" }), 60_000);
    await first;
    await clock.advance(1_000);
    await short;
    answer?.();
    await expect(long).resolves.toBeUndefined();
    expect(ids(transport)).toEqual([["first"], ["short", "long"]]);
  });

  test("one that ignores its abort does not hold up its senders for long, nor those who come later", async () => {
    const { dispatcher, transport, clock } = setup();
    const healthy = transport.answer;
    transport.answer = () => new Promise(() => undefined);
    const sent = expect(dispatcher.dispatch(orders, aMessage(), 100)).rejects.toMatchObject({
      code: "UNKNOWN_OUTCOME",
    });
    transport.answer = healthy;
    await clock.advance(2_000);
    await sent;
    await expect(dispatcher.dispatch(orders, aMessage(), 1_000)).resolves.toBeUndefined();
  });

  test.each([
    [
      "throws",
      (): Promise<readonly Receipt[]> => {
        throw new Error("broken");
      },
      "TRANSPORT_FAILED",
    ],
    ["rejects", () => Promise.reject(new Error("broken")), "TRANSPORT_FAILED"],
  ])("one that %s fails the messages, and nothing else", async (_what, answer, code) => {
    const { dispatcher, transport } = setup();
    const healthy = transport.answer;
    transport.answer = answer;
    await expect(dispatcher.dispatch(orders, aMessage(), 1_000)).rejects.toMatchObject({ code });
    transport.answer = healthy;
    await expect(dispatcher.dispatch(orders, aMessage(), 1_000)).resolves.toBeUndefined();
  });

  test("one that gives too few receipts leaves the outcome unknown, and the message is sent again", async () => {
    const { dispatcher, transport, clock } = setup();
    const healthy = transport.answer;
    transport.answer = () => Promise.resolve(undefined as never);
    const sent = dispatcher.dispatch(orders, aMessage(), 10_000);
    await clock.advance(0);
    transport.answer = healthy;
    await clock.advance(1_000);
    await expect(sent).resolves.toBeUndefined();
  });
});

describe("bounds", () => {
  test("one message over the count is refused at once", async () => {
    const { dispatcher, transport } = setup({ maxPendingMessages: 2 });
    transport.answer = () => new Promise(() => undefined);
    for (const id of ["a", "b"]) void dispatcher.dispatch(orders, aMessage({ id }), 1_000).catch(() => undefined);
    await expect(dispatcher.dispatch(orders, aMessage(), 1_000)).rejects.toMatchObject({ code: "BUFFER_FULL" });
  });

  test("bytes count as well", async () => {
    const { dispatcher, transport } = setup({ maxPendingBytes: 10 });
    transport.answer = () => new Promise(() => undefined);
    const send = (size: number): Promise<void> =>
      dispatcher.dispatch(orders, aMessage({ body: new Uint8Array(size) }), 1_000);
    send(6).catch(() => undefined);
    await expect(send(6)).rejects.toMatchObject({ code: "BUFFER_FULL", retryable: true });
    await expect(send(11)).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE", retryable: false });
  });
});

describe("closing", () => {
  test("everything pending is rejected, and nothing is taken any more", async () => {
    const { dispatcher, transport } = setup();
    transport.answer = (_batch, signal) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve([unknown])));
    const flying = dispatcher.dispatch(orders, aMessage({ id: "flying" }), 1_000);
    const waiting = dispatcher.dispatch(orders, aMessage({ id: "waiting" }), 1_000);
    const closed = dispatcher.close();
    await expect(flying).rejects.toMatchObject({ code: "UNKNOWN_OUTCOME" });
    await expect(waiting).rejects.toMatchObject({ code: "CLOSED" });
    await closed;
    await expect(dispatcher.dispatch(orders, aMessage(), 1_000)).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("drained resolves once the last one is settled", async () => {
    const { dispatcher } = setup();
    const sent = dispatcher.dispatch(orders, aMessage(), 1_000);
    await dispatcher.drained();
    await sent;
    expect(dispatcher.pending).toBe(0);
  });
});
