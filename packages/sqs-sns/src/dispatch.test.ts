import type { Address, Message, Receipt } from "@posthorn/core/transport";
import { channelAddress, deadLetterAddress, inletAddress, messageBytes, PosthornError } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { describe, expect, test, vi } from "vitest";
import type { Aws, EntryResult, SendEntry } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { decodeMessage } from "./decode.ts";
import { createDispatch } from "./dispatch.ts";
import { closedError, unroutable } from "./errors.ts";
import type { Place } from "./places.ts";
import { received } from "./received.fixture.ts";
import { largestMessage } from "./wire.ts";

const waiting = { signal: new AbortController().signal };
const queue = { kind: "queue", name: "orders", ordered: false } as const;
const topic = { kind: "topic", name: "events", ordered: false } as const;
const orderedQueue = { ...queue, ordered: true } as const;
const orderedTopic = { ...topic, ordered: true } as const;
const maxMessageBytes = 500_000;
const start = Date.UTC(2026, 0, 1);

/** One request that the fake was asked for. */
interface Request {
  /** The queue's URL or the topic's ARN. */
  readonly to: string;
  readonly entries: readonly SendEntry[];
}

type Answer = readonly (EntryResult | undefined)[];

function open() {
  const clock = createVirtualClock(start);
  const requests: Request[] = [];
  const forgotten: string[] = [];
  const blocked: (string | undefined)[] = [];
  let underWay = 0;
  const fake = {
    mostUnderWay: 0,
    /** Answers a request; by default all is well. */
    answer: (_request: Request, _signal: AbortSignal): Answer | Promise<Answer> => _request.entries.map(() => ok),
    find: (address: Address): Place | Promise<Place> => placeOf(address),
    ready: async (): Promise<void> => undefined,
    closed: false,
  };
  const send = async (to: string, entries: readonly SendEntry[], signal: AbortSignal) => {
    requests.push({ to, entries });
    fake.mostUnderWay = Math.max(fake.mostUnderWay, ++underWay);
    await Promise.resolve();
    try {
      return (await fake.answer({ to, entries }, signal)) as readonly EntryResult[];
    } finally {
      underWay--;
    }
  };
  const dispatch = createDispatch({
    reach: {
      aws: { sqs: { send }, sns: { publish: send } } as unknown as Aws,
      ready: () => fake.ready(),
      get closed() {
        return fake.closed;
      },
    },
    places: {
      find: async (address) => fake.find(address),
      delayQueue: async ({ channel, group }) => `delay:${channel.name}:${group}`,
      forget: (address) => void forgotten.push(address.id),
    },
    settings: { maxMessageBytes, longestDelayMs: 900_000 },
    onBlocked: (reason) => void blocked.push(reason),
    environment: { clock, random: () => 0 },
  });
  const to = (address: Address, ...messages: Message[]): Promise<readonly Receipt[]> =>
    dispatch(
      messages.map((message) => ({ address, message })),
      waiting,
    );
  return { fake, clock, requests, forgotten, blocked, dispatch, to };
}

const ok: EntryResult = { ok: true };

function placeOf(address: Address): Place {
  if (address.kind === "reply") throw new Error("No replies.");
  const fifo = address.channel.ordered;
  return address.kind === "channel" && address.channel.kind === "topic"
    ? { kind: "topic", arn: `arn:${address.id}`, fifo }
    : { kind: "queue", url: `url:${address.id}`, fifo };
}

let lastId = 0;

function message(more: Partial<Message> = {}): Message {
  return {
    id: `m${++lastId}`,
    type: "placed",
    version: 1,
    source: "shop",
    time: start,
    attempt: 1,
    contentType: "application/json",
    headers: {},
    body: Buffer.from("{}"),
    ...more,
  } as Message;
}

function messages(count: number, more: Partial<Message> = {}): Message[] {
  return Array.from({ length: count }, () => message(more));
}

function idsOf(request: Request | undefined): string[] {
  return (request?.entries ?? []).map((entry) => decodeMessage(received(entry)).message.id);
}

