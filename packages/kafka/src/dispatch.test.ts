import type { Address, Message, Receipt } from "@posthorn/core/transport";
import {
  accepted,
  channelAddress,
  deadLetterAddress,
  failed,
  inletAddress,
  messageBytes,
  PosthornError,
} from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import { createDispatch } from "./dispatch.ts";
import { closedError, errorCodes, kafkaError } from "./errors.ts";
import { createFakeCluster, cut } from "./fake-cluster.fixture.ts";
import { partitionOfKey } from "./partitioner.ts";
import type { PartitionAppend } from "./producer.ts";

const waiting = { signal: new AbortController().signal };
const queue = { kind: "queue", name: "orders", ordered: true } as const;
const topic = { kind: "topic", name: "events", ordered: false } as const;
const maxMessageBytes = 2_000;

function open(leaders: Readonly<Record<string, (number | undefined)[]>>) {
  const cluster = createFakeCluster(leaders);
  const clock = createVirtualClock();
  const sent: PartitionAppend[][] = [];
  let answer: readonly Receipt[] | undefined;
  const dispatch = createDispatch({
    cluster,
    producer: {
      async send(appends) {
        sent.push([...appends]);
        return answer ?? appends.map(() => accepted);
      },
    },
    settings: { maxMessageBytes },
    environment: { clock, random: () => 0 },
  });
  const send = (address: Address, ...messages: Message[]): Promise<readonly Receipt[]> =>
    dispatch(
      messages.map((message) => ({ address, message })),
      waiting,
    );
  return { cluster, clock, sent, dispatch, send, answerWith: (receipts: readonly Receipt[]) => (answer = receipts) };
}

function message(more: Partial<Message> = {}): Message {
  return {
    id: "m1",
    type: "order.placed",
    version: 1,
    source: "shop",
    time: Date.UTC(2026, 0, 1),
    attempt: 1,
    contentType: "application/json",
    headers: {},
    body: Buffer.from("{}"),
    ...more,
  } as Message;
}

function codes(receipts: readonly Receipt[]): string[] {
  return receipts.map((receipt) => (receipt.accepted ? "accepted" : receipt.error.code));
}

test("nothing is nothing", async () => {
  const { dispatch } = open({});
  expect(await dispatch([], waiting)).toEqual([]);
});

test("a channel and an inlet have topics of their own; the key says the partition, and without one they take turns", async () => {
  const { send, sent } = open({ orders: [1, 1, 1], "orders.retry": [1, 1, 1], "events.audit.retry": [1] });
  await send(channelAddress(queue), message({ key: "k" }), message(), message(), message({ key: "k" }), message());
  await send(inletAddress(queue, "orders"), message({ key: "k" }));
  await send(inletAddress(topic, "audit"), message());
  const partition = partitionOfKey(Buffer.from("k"), 3);
  expect(sent.map((appends) => appends.map((append) => [append.topic, append.partition]))).toEqual([
    [
      ["orders", partition],
      ["orders", 0],
      ["orders", 1],
      ["orders", partition],
      ["orders", 2],
    ],
    [["orders.retry", partition]],
    [["events.audit.retry", 0]],
  ]);
});

test("dead letters have one partition, and each a key of its own", async () => {
  const { send, sent } = open({ "orders.dlq": [1] });
  await send(deadLetterAddress(queue, "orders"), message({ key: "k" }), message());
  const keys = sent[0]?.map(({ record }) => String(record.key)) ?? [];
  expect(keys).toEqual([expect.stringMatching(/^[\da-f-]{36}$/), expect.stringMatching(/^[\da-f-]{36}$/)]);
  expect(keys[0]).not.toBe(keys[1]);
  expect(sent[0]?.map(({ partition }) => partition)).toEqual([0, 0]);
});

