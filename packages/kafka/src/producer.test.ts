import type { Receipt } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { ProduceRequest } from "./client.ts";
import { closedError, errorCodes, kafkaError } from "./errors.ts";
import type { FakeCluster } from "./fake-cluster.fixture.ts";
import { answerTo, createFakeCluster, cut, refusal } from "./fake-cluster.fixture.ts";
import type { PartitionAppend } from "./producer.ts";
import { createProducer } from "./producer.ts";

const waiting = new AbortController().signal;

function open(leaders: Readonly<Record<string, (number | undefined)[]>> = { t: [1] }, maxMessageBytes = 1_000_000) {
  const cluster = createFakeCluster(leaders);
  const clock = createVirtualClock();
  const blocked: (string | undefined)[] = [];
  const producer = createProducer({
    cluster,
    settings: { compression: "none", maxMessageBytes, requestTimeoutMs: 10_000 },
    environment: { clock, random: () => 0 },
    onBlocked: (reason) => blocked.push(reason),
  });
  return { cluster, clock, producer, blocked };
}

function append(value: string, partition = 0, topic = "t"): PartitionAppend {
  return { topic, partition, record: { key: null, value: Buffer.from(value), headers: [] } };
}

function codes(receipts: readonly Receipt[]): string[] {
  return receipts.map((receipt) => (receipt.accepted ? "accepted" : receipt.error.code));
}

/** The values of a request, partition by partition. */
function values({ batches }: ProduceRequest): string[] {
  return batches.map(({ records }) => records.map(({ value }) => Buffer.from(value ?? "").toString()).join(""));
}

function sent(cluster: FakeCluster): string[][] {
  return cluster.requests.map(({ request }) => values(request));
}

/** What the requests of a test are answered with, one after the other; then everything is appended. */
function script(
  cluster: FakeCluster,
  ...answers: ((request: ProduceRequest) => ReturnType<FakeCluster["append"]>)[]
): void {
  let next = 0;
  cluster.answer = async (request) => {
    const answer = answers[next++];
    return answer === undefined ? cluster.append(request) : answer(request);
  };
}

const say = (code: number) => (request: ProduceRequest) => refusal(request, code);
const lose =
  (cluster: FakeCluster, appended: boolean) =>
  (request: ProduceRequest): never => {
    if (appended) cluster.append(request);
    throw cut(true);
  };

test("what is sent while a request is under way goes together in the next, one batch for each partition", async () => {
  const { cluster, clock, producer } = open({ t: [1, 1] });
  const gate = Promise.withResolvers<void>();
  cluster.answer = async (request) => {
    await gate.promise;
    return cluster.append(request);
  };
  const first = producer.send([append("a")], waiting);
  await clock.advance(0);
  const others = Array.from("bcd", (value, index) => producer.send([append(value, index % 2)], waiting));
  await clock.advance(0);
  expect(sent(cluster)).toEqual([["a"]]);
  gate.resolve();
  expect((await Promise.all([first, ...others])).map(codes)).toEqual([
    ["accepted"],
    ["accepted"],
    ["accepted"],
    ["accepted"],
  ]);
  expect(sent(cluster).map((batches) => batches.toSorted())).toEqual([["a"], ["bd", "c"]]);
});

test("what is sent in one breath goes in one request; brokers do not wait for each other", async () => {
  const { cluster, clock, producer } = open({ t: [1, 2] });
  cluster.answer = (request, node) =>
    node === 1 ? new Promise(() => undefined) : Promise.resolve(cluster.append(request));
  void producer.send([append("a")], waiting);
  void producer.send([append("b")], waiting);
  const other = producer.send([append("c", 1), append("d", 1)], waiting);
  await clock.advance(0);
  expect(codes(await other)).toEqual(["accepted", "accepted"]);
  expect(cluster.requests.map(({ node, request }) => [node, values(request)])).toEqual([
    [1, ["ab"]],
    [2, ["cd"]],
  ]);
});