function codes(receipts: readonly Receipt[]): string[] {
  return receipts.map((receipt) => (receipt.accepted ? "accepted" : receipt.error.code));
}

function refusal(code: string, httpStatus = 400): RequestFailure {
  return new RequestFailure(`It says ${code}.`, { sent: true, code, httpStatus });
}

const noAnswer = new RequestFailure("socket hang up", { sent: true });
const notConnected = new RequestFailure("connect ECONNREFUSED", { sent: false });

function entryFailure(code: string, senderFault: boolean): EntryResult {
  return { ok: false, code, message: `It says ${code}.`, senderFault };
}

describe("where messages go", () => {
  test("nothing goes nowhere", async () => {
    const { dispatch, requests } = open();
    expect(await dispatch([], waiting)).toEqual([]);
    expect(requests).toEqual([]);
  });

  test("to a queue, or to a topic", async () => {
    const { to, requests } = open();
    for (const address of [
      channelAddress(queue),
      channelAddress(topic),
      inletAddress(topic, "audit"),
      deadLetterAddress(topic, "audit"),
    ])
      expect(codes(await to(address, message()))).toEqual(["accepted"]);
    expect(requests.map((request) => request.to)).toEqual([
      "url:channel:queue:orders",
      "arn:channel:topic:events",
      "url:inlet:topic:events:audit",
      "url:dead-letters:topic:events:audit",
    ]);
    for (const { entries } of requests) expect(Object.keys(entries[0] ?? {})).toEqual(["body", "attributes"]);
  });

  test("there are no reply inboxes", async () => {
    const { to } = open();
    expect(codes(await to({ kind: "reply", id: "reply:x", inbox: "x" }, message(), message()))).toEqual([
      "UNSUPPORTED_CAPABILITY",
      "UNSUPPORTED_CAPABILITY",
    ]);
  });
});

describe("batches", () => {
  test("ten go in a request, and four requests at a time, also where each key has its order", async () => {
    for (const channel of [queue, topic, orderedQueue, orderedTopic]) {
      const { to, requests, fake } = open();
      const all = messages(95).map((each, n) => ({ ...each, key: `k${n}` }));
      expect(codes(await to(channelAddress(channel), ...all))).toEqual(Array(95).fill("accepted"));
      expect(requests.map(({ entries }) => entries.length)).toEqual([...Array<number>(9).fill(10), 5]);
      expect(requests.flatMap(idsOf)).toEqual(all.map(({ id }) => id));
      expect(fake.mostUnderWay).toBe(4);
    }
  });

  test("dead letters go one request after the other, in the order in which they died", async () => {
    for (const channel of [queue, orderedQueue]) {
      const { to, requests, fake } = open();
      const all = messages(35);
      await to(deadLetterAddress(channel, "orders"), ...all);
      expect(requests.flatMap(idsOf)).toEqual(all.map(({ id }) => id));
      expect({ requests: requests.length, most: fake.mostUnderWay }).toEqual({ requests: 4, most: 1 });
    }
  });

  test("a request has no more bytes than a message may have; to a topic no more than SNS takes", async () => {
    const body = Buffer.alloc(90_000, "x");
    const { to, requests } = open();
    await to(channelAddress(queue), ...messages(9, { body }));
    await to(channelAddress(topic), ...messages(5, { body }), message({ body: Buffer.alloc(300_000, "x") }), message());
    expect(requests.map(({ entries }) => entries.length)).toEqual([5, 4, 2, 2, 1, 1, 1]);
  });
});

