import { describe, expect, test } from "vitest";
import type { FetchedPartition } from "./client.ts";
import { createCodecs } from "./compression.ts";
import { errorCodes } from "./errors.ts";
import type { PartitionFixture } from "./fetch-answer.fixture.ts";
import { fetchAnswer, kafkaAnswer, kafkaAnswerCutOff } from "./fetch-answer.fixture.ts";
import { decodeFetchAnswer } from "./fetch-answer.ts";
import { batchOf, emptiedBatch, recordOf, writtenAt } from "./record-batch.fixture.ts";

const codecs = createCodecs({});
const attribute = { snappy: 0x02, transaction: 0x10, control: 0x20 };
const transaction = attribute.transaction;
const marker = attribute.transaction | attribute.control;

function ask(topic: string, partition: number, offset: bigint) {
  return { topic, partition, offset, maxBytes: 1_048_576 };
}

/** What is read of partition 0 of the topic `a`. */
async function readOne(
  offset: bigint,
  batches: readonly Buffer[],
  aborted: PartitionFixture["aborted"] = [],
): Promise<FetchedPartition> {
  const payload = fetchAnswer([{ topic: "a", partition: 0, aborted, batches }]);
  const [answer] = await decodeFetchAnswer(payload, [ask("a", 0, offset)], codecs);
  if (answer === undefined) throw new Error("There is no answer for the partition.");
  return answer;
}

/** Records as `offset value`. */
function told({ records }: FetchedPartition): string[] {
  return records.map(({ offset, value }) => `${offset} ${value === null ? "null" : Buffer.from(value).toString()}`);
}

describe("what Kafka 4.4 answers", () => {
  const asked = [ask("fetched", 0, 1n), ask("fetched", 1, 77n), ask("fetched", 9, 0n)];

  test("is read, without what was aborted and without markers", async () => {
    const [first, second, third, ...others] = await decodeFetchAnswer(kafkaAnswer, asked, codecs);
    expect(first).toMatchObject({
      topic: "fetched",
      partition: 0,
      error: 0,
      highWatermark: 9n,
      logStart: 0n,
      next: 9n,
    });
    expect(first?.undecodable).toBeUndefined();
    expect(first === undefined ? undefined : told(first)).toEqual([
      "1 null",
      "3 value of between",
      "5 value of committed",
      "7 value of gzip-a",
      "8 value of gzip-b",
    ]);
    expect(first?.records[1]).toEqual({
      topic: "fetched",
      partition: 0,
      offset: 3n,
      timestamp: expect.any(Number) as number,
      key: Buffer.from("between"),
      value: Buffer.from("value of between"),
      headers: [["h", Buffer.from("1")]],
    });
    expect(second).toMatchObject({ partition: 1, error: errorCodes.OFFSET_OUT_OF_RANGE, records: [], next: 77n });
    expect(third).toMatchObject({ partition: 9, error: errorCodes.UNKNOWN_TOPIC_OR_PARTITION, records: [], next: 0n });
    expect(others).toEqual([]);
  });

  test("is read up to where it is cut off", async () => {
    const [answer] = await decodeFetchAnswer(kafkaAnswerCutOff, [ask("fetched", 0, 0n)], codecs);
    expect(answer === undefined ? undefined : told(answer)).toEqual([
      "0 value of plain",
      "1 null",
      "3 value of between",
    ]);
    // Behind the abort's marker.
    expect(answer).toMatchObject({ highWatermark: 9n, next: 5n, undecodable: undefined });
  });

  test("is an error where it ends too early", async () => {
    for (let length = 0; length < kafkaAnswer.length; length++)
      await expect(decodeFetchAnswer(kafkaAnswer.subarray(0, length), asked, codecs)).rejects.toThrow("damaged");
  });
});