test("a batch is bounded, and what does not fit waits for the next request in its order", async () => {
  const { cluster, producer } = open({ t: [1] }, 500);
  const large = "x".repeat(700);
  const all = ["1".repeat(100), "2".repeat(200), "3".repeat(200), large, "4"];
  await producer.send(
    all.map((value) => append(value)),
    waiting,
  );
  expect(cluster.requests.map(({ request }) => request.batches.map(({ records }) => records.length))).toEqual([
    [2],
    [1],
    [1],
    [1],
  ]);
  expect(cluster.log("t").values).toEqual(all);
});

test("a request is bounded, too", async () => {
  const partitions = 10;
  const { cluster, producer } = open({ t: Array.from({ length: partitions }, () => 1) });
  const body = "x".repeat(900_000);
  const receipts = await producer.send(
    Array.from({ length: partitions }, (_, partition) => append(body, partition)),
    waiting,
  );
  expect(codes(receipts)).toEqual(Array.from({ length: partitions }, () => "accepted"));
  expect(cluster.requests.map(({ request }) => request.batches.length)).toEqual([5, 5]);
});

test("sequence numbers go on from batch to batch, for each partition by itself", async () => {
  const { cluster, producer } = open({ t: [1, 1] });
  await producer.send([append("a"), append("b"), append("c", 1)], waiting);
  await producer.send([append("d")], waiting);
  const sequences = cluster.requests.map(({ request }) => request.batches.map(({ firstSequence }) => firstSequence));
  expect(sequences).toEqual([[0, 0], [2]]);
});

test.each([
  "NOT_LEADER_OR_FOLLOWER",
  "LEADER_NOT_AVAILABLE",
  "REQUEST_TIMED_OUT",
  "NETWORK_EXCEPTION",
  "KAFKA_STORAGE_ERROR",
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "UNKNOWN_SERVER_ERROR",
  "THROTTLING_QUOTA_EXCEEDED",
] as const)("after %s the same is sent again under the same number, when the metadata was asked", async (name) => {
  const { cluster, clock, producer } = open();
  script(cluster, say(errorCodes[name]), (request) => {
    expect(cluster.asked).toBe(1);
    return cluster.append(request);
  });
  const call = producer.send([append("a"), append("b")], waiting);
  await clock.advance(49);
  expect(cluster.requests).toHaveLength(1);
  await clock.advance(1);
  expect(codes(await call)).toEqual(["accepted", "accepted"]);
  const [first, second] = cluster.requests.map(({ request }) => request.batches[0]);
  expect(second).toMatchObject({ firstSequence: first?.firstSequence, producerEpoch: 0, producerId: 100n });
});

test("DUPLICATE_SEQUENCE_NUMBER means that it has landed", async () => {
  const { cluster, producer } = open();
  script(cluster, say(errorCodes.DUPLICATE_SEQUENCE_NUMBER));
  expect(codes(await producer.send([append("a")], waiting))).toEqual(["accepted"]);
});

test.each([true, false])(
  "an unanswered batch (landed: %s) is sent again as it was, and is there once",
  async (landed) => {
    const { cluster, clock, producer } = open();
    script(cluster, lose(cluster, landed), lose(cluster, landed));
    const first = producer.send([append("a"), append("b")], waiting);
    await clock.advance(0);
    const second = producer.send([append("c")], waiting);
    await clock.advance(1_000);
    expect(codes([...(await first), ...(await second)])).toEqual(["accepted", "accepted", "accepted"]);
    expect(sent(cluster)).toEqual([["ab"], ["ab"], ["ab"], ["c"]]);
    expect(cluster.log("t").values).toEqual(["a", "b", "c"]);
  },
);