describe("what is too large, or cannot be written", () => {
  const largest = largestMessage(maxMessageBytes);
  const fits = (): Message => {
    const empty = message({ body: new Uint8Array() });
    return { ...empty, body: new Uint8Array(largest - messageBytes(empty)).fill(0xff) };
  };

  test("one byte too many fails alone, with both figures, and nothing of it is sent", async () => {
    const { to, requests } = open();
    const large = fits();
    const larger = { ...large, body: new Uint8Array(large.body.byteLength + 1) };
    const receipts = await to(channelAddress(queue), message(), larger, large);
    expect(codes(receipts)).toEqual(["accepted", "MESSAGE_TOO_LARGE", "accepted"]);
    const [, refused] = receipts;
    expect(refused?.accepted === false && refused.error.details).toEqual({
      bytes: largest + 1,
      maxMessageBytes: largest,
    });
    expect(requests.map(({ entries }) => entries.length)).toEqual([2]);
  });

  test("headers that need more room than most are refused by what they take", async () => {
    const { to, requests } = open();
    const receipts = await to(channelAddress(queue), message({ headers: { long: "\u0001".repeat(100_000) } }));
    expect(codes(receipts)).toEqual(["MESSAGE_TOO_LARGE"]);
    expect(requests).toEqual([]);
  });

  test("a message that cannot be encoded fails alone", async () => {
    const { to } = open();
    const broken = Object.defineProperty(message(), "headers", {
      get() {
        throw new Error("broken");
      },
    });
    expect(codes(await to(channelAddress(queue), message(), broken, message()))).toEqual([
      "accepted",
      "TRANSPORT_FAILED",
      "accepted",
    ]);
  });
});

describe("delays", () => {
  const in_ = (ms: number): Message => message({ notBefore: start + ms });
  const delays = [-5_000, 0, 999, 1_000, 2_999, 900_000, 10 ** 12];

  test("are whole seconds, and never longer than SQS can", async () => {
    for (const address of [channelAddress(queue), inletAddress(queue, "orders"), inletAddress(topic, "audit")]) {
      const { to, requests } = open();
      await to(
        address,
        ...delays.map(in_),
        message(),
        message({ notBefore: Infinity }),
        message({ notBefore: Number.NaN }),
      );
      expect(requests[0]?.entries.map(({ delaySeconds }) => delaySeconds)).toEqual([
        undefined,
        undefined,
        undefined,
        1,
        2,
        900,
        900,
        undefined,
        900,
        undefined,
      ]);
    }
  });

  test("dead letters and what goes to a topic have none", async () => {
    const { to, requests } = open();
    for (const channel of [queue, topic, orderedQueue, orderedTopic]) {
      await to(deadLetterAddress(channel, "g"), in_(60_000));
      if (channel.kind === "topic") await to(channelAddress(channel), in_(60_000));
    }
    expect(requests.map(({ entries: [entry] }) => entry?.delaySeconds)).toEqual(Array(6).fill(undefined));
    expect(requests.map((request) => request.to).filter((place) => place.startsWith("delay:"))).toEqual([]);
  });

  test("on an ordered channel what is due later than in a second goes to the delay queue", async () => {
    for (const [address, delayQueue] of [
      [channelAddress(orderedQueue), "delay:orders:orders"],
      [inletAddress(orderedQueue, "orders"), "delay:orders:orders"],
      [inletAddress(orderedTopic, "audit"), "delay:events:audit"],
    ] as const) {
      const { to, requests } = open();
      const all = [...delays.map(in_), message()];
      expect(codes(await to(address, ...all))).toEqual(Array(8).fill("accepted"));
      const delayed = requests.filter((request) => request.to === delayQueue);
      const direct = requests.filter((request) => request.to === `url:${address.id}`);
      expect(delayed.flatMap(({ entries }) => entries.map(({ delaySeconds }) => delaySeconds))).toEqual([
        1, 2, 900, 900,
      ]);
      expect(delayed.flatMap(({ entries }) => entries.map(({ groupId }) => groupId))).toEqual(Array(4).fill(undefined));
      expect(direct.flatMap(idsOf)).toEqual([0, 1, 2, 7].map((index) => all[index]?.id));
      expect(direct.flatMap(({ entries }) => entries.map(({ delaySeconds }) => delaySeconds))).toEqual(
        Array(4).fill(undefined),
      );
    }
  });
});