test("a message that is too large fails alone; the limit itself is not too large", async () => {
  const { send, sent } = open({ orders: [1] });
  const room = maxMessageBytes - messageBytes(message({ body: new Uint8Array() }));
  const receipts = await send(
    channelAddress(queue),
    message({ id: "m0" }),
    message({ body: Buffer.alloc(room + 1) }),
    message({ body: Buffer.alloc(room) }),
  );
  expect(codes(receipts)).toEqual(["accepted", "MESSAGE_TOO_LARGE", "accepted"]);
  expect(receipts[1]?.accepted === false && receipts[1].error.details).toEqual({
    bytes: maxMessageBytes + 1,
    maxMessageBytes,
  });
  expect(sent[0]?.map(({ record }) => record.value?.length)).toEqual([2, room]);
});

test("receipts stand where their messages stood", async () => {
  const { send, answerWith } = open({ orders: [1] });
  answerWith([failed(new PosthornError("REJECTED", "no")), accepted]);
  const large = message({ body: Buffer.alloc(maxMessageBytes) });
  expect(codes(await send(channelAddress(queue), large, message(), large, message()))).toEqual([
    "MESSAGE_TOO_LARGE",
    "REJECTED",
    "MESSAGE_TOO_LARGE",
    "accepted",
  ]);
});

test("a message that cannot be encoded fails alone", async () => {
  const { send } = open({ orders: [1] });
  const broken = Object.defineProperty(message(), "headers", {
    get() {
      throw new Error("broken");
    },
  });
  expect(codes(await send(channelAddress(queue), message(), broken, message()))).toEqual([
    "accepted",
    "TRANSPORT_FAILED",
    "accepted",
  ]);
});

test("there are no reply inboxes", async () => {
  const { send } = open({});
  expect(codes(await send({ kind: "reply", id: "reply:x", inbox: "x" }, message(), message()))).toEqual([
    "UNSUPPORTED_CAPABILITY",
    "UNSUPPORTED_CAPABILITY",
  ]);
});

test("a missing topic is UNROUTABLE after a second; one that is made meanwhile is found", async () => {
  const { send, cluster, clock } = open({});
  const missing = send(channelAddress(queue), message());
  const made = send(channelAddress(topic), message());
  await clock.advance(500);
  cluster.leaders.set("events", [1]);
  await clock.advance(1_500);
  expect(codes(await missing)).toEqual(["UNROUTABLE"]);
  expect(codes(await made)).toEqual(["accepted"]);
});

test("without a connection it waits", async () => {
  const { send, cluster, clock } = open({ orders: [1] });
  cluster.connected = false;
  const call = send(channelAddress(queue), message());
  await clock.advance(60_000);
  cluster.topicsFail = cut(true);
  cluster.connect();
  await clock.advance(500);
  cluster.topicsFail = undefined;
  await clock.advance(2_000);
  expect(codes(await call)).toEqual(["accepted"]);
});

test("when the signal fires, or the transport is closed, nothing was sent", async () => {
  const { dispatch, sent, cluster, clock } = open({ orders: [1] });
  const outbound = [{ address: channelAddress(queue), message: message() }];
  expect(codes(await dispatch(outbound, { signal: AbortSignal.abort() }))).toEqual(["CONNECTION_LOST"]);
  cluster.connected = false;
  const abort = new AbortController();
  const call = dispatch(outbound, { signal: abort.signal });
  await clock.advance(1_000);
  abort.abort();
  expect(codes(await call)).toEqual(["CONNECTION_LOST"]);
  cluster.ready = () => Promise.reject(closedError());
  (cluster as { closed: boolean }).closed = true;
  expect(codes(await dispatch(outbound, waiting))).toEqual(["CONNECTION_LOST"]);
  expect(sent).toEqual([]);
});

test("what the account may not see is ACCESS_REFUSED", async () => {
  const { send, cluster } = open({});
  cluster.topicsFail = kafkaError(errorCodes.TOPIC_AUTHORIZATION_FAILED, "topic");
  expect(codes(await send(channelAddress(queue), message(), message()))).toEqual(["ACCESS_REFUSED", "ACCESS_REFUSED"]);
});