test("while there is no connection it waits; what was not sent may be batched anew", async () => {
  const { cluster, clock, producer } = open();
  script(cluster, () => {
    cluster.connected = false;
    throw cut(false);
  });
  const first = producer.send([append("a")], waiting);
  await clock.advance(5_000);
  const second = producer.send([append("b")], waiting);
  await clock.advance(60_000);
  expect(cluster.requests).toHaveLength(1);
  cluster.connect();
  expect(codes([...(await first), ...(await second)])).toEqual(["accepted", "accepted"]);
  expect(sent(cluster)).toEqual([["a"], ["ab"]]);
});

test("a moved partition is sent to its new leader", async () => {
  const { cluster, clock, producer } = open();
  script(cluster, (request) => {
    cluster.leaders.set("t", [2]);
    return refusal(request, errorCodes.NOT_LEADER_OR_FOLLOWER);
  });
  const call = producer.send([append("a")], waiting);
  await clock.advance(100);
  expect(codes(await call)).toEqual(["accepted"]);
  expect(cluster.requests.map(({ node }) => node)).toEqual([1, 2]);
});

test("a topic that is made within a second is found", async () => {
  const { cluster, clock, producer } = open({});
  const call = producer.send([append("a")], waiting);
  await clock.advance(900);
  cluster.leaders.set("t", [undefined]);
  await clock.advance(3_000);
  cluster.leaders.set("t", [1]);
  await clock.advance(1_000);
  expect(codes(await call)).toEqual(["accepted"]);
});

test("a missing topic, and a missing partition, is UNROUTABLE after a second, and only for what goes there", async () => {
  const { cluster, clock, producer } = open({ t: [1] });
  const call = producer.send([append("a", 0, "gone"), append("b", 7), append("c")], waiting);
  await clock.advance(2_000);
  expect(codes(await call)).toEqual(["UNROUTABLE", "UNROUTABLE", "accepted"]);
  expect(sent(cluster)).toEqual([["c"]]);
});

test("a topic that its leader does not know is UNROUTABLE within five seconds", async () => {
  const { cluster, clock, producer } = open();
  cluster.answer = async (request) => refusal(request, errorCodes.UNKNOWN_TOPIC_OR_PARTITION);
  const call = producer.send([append("a")], waiting);
  await clock.advance(5_000);
  expect(codes(await call)).toEqual(["UNROUTABLE"]);
});

test("what is in doubt is never UNROUTABLE, and what waits behind it is", async () => {
  const { cluster, clock, producer } = open();
  script(cluster, (request) => {
    cluster.leaders.delete("t");
    return lose(cluster, true)(request);
  });
  const doubtful = producer.send([append("a")], waiting);
  await clock.advance(0);
  const behind = producer.send([append("b")], waiting);
  await clock.advance(3_000);
  expect(codes([...(await doubtful), ...(await behind)])).toEqual(["UNKNOWN_OUTCOME", "UNROUTABLE"]);
});

test.each(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD"] as const)(
  "%s for a batch finds the one record that is meant; the others keep their order, and no number is lost",
  async (name) => {
    const { cluster, clock, producer } = open();
    cluster.answer = async (request) =>
      request.batches.map((batch) =>
        values({ ...request, batches: [batch] })[0]?.includes("!") === true
          ? answerTo(batch, errorCodes[name])
          : answerTo(batch, cluster.log("t").append(batch)),
      );
    const text = Array.from("abcdefghijkl!mnopqrstuvwxyz!");
    const call = producer.send(
      text.map((value) => append(value)),
      waiting,
    );
    await clock.advance(0);
    const receipts = codes(await call);
    expect(receipts.filter((code) => code !== "accepted")).toEqual(
      Array.from({ length: 2 }, () => (name === "INVALID_RECORD" ? "TRANSPORT_FAILED" : "MESSAGE_TOO_LARGE")),
    );
    expect([receipts[12], receipts[27]]).not.toContain("accepted");
    expect(cluster.log("t").values.join("")).toBe("abcdefghijklmnopqrstuvwxyz");
    expect(cluster.requests.length).toBeLessThan(40);
  },
);