describe("on an ordered channel", () => {
  const sent = (requests: readonly Request[]) => requests.flatMap(({ entries }) => entries);

  test("the group is the key", async () => {
    const { to, requests } = open();
    await to(channelAddress(orderedTopic), message({ key: "k" }), message({ id: "no-key" }));
    expect(sent(requests).map(({ groupId }) => groupId)).toEqual(["k", "no-key"]);
  });

  test("a message that may have been taken is sent again under the same deduplication id", async () => {
    const { to, requests, fake } = open();
    const one = message();
    fake.answer = () => Promise.reject(noAnswer);
    expect(codes(await to(channelAddress(orderedQueue), one))).toEqual(["UNKNOWN_OUTCOME"]);
    fake.answer = ({ entries }) => entries.map(() => ok);
    expect(codes(await to(channelAddress(orderedQueue), one))).toEqual(["accepted"]);
    const [first, second] = sent(requests).map(({ deduplicationId }) => deduplicationId);
    expect(second).toBe(first);
  });

  test("a message that is alike, or was accepted before, has another: SQS would drop it", async () => {
    const { to, requests } = open();
    const one = message();
    for (const each of [one, { ...one }, one]) await to(inletAddress(orderedQueue, "orders"), each);
    expect(new Set(sent(requests).map(({ deduplicationId }) => deduplicationId)).size).toBe(3);
  });

  test("each dead letter is a group of its own, and stays it when it is sent again", async () => {
    const { to, requests, fake } = open();
    const dead = [message({ key: "k" }), message({ key: "k" })];
    fake.answer = () => Promise.reject(noAnswer);
    await to(deadLetterAddress(orderedQueue, "orders"), ...dead);
    await to(deadLetterAddress(orderedQueue, "orders"), ...dead);
    const ids = sent(requests).map(({ groupId, deduplicationId }) => `${groupId} ${deduplicationId}`);
    expect(new Set(sent(requests).map(({ groupId }) => groupId)).size).toBe(2);
    expect(ids.slice(2)).toEqual(ids.slice(0, 2));
  });
});

describe("what AWS answers", () => {
  test("each message has the receipt of its entry", async () => {
    const { to, fake } = open();
    fake.answer = () => [
      ok,
      entryFailure("InternalError", false),
      entryFailure("InvalidMessageContents", true),
      entryFailure("SomethingElse", false),
      entryFailure("SomethingElse", true),
      ok,
      undefined,
    ];
    expect(codes(await to(channelAddress(queue), ...messages(7)))).toEqual([
      "accepted",
      "REJECTED",
      "INVALID_HEADER",
      "REJECTED",
      "TRANSPORT_FAILED",
      "accepted",
      "UNKNOWN_OUTCOME",
    ]);
  });

  test.each<[string, RequestFailure, string]>([
    ["throttling", refusal("ThrottlingException"), "REJECTED"],
    ["not now", refusal("ServiceUnavailable", 503), "REJECTED"],
    ["no access", refusal("AccessDeniedException", 403), "ACCESS_REFUSED"],
    ["no good credentials", refusal("InvalidClientTokenId", 403), "ACCESS_REFUSED"],
    ["an error of its own", refusal("InternalError", 500), "UNKNOWN_OUTCOME"],
    ["nothing", noAnswer, "UNKNOWN_OUTCOME"],
  ])("%s is of the messages of that request alone", async (_, failure, code) => {
    const { to, fake } = open();
    const all = messages(25);
    fake.answer = (request) =>
      idsOf(request).includes(all[10]?.id ?? "") ? Promise.reject(failure) : request.entries.map(() => ok);
    expect(codes(await to(channelAddress(orderedQueue), ...all))).toEqual([
      ...Array<string>(10).fill("accepted"),
      ...Array<string>(10).fill(code),
      ...Array<string>(5).fill("accepted"),
    ]);
  });

  test("a request that is refused for what is in it is made again for each message by itself", async () => {
    for (const code of ["BatchRequestTooLong", "InvalidMessageContents"]) {
      const { to, fake, requests } = open();
      const all = messages(4);
      fake.answer = (request) =>
        idsOf(request).includes(all[2]?.id ?? "") ? Promise.reject(refusal(code)) : request.entries.map(() => ok);
      expect(codes(await to(channelAddress(orderedQueue), ...all))).toEqual([
        "accepted",
        "accepted",
        code === "BatchRequestTooLong" ? "MESSAGE_TOO_LARGE" : "TRANSPORT_FAILED",
        "accepted",
      ]);
      expect(requests.map(({ entries }) => entries.length)).toEqual([4, 1, 1, 1, 1]);
    }
  });

  test("what throws otherwise may have been sent", async () => {
    const { to, fake } = open();
    fake.answer = () => Promise.reject(new TypeError("broken"));
    expect(codes(await to(channelAddress(queue), message()))).toEqual(["UNKNOWN_OUTCOME"]);
  });
});

