/** Whatever fails: no record is lost that was accepted, none is there twice, none that certainly was not sent, none out of order. */
import type { Receipt } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { ProduceRequest } from "./client.ts";
import { errorCodes } from "./errors.ts";
import type { FakeCluster } from "./fake-cluster.fixture.ts";
import { answerTo, createFakeCluster, cut } from "./fake-cluster.fixture.ts";
import { createProducer } from "./producer.ts";

const partitions = 3;
const nodes = 2;

/** Numbers in [0, 1) that a seed gives. Source: mulberry32, Tommy Ettinger. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface World {
  readonly cluster: FakeCluster;
  readonly random: () => number;
  readonly pick: <Item>(items: readonly Item[]) => Item;
  /** Requests that lie in some buffer, and are carried out later. */
  readonly late: ProduceRequest[];
  /** How much goes wrong, from 0 to 1. */
  faults: number;
}

/** Refused before the append; the repeat of what has landed, too. */
const refusals = [
  errorCodes.NOT_ENOUGH_REPLICAS,
  errorCodes.LEADER_NOT_AVAILABLE,
  errorCodes.UNKNOWN_TOPIC_OR_PARTITION,
  errorCodes.THROTTLING_QUOTA_EXCEEDED,
];
/** Said before the append or after it. */
const doubtful = [
  errorCodes.NOT_LEADER_OR_FOLLOWER,
  errorCodes.REQUEST_TIMED_OUT,
  errorCodes.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  errorCodes.KAFKA_STORAGE_ERROR,
];

async function answer(world: World, request: ProduceRequest): ReturnType<FakeCluster["answer"]> {
  const { cluster, random, pick, late } = world;
  for (let turns = Math.floor(random() * 4); turns > 0; turns--)
    await new Promise<void>((resolve) => setImmediate(resolve));
  if (late.length > 0 && random() < 0.3) carryOut(world);
  if (random() < world.faults * 0.5) {
    const fault = pick(["unsent", "lost", "landed", "late", "moved"]);
    if (fault === "landed" || fault === "moved") cluster.append(request);
    if (fault === "late") late.push(request);
    if (fault === "moved")
      cluster.leaders.set(
        "t",
        Array.from({ length: partitions }, () => pick([1, 2, undefined])),
      );
    throw cut(fault !== "unsent");
  }
  return request.batches.map((batch) => {
    const log = cluster.log(batch.topic, batch.partition);
    const large = batch.records.some(({ value }) =>
      Buffer.from(value ?? "")
        .toString()
        .endsWith("!"),
    );
    if (large) return answerTo(batch, errorCodes.MESSAGE_TOO_LARGE);
    if (random() >= world.faults * 0.5) return answerTo(batch, log.append(batch));
    if (random() < 0.5) return answerTo(batch, pick(refusals));
    const code = random() < 0.5 ? log.append(batch) : 0;
    return answerTo(batch, code === 0 ? pick(doubtful) : code);
  });
}

function carryOut({ cluster, late, random }: World): void {
  const [request] = late.splice(Math.floor(random() * late.length), 1);
  if (request !== undefined) cluster.append(request);
}

test.each(Array.from({ length: 40 }, (_, seed) => seed))("seed %i", async (seed) => {
  const random = seeded(seed);
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
  const cluster = createFakeCluster({ t: Array.from({ length: partitions }, () => 1) });
  const world: World = { cluster, random, pick, late: [], faults: random() };
  cluster.answer = (request) => answer(world, request);
  const clock = createVirtualClock();
  const producer = createProducer({
    cluster,
    settings: { compression: "none", maxMessageBytes: 200, requestTimeoutMs: 10_000 },
    environment: { clock, random },
    onBlocked: () => undefined,
  });

  const calls: {
    readonly values: readonly { value: string; partition: number }[];
    readonly receipts: Promise<readonly Receipt[]>;
  }[] = [];
  const signals: AbortController[] = [];
  let sent = 0;
  for (let step = 0; step < 150; step++) {
    const values = Array.from({ length: 1 + Math.floor(random() * 5) }, () => ({
      value: `${sent++}${random() < 0.02 ? "!" : ""}`,
      partition: Math.floor(random() * partitions),
    }));
    const abort = new AbortController();
    signals.push(abort);
    const appends = values.map(({ value, partition }) => ({
      topic: "t",
      partition,
      record: { key: null, value: Buffer.from(value), headers: [] },
    }));
    calls.push({ values, receipts: producer.send(appends, abort.signal) });
    if (random() < 0.3) pick(signals).abort();
    if (random() < 0.1)
      cluster.leaders.set(
        "t",
        Array.from({ length: partitions }, () => 1 + Math.floor(random() * nodes)),
      );
    if (random() < 0.5) await clock.advance(Math.floor(random() * 200));
    if (random() < 0.05) world.faults = random();
  }
  world.faults = 0;
  cluster.leaders.set(
    "t",
    Array.from({ length: partitions }, () => 2),
  );
  await clock.advance(10_000);
  while (world.late.length > 0) carryOut(world);

  const outcomes = new Map<string, string>();
  for (const { values, receipts } of calls)
    for (const [index, receipt] of (await receipts).entries())
      outcomes.set(values[index]?.value ?? "", receipt.accepted ? "accepted" : receipt.error.code);
  const logs = Array.from({ length: partitions }, (_, partition) => cluster.log("t", partition).values);
  const landed = logs.flat();
  expect(new Set(landed).size, "nothing is there twice").toBe(landed.length);
  const there = new Set(landed);
  const withOutcome = (...expected: string[]): string[] =>
    [...outcomes].filter(([, outcome]) => expected.includes(outcome)).map(([value]) => value);
  const taken = withOutcome("accepted");
  expect(taken.length).toBeGreaterThan(0);
  expect(
    taken.filter((value) => !there.has(value)),
    "what was accepted is there",
  ).toEqual([]);
  expect(
    withOutcome("CONNECTION_LOST", "UNROUTABLE", "MESSAGE_TOO_LARGE").filter((value) => there.has(value)),
    "what certainly was not taken is not there",
  ).toEqual([]);
  expect(
    [...outcomes.values()].filter((outcome) => outcome === "TRANSPORT_FAILED"),
    "nothing fails otherwise",
  ).toEqual([]);
  for (const log of logs) expect(log.map(Number), "in order").toEqual(log.map(Number).toSorted((a, b) => a - b));
  producer.close();
});