test("what the account may not is ACCESS_REFUSED, at every place where it can show", async () => {
  for (const prepare of [
    (cluster: FakeCluster) => script(cluster, say(errorCodes.TOPIC_AUTHORIZATION_FAILED)),
    (cluster: FakeCluster) => {
      cluster.producerIdError = errorCodes.CLUSTER_AUTHORIZATION_FAILED;
    },
    (cluster: FakeCluster) => {
      cluster.leaders.delete("t");
      cluster.topicsFail = kafkaError(errorCodes.TOPIC_AUTHORIZATION_FAILED, "topic");
    },
  ]) {
    const { cluster, clock, producer } = open();
    prepare(cluster);
    const call = producer.send([append("a"), append("b")], waiting);
    await clock.advance(0);
    expect(codes(await call)).toEqual(["ACCESS_REFUSED", "ACCESS_REFUSED"]);
  }
});

test("when the leader has lost our numbers, what is not in doubt begins again under a new id", async () => {
  const { cluster, clock, producer } = open();
  expect(codes(await producer.send([append("a")], waiting))).toEqual(["accepted"]);
  cluster.log("t").forget();
  const call = producer.send([append("b")], waiting);
  await clock.advance(100);
  expect(codes(await call)).toEqual(["accepted"]);
  expect(cluster.requests.map(({ request }) => request.batches[0]?.producerId)).toEqual([100n, 100n, 101n]);
  expect(cluster.log("t").values).toEqual(["a", "b"]);
});

test("when the leader has lost our numbers, nobody knows of what is in doubt", async () => {
  const { cluster, clock, producer } = open();
  expect(codes(await producer.send([append("a")], waiting))).toEqual(["accepted"]);
  script(cluster, (request) => {
    lose(cluster, true)(request);
    return [];
  });
  const doubtful = producer.send([append("b")], waiting);
  await clock.advance(0);
  const behind = producer.send([append("c")], waiting);
  cluster.log("t").forget();
  await clock.advance(1_000);
  expect(codes([...(await doubtful), ...(await behind)])).toEqual(["UNKNOWN_OUTCOME", "accepted"]);
});

test("a signal that has fired sends nothing", async () => {
  const { cluster, clock, producer } = open();
  expect(codes(await producer.send([append("a")], AbortSignal.abort()))).toEqual(["CONNECTION_LOST"]);
  await clock.advance(1_000);
  expect(cluster.requests).toEqual([]);
});

test("when a signal fires, what was never sent is CONNECTION_LOST and what is unanswered UNKNOWN_OUTCOME", async () => {
  const { cluster, clock, producer } = open();
  cluster.answer = () => new Promise(() => undefined);
  const [first, second] = [new AbortController(), new AbortController()];
  const flying = producer.send([append("a")], first.signal);
  await clock.advance(0);
  const behind = producer.send([append("b")], second.signal);
  second.abort();
  expect(codes(await behind)).toEqual(["CONNECTION_LOST"]);
  first.abort();
  expect(codes(await flying)).toEqual(["UNKNOWN_OUTCOME"]);
});

test("NOT_ENOUGH_REPLICAS means not there, unless a request before it was not answered", async () => {
  for (const [answers, expected] of [
    [[say(errorCodes.NOT_ENOUGH_REPLICAS)], "CONNECTION_LOST"],
    [[say(errorCodes.NOT_ENOUGH_REPLICAS_AFTER_APPEND)], "UNKNOWN_OUTCOME"],
    [[() => Promise.reject(cut(true)) as never, say(errorCodes.NOT_ENOUGH_REPLICAS)], "UNKNOWN_OUTCOME"],
  ] as const) {
    const { cluster, clock, producer } = open();
    const abort = new AbortController();
    script(cluster, ...answers);
    const call = producer.send([append("a")], abort.signal);
    for (let requests = 1; requests <= answers.length; requests++) {
      await clock.advance(requests === 1 ? 0 : 60);
      expect(cluster.requests).toHaveLength(requests);
    }
    abort.abort();
    const receipts = await call;
    expect(codes(receipts)).toEqual([expected]);
    await clock.advance(60_000);
    expect(cluster.requests).toHaveLength(answers.length);
  }
});