describe("what does not exist", () => {
  test("is UNROUTABLE after two seconds, and asked for no longer in that call", async () => {
    const { to, clock, fake, requests } = open();
    let looked = 0;
    fake.find = () => {
      looked++;
      throw unroutable("queue");
    };
    let receipts: readonly Receipt[] | undefined;
    void to(channelAddress(orderedQueue), ...messages(100)).then((given) => (receipts = given));
    await clock.advance(1_900);
    expect(receipts).toBe(undefined);
    await clock.advance(1_500);
    expect(codes(receipts ?? [])).toEqual(Array(100).fill("UNROUTABLE"));
    // Four requests wait for it at a time, and look less and less often.
    expect(looked).toBeLessThan(4 * 10);
    expect(requests).toEqual([]);
  });

  test("may have been made just now", async () => {
    const { to, clock, fake, forgotten, requests } = open();
    fake.answer = ({ entries }) =>
      clock.now() < start + 1_500 ? Promise.reject(refusal("QueueDoesNotExist")) : entries.map(() => ok);
    const call = to(channelAddress(queue), message());
    await clock.advance(4_000);
    expect(codes(await call)).toEqual(["accepted"]);
    expect(forgotten.length).toBe(requests.length - 1);
    expect(new Set(forgotten)).toEqual(new Set(["channel:queue:orders"]));
  });

  test("is forgotten also where it is a topic", async () => {
    const { to, clock, fake, forgotten } = open();
    fake.answer = () => Promise.reject(refusal("NotFoundException", 404));
    const call = to(channelAddress(topic), message());
    await clock.advance(4_000);
    expect(codes(await call)).toEqual(["UNROUTABLE"]);
    expect(forgotten).toContain("channel:topic:events");
  });
});

describe("while SQS cannot be reached", () => {
  test("it waits, and sends what was not sent", async () => {
    const { to, clock, fake, requests } = open();
    let connected = false;
    fake.answer = ({ entries }) => (connected ? entries.map(() => ok) : Promise.reject(notConnected));
    fake.ready = async () => {
      while (!connected && requests.length > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, 100));
    };
    const call = to(channelAddress(queue), message());
    await clock.advance(60_000);
    expect(requests).toHaveLength(1);
    connected = true;
    await clock.advance(2_000);
    expect(codes(await call)).toEqual(["accepted"]);
  });

  test("a delay counts from when the message is sent, not from when the call began", async () => {
    for (const channel of [queue, orderedQueue]) {
      const { to, clock, fake, requests } = open();
      fake.ready = () => new Promise((resolve) => clock.setTimeout(resolve, 10_500));
      const notBefore = start + 15_000;
      const call = to(channelAddress(channel), message({ notBefore }), message({ notBefore: start + 10_000 }));
      await clock.advance(11_000);
      await call;
      expect(requests.flatMap(({ entries }) => entries.map(({ delaySeconds }) => delaySeconds))).toEqual([
        4,
        undefined,
      ]);
    }
  });

  test("a question that is not answered is asked again: no message was sent", async () => {
    const { to, clock, fake } = open();
    let asked = 0;
    fake.find = (address) => (++asked < 3 ? Promise.reject(noAnswer) : placeOf(address));
    const call = to(channelAddress(queue), message());
    await clock.advance(1_000);
    expect(codes(await call)).toEqual(["accepted"]);
  });

  test("what the account may not look for is ACCESS_REFUSED", async () => {
    const { to, fake } = open();
    fake.find = () => Promise.reject(new PosthornError("ACCESS_REFUSED", "No."));
    expect(codes(await to(channelAddress(queue), message(), message()))).toEqual(["ACCESS_REFUSED", "ACCESS_REFUSED"]);
  });
});