test("each partition has an answer of its own", async () => {
  const batches = [await batchOf({ firstOffset: 5n, records: [recordOf("x")] })];
  const payload = fetchAnswer([
    { topic: "a", partition: 0, error: errorCodes.NOT_LEADER_OR_FOLLOWER, highWatermark: -1n, logStart: -1n },
    { topic: "a", partition: 2, highWatermark: 6n, logStart: 1n, batches },
    { topic: "b", partition: 0, error: errorCodes.TOPIC_AUTHORIZATION_FAILED, highWatermark: -1n, logStart: -1n },
    { topic: "b", partition: 1, highWatermark: 9n },
  ]);
  const asked = [ask("a", 0, 3n), ask("a", 2, 5n), ask("b", 0, 7n), ask("b", 1, 9n)];
  const nothing = { records: [], undecodable: undefined };
  const refused = { ...nothing, highWatermark: -1n, logStart: -1n };
  expect(await decodeFetchAnswer(payload, asked, codecs)).toEqual([
    { ...refused, topic: "a", partition: 0, error: errorCodes.NOT_LEADER_OR_FOLLOWER, next: 3n },
    {
      topic: "a",
      partition: 2,
      error: 0,
      highWatermark: 6n,
      logStart: 1n,
      records: [{ topic: "a", partition: 2, offset: 5n, timestamp: writtenAt, ...recordOf("x") }],
      next: 6n,
      undecodable: undefined,
    },
    { ...refused, topic: "b", partition: 0, error: errorCodes.TOPIC_AUTHORIZATION_FAILED, next: 7n },
    { ...nothing, topic: "b", partition: 1, error: 0, highWatermark: 9n, logStart: 0n, next: 9n },
  ]);
});

test("an error of the whole answer is one of every partition that was asked for", async () => {
  const payload = fetchAnswer([], errorCodes.UNKNOWN_SERVER_ERROR);
  const answers = await decodeFetchAnswer(payload, [ask("a", 0, 3n), ask("b", 1, 4n)], codecs);
  expect(answers).toMatchObject([
    { topic: "a", partition: 0, error: errorCodes.UNKNOWN_SERVER_ERROR, records: [], next: 3n },
    { topic: "b", partition: 1, error: errorCodes.UNKNOWN_SERVER_ERROR, records: [], next: 4n },
  ]);
});

test("an answer without partitions, as a broker gives it that slows a client down, has none", async () => {
  expect(await decodeFetchAnswer(fetchAnswer([]), [ask("a", 0, 3n)], codecs)).toEqual([]);
});

describe("where the batches of a partition begin and end", () => {
  test("what lies before the asked offset is left out", async () => {
    const batches = [
      await batchOf({ firstOffset: 1n, records: [recordOf("x")] }),
      await batchOf({ firstOffset: 2n, records: ["a", "b", "c"].map(recordOf) }),
    ];
    const answer = await readOne(3n, batches);
    expect(told(answer)).toEqual(["3 b", "4 c"]);
    expect(answer.next).toBe(5n);
  });

  test("the offset to go on at never goes back", async () => {
    const answer = await readOne(9n, [await batchOf({ firstOffset: 2n, records: ["a", "b"].map(recordOf) })]);
    expect(answer).toMatchObject({ records: [], next: 9n });
  });

  test.each([1, 11, 12, 60, 61])("a batch of which only %i bytes came is asked for again", async (bytes) => {
    const batches = [
      await batchOf({ records: [recordOf("a")] }),
      (await batchOf({ firstOffset: 1n, records: [recordOf("b")] })).subarray(0, bytes),
    ];
    const answer = await readOne(0n, batches);
    expect(told(answer)).toEqual(["0 a"]);
    expect(answer).toMatchObject({ next: 1n, undecodable: undefined });
  });

  test("a first batch that claims to be longer than what came is unreadable: the broker never cuts it", async () => {
    const answer = await readOne(4n, [(await batchOf({ firstOffset: 4n, records: [recordOf("a")] })).subarray(0, -1)]);
    expect(answer).toMatchObject({
      records: [],
      next: 4n,
      undecodable: { message: expect.stringMatching("damaged") as string },
    });
  });

  test("a batch that claims to have no length, or less, is unreadable", async () => {
    for (const length of [0, -12, -61, -2_147_483_648]) {
      const damaged = await batchOf({ firstOffset: 1n, records: [recordOf("b")] });
      damaged.writeInt32BE(length, 8);
      const answer = await readOne(0n, [await batchOf({ records: [recordOf("a")] }), damaged]);
      expect(told(answer)).toEqual(["0 a"]);
      expect(answer).toMatchObject({ next: 1n, undecodable: { message: expect.stringMatching("damaged") as string } });
    }
  });

  test("what compaction has emptied is not asked for again", async () => {
    const batches = [
      await emptiedBatch(3n, 6n),
      await batchOf({ firstOffset: 9n, records: [recordOf("a")] }),
      await emptiedBatch(10n, 19n),
    ];
    const answer = await readOne(4n, batches);
    expect(told(answer)).toEqual(["9 a"]);
    expect(answer.next).toBe(20n);
  });
});