test("the reason why nothing was taken is told", async () => {
  const { cluster, clock, producer } = open();
  const abort = new AbortController();
  cluster.answer = async (request) => refusal(request, errorCodes.NOT_ENOUGH_REPLICAS);
  const call = producer.send([append("a")], abort.signal);
  await clock.advance(0);
  abort.abort();
  const [receipt] = await call;
  expect(receipt?.accepted === false && receipt.error.message).toMatch(/NOT_ENOUGH_REPLICAS \(19\)/);
});

test("numbers of what was given up in doubt are not used again: the next batch would be taken for its repeat", async () => {
  const { cluster, clock, producer } = open({ t: [1, 1] });
  const abort = new AbortController();
  expect(codes(await producer.send([append("a"), append("x", 1)], waiting))).toEqual(["accepted", "accepted"]);
  script(cluster, lose(cluster, true));
  const lost = producer.send([append("b")], abort.signal);
  await clock.advance(0);
  abort.abort();
  expect(codes(await lost)).toEqual(["UNKNOWN_OUTCOME"]);
  const next = producer.send([append("c"), append("y", 1)], waiting);
  await clock.advance(1_000);
  expect(codes(await next)).toEqual(["accepted", "accepted"]);
  expect(cluster.log("t").values).toEqual(["a", "b", "c"]);
  const last = cluster.requests.slice(-2).flatMap(({ request }) => request.batches);
  expect(last.map(({ producerEpoch, firstSequence }) => [producerEpoch, firstSequence])).toEqual([
    [0, 1],
    [1, 0],
  ]);
});

test("what was given up and answered all the same leaves no doubt", async () => {
  const { cluster, clock, producer } = open();
  const abort = new AbortController();
  const gate = Promise.withResolvers<void>();
  cluster.answer = async (request) => {
    await gate.promise;
    return cluster.append(request);
  };
  const lost = producer.send([append("a")], abort.signal);
  await clock.advance(0);
  abort.abort();
  expect(codes(await lost)).toEqual(["UNKNOWN_OUTCOME"]);
  gate.resolve();
  expect(codes(await producer.send([append("b")], waiting))).toEqual(["accepted"]);
  expect(cluster.requests.at(-1)?.request.batches[0]).toMatchObject({ producerEpoch: 0, firstSequence: 1 });
});

test("what was given up comes too late when it comes behind what followed", async () => {
  const { cluster, clock, producer } = open();
  const abort = new AbortController();
  const late: ProduceRequest[] = [];
  script(cluster, (request) => {
    late.push(request);
    throw cut(true);
  });
  const lost = producer.send([append("a")], abort.signal);
  await clock.advance(0);
  abort.abort();
  await lost;
  const next = producer.send([append("b")], waiting);
  await clock.advance(1_000);
  expect(codes(await next)).toEqual(["accepted"]);
  expect(late.flatMap((request) => cluster.append(request)).map(({ error }) => error)).toEqual([
    errorCodes.INVALID_PRODUCER_EPOCH,
  ]);
  expect(cluster.log("t").values).toEqual(["b"]);
});

test("calls that share a batch in doubt: one gives up, the batch goes on as it was for the other", async () => {
  const { cluster, clock, producer } = open();
  const abort = new AbortController();
  script(cluster, lose(cluster, false));
  const first = producer.send([append("a")], abort.signal);
  const second = producer.send([append("b")], waiting);
  await clock.advance(0);
  abort.abort();
  expect(codes(await first)).toEqual(["UNKNOWN_OUTCOME"]);
  await clock.advance(100);
  expect(codes(await second)).toEqual(["accepted"]);
  expect(sent(cluster)).toEqual([["ab"], ["ab"]]);
});