describe("when the signal fires", () => {
  const outbound = (count: number) =>
    messages(count).map((each) => ({ address: channelAddress(orderedQueue), message: each }));
  const untilAborted = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));

  test("before anything was sent, nothing is", async () => {
    const { dispatch, requests, clock, fake } = open();
    expect(codes(await dispatch(outbound(2), { signal: AbortSignal.abort() }))).toEqual(
      Array(2).fill("CONNECTION_LOST"),
    );
    const abort = new AbortController();
    fake.ready = () => untilAborted(abort.signal);
    const call = dispatch(outbound(25), { signal: abort.signal });
    await clock.advance(10_000);
    abort.abort();
    expect(codes(await call)).toEqual(Array(25).fill("CONNECTION_LOST"));
    expect(requests).toEqual([]);
  });

  test("what is under way is unknown, and what waits is not sent", async () => {
    const { dispatch, requests, clock, fake } = open();
    const abort = new AbortController();
    const all = outbound(55);
    fake.answer = (request, signal) =>
      idsOf(request).includes(all[0]?.message.id ?? "") ? request.entries.map(() => ok) : untilAborted(signal);
    const call = dispatch(all, { signal: abort.signal });
    await clock.advance(1_000);
    abort.abort();
    expect(codes(await call)).toEqual([
      ...Array<string>(10).fill("accepted"),
      ...Array<string>(40).fill("UNKNOWN_OUTCOME"),
      ...Array<string>(5).fill("CONNECTION_LOST"),
    ]);
    expect(requests).toHaveLength(5);
  });

  test("while it waits for the next try, it is over at once, with the reason of the last one", async () => {
    const { dispatch, clock, fake } = open();
    const abort = new AbortController();
    fake.answer = () => Promise.reject(notConnected);
    const call = dispatch(outbound(1), { signal: abort.signal });
    await clock.advance(500);
    abort.abort();
    const [receipt] = await call;
    expect(receipt).toMatchObject({
      accepted: false,
      error: { code: "CONNECTION_LOST", message: expect.stringContaining("ECONNREFUSED") as string },
    });
    expect(clock.pending).toBe(0);
  });

  test("a transport that is closed sends nothing", async () => {
    const { dispatch, fake, requests } = open();
    fake.closed = true;
    fake.ready = () => Promise.reject(closedError());
    expect(codes(await dispatch(outbound(12), waiting))).toEqual(Array(12).fill("CONNECTION_LOST"));
    expect(requests).toEqual([]);
  });
});

test("sends that are throttled or not answered are told once, until one is answered", async () => {
  const { to, fake, blocked } = open();
  fake.answer = () =>
    Promise.reject(new RequestFailure("slow down", { sent: true, code: "RequestThrottled", httpStatus: 400 }));
  await to(channelAddress(queue), message());
  await to(channelAddress(queue), message());
  expect(blocked).toEqual(["sends are throttled"]);
  fake.answer = ({ entries }) => entries.map(() => ok);
  await to(channelAddress(queue), message());
  expect(blocked).toEqual(["sends are throttled", undefined]);
  fake.answer = () => Promise.reject(new Error("given up"));
  await to(channelAddress(queue), message());
  expect(blocked.at(-1)).toBe("sends are not answered");
});

test("the answer to a send that began before another was throttled says nothing of what came after", async () => {
  const { to, fake, blocked, clock } = open();
  const { promise: held, resolve: answerNow } = Promise.withResolvers<void>();
  fake.answer = async ({ entries }) => {
    await held;
    return entries.map(() => ok);
  };
  const earlier = to(channelAddress(queue), message());
  await vi.waitFor(() => expect(fake.mostUnderWay).toBe(1));
  await clock.advance(5);
  fake.answer = () =>
    Promise.reject(new RequestFailure("slow down", { sent: true, code: "RequestThrottled", httpStatus: 400 }));
  await to(channelAddress(queue), message());
  answerNow();
  expect(codes(await earlier)).toEqual(["accepted"]);
  expect(blocked).toEqual(["sends are throttled"]);
});