describe("transactions", () => {
  const ofProducer = (producerId: bigint, firstOffset: bigint, value: string): Promise<Buffer> =>
    batchOf({ firstOffset, producerId, attributes: transaction, records: [recordOf(value)] });
  const endOf = (producerId: bigint, firstOffset: bigint): Promise<Buffer> =>
    batchOf({ firstOffset, producerId, attributes: marker, records: [recordOf("end")] });

  test("markers are no records, but are not asked for again", async () => {
    const answer = await readOne(0n, [await ofProducer(7n, 0n, "a"), await endOf(7n, 1n)]);
    expect(told(answer)).toEqual(["0 a"]);
    expect(answer.next).toBe(2n);
  });

  test("what was aborted is left out up to its marker, and only that", async () => {
    const batches = [
      await ofProducer(7n, 0n, "committed before"),
      await endOf(7n, 1n),
      await ofProducer(7n, 2n, "aborted"),
      await ofProducer(8n, 3n, "another's"),
      await batchOf({ firstOffset: 4n, producerId: 7n, records: [recordOf("in no transaction")] }),
      await ofProducer(7n, 5n, "aborted, too"),
      await endOf(7n, 6n),
      await endOf(8n, 7n),
      await ofProducer(7n, 8n, "committed afterwards"),
      await endOf(7n, 9n),
    ];
    const answer = await readOne(0n, batches, [{ producerId: 7n, firstOffset: 2n }]);
    expect(told(answer)).toEqual([
      "0 committed before",
      "3 another's",
      "4 in no transaction",
      "8 committed afterwards",
    ]);
    expect(answer.next).toBe(10n);
  });

  test("what was aborted comes in any order, and may have begun before what is read", async () => {
    const batches = [
      await ofProducer(7n, 5n, "aborted"),
      await endOf(7n, 6n),
      await ofProducer(8n, 7n, "aborted"),
      await ofProducer(7n, 8n, "aborted again"),
      await endOf(8n, 9n),
      await endOf(7n, 10n),
      await ofProducer(8n, 11n, "committed"),
    ];
    const answer = await readOne(5n, batches, [
      { producerId: 7n, firstOffset: 8n },
      { producerId: 8n, firstOffset: 7n },
      { producerId: 7n, firstOffset: 1n },
    ]);
    expect(told(answer)).toEqual(["11 committed"]);
    expect(answer.next).toBe(12n);
  });
});

test("what cannot be read in one partition does not hide the others, nor what comes before it", async () => {
  const readable = await batchOf({ records: [recordOf("a")], compression: "gzip" });
  const unreadable = await batchOf({ firstOffset: 1n, records: [recordOf("b")], attributes: attribute.snappy });
  const payload = fetchAnswer([
    { topic: "a", partition: 0, batches: [readable, unreadable, readable] },
    { topic: "a", partition: 1, batches: [readable] },
    { topic: "b", partition: 0, batches: [unreadable] },
  ]);
  const asked = [ask("a", 0, 0n), ask("a", 1, 0n), ask("b", 0, 1n)];
  const answers = await decodeFetchAnswer(payload, asked, codecs);
  expect(answers.map(told)).toEqual([["0 a"], ["0 a"], []]);
  expect(answers.map(({ next }) => next)).toEqual([1n, 1n, 1n]);
  expect(answers.map(({ undecodable }) => undecodable?.message ?? "")).toEqual([
    expect.stringContaining("codecs.snappy"),
    "",
    expect.stringContaining("codecs.snappy"),
  ]);
});