test("calls that share a refused batch: one gives up, and is not sent with the other", async () => {
  const { cluster, clock, producer } = open();
  const abort = new AbortController();
  script(cluster, say(errorCodes.NOT_ENOUGH_REPLICAS));
  const first = producer.send([append("a")], abort.signal);
  const second = producer.send([append("b")], waiting);
  await clock.advance(0);
  abort.abort();
  expect(codes(await first)).toEqual(["CONNECTION_LOST"]);
  await clock.advance(100);
  expect(codes(await second)).toEqual(["accepted"]);
  expect(sent(cluster)).toEqual([["ab"], ["b"]]);
});

test("lack of replicas is told once, and its end when a partition that waited takes something again", async () => {
  const { cluster, clock, producer, blocked } = open({ t: [1, 1], other: [1] });
  const refused = new Set([0, 1]);
  cluster.answer = async ({ batches }) =>
    batches.map((batch) =>
      answerTo(batch, batch.topic === "t" && refused.has(batch.partition) ? errorCodes.NOT_ENOUGH_REPLICAS : 0),
    );
  const call = producer.send([append("a"), append("b", 1)], waiting);
  await clock.advance(3_000);
  expect(blocked).toEqual([expect.stringContaining("NOT_ENOUGH_REPLICAS")]);
  await producer.send([append("c", 0, "other")], waiting);
  refused.delete(0);
  await clock.advance(2_000);
  expect(blocked).toHaveLength(1);
  refused.delete(1);
  await clock.advance(2_000);
  expect(codes(await call)).toEqual(["accepted", "accepted"]);
  expect(blocked).toEqual([expect.stringContaining("NOT_ENOUGH_REPLICAS"), undefined]);
});

test("a producer id that cannot be had now is asked for again", async () => {
  const { cluster, clock, producer } = open();
  cluster.producerIdError = errorCodes.COORDINATOR_LOAD_IN_PROGRESS;
  const call = producer.send([append("a")], waiting);
  await clock.advance(500);
  expect(cluster.requests).toEqual([]);
  cluster.producerIdError = 0;
  await clock.advance(2_000);
  expect(codes(await call)).toEqual(["accepted"]);
});

test("a broker that cannot be reached is left when another leads", async () => {
  const { cluster, clock, producer } = open();
  cluster.nodeFails = cut(false);
  const call = producer.send([append("a")], waiting);
  await clock.advance(500);
  cluster.nodeFails = undefined;
  cluster.leaders.set("t", [2]);
  await clock.advance(2_000);
  expect(codes(await call)).toEqual(["accepted"]);
  expect(cluster.requests.map(({ node }) => node)).toEqual([2]);
});

test("after close everything has its receipt, and no timer is left", async () => {
  const { cluster, clock, producer } = open({ t: [1], slow: [2], gone: [undefined] });
  cluster.answer = (request, node) =>
    node === 2 ? new Promise(() => undefined) : Promise.resolve(refusal(request, errorCodes.NOT_ENOUGH_REPLICAS));
  const calls = [append("a"), append("b", 0, "slow"), append("c", 0, "gone")].map((each) =>
    producer.send([each], waiting),
  );
  await clock.advance(0);
  producer.close();
  producer.close();
  const after = producer.send([append("d")], waiting);
  expect((await Promise.all([...calls, after])).map(codes)).toEqual([
    ["CONNECTION_LOST"],
    ["UNKNOWN_OUTCOME"],
    ["CONNECTION_LOST"],
    ["CONNECTION_LOST"],
  ]);
  await clock.advance(0);
  expect(clock.pending).toBe(0);
  expect(cluster.requests).toHaveLength(2);
  const [receipt] = await after;
  expect(receipt?.accepted === false && receipt.error.cause).toEqual(closedError());
});
