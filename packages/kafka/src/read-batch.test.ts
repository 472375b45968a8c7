import { createRequire } from "node:module";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createCodecs, hasZstd } from "./compression.ts";
import type { ReadBatch } from "./read-batch.ts";
import { readRecordBatch } from "./read-batch.ts";
import { batchOf, emptiedBatch, recordOf, writtenAt } from "./record-batch.fixture.ts";
import { batchField } from "./record-batch.ts";
import type { OutgoingRecord } from "./records.ts";

interface KafkajsRecord {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer>>;
}

const require = createRequire(import.meta.url);
const kafkajsRecord = require("kafkajs/src/protocol/recordBatch/record/v0") as (record: KafkajsRecord) => unknown;
const { RecordBatch: kafkajsBatch } = require("kafkajs/src/protocol/recordBatch/v0") as {
  readonly RecordBatch: (batch: {
    readonly firstOffset: string;
    readonly firstTimestamp: number;
    readonly lastOffsetDelta: number;
    readonly producerId: string;
    readonly transactional: boolean;
    readonly compression: number;
    readonly records: readonly unknown[];
  }) => Promise<{ readonly buffer: Buffer }>;
};

const codecs = createCodecs({});
const attribute = { appendTime: 0x08, transaction: 0x10, control: 0x20 };

test("batches are read as kafkajs writes them", async () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));
  const record = fc.record({
    timestampDelta: fc.integer({ min: -1_000, max: 10_000_000 }),
    key: fc.option(bytes),
    value: fc.option(bytes),
    // Objects have an order of their own for names that are numbers.
    headers: fc.dictionary(
      fc.string({ unit: "grapheme" }).map((name) => `h${name}`),
      bytes,
      { maxKeys: 5 },
    ),
  });
  const batch = fc.record({
    firstOffset: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    producerId: fc.bigInt({ min: -1n, max: 2n ** 62n }),
    transactional: fc.boolean(),
    compression: fc.constantFrom(0, 1),
    records: fc.array(record, { minLength: 1, maxLength: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(batch, async ({ firstOffset, producerId, transactional, compression, records }) => {
      const lastOffsetDelta = records.length - 1;
      const { buffer } = await kafkajsBatch({
        firstOffset: String(firstOffset),
        firstTimestamp: writtenAt,
        lastOffsetDelta,
        producerId: String(producerId),
        transactional,
        compression,
        records: records.map((each, offsetDelta) => kafkajsRecord({ ...each, offsetDelta })),
      });
      expect(await readRecordBatch(buffer, codecs)).toEqual({
        firstOffset,
        lastOffset: firstOffset + BigInt(lastOffsetDelta),
        producerId,
        inTransaction: transactional,
        isControl: false,
        records: records.map(({ timestampDelta, key, value, headers }, index) => ({
          offset: firstOffset + BigInt(index),
          timestamp: writtenAt + timestampDelta,
          key,
          value,
          headers: Object.entries(headers),
        })),
      });
    }),
  );
});

test.each(["none", "gzip", "zstd"] as const)("batches are read as we write them, with %s", async (compression) => {
  if (compression === "zstd" && !hasZstd) return;
  const records: OutgoingRecord[] = [
    { key: Buffer.from("key"), value: Buffer.alloc(10_000, "v"), headers: [["name", Buffer.from("välue")]] },
    { key: null, value: null, headers: [["without", null]] },
    { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [] },
  ];
  const batch = await readRecordBatch(await batchOf({ firstOffset: 7n, records, compression }), codecs);
  expect(batch.records).toEqual(
    records.map((record, index) => ({ ...record, offset: 7n + BigInt(index), timestamp: writtenAt })),
  );
});

test("names of headers keep their order, may repeat, and may be those of an object's own properties", async () => {
  const names = ["b", "__proto__", "constructor", "7", "b", "toString", ""];
  const headers = names.map((name, index) => [name, Buffer.from(String(index))] as const);
  const batch = await readRecordBatch(await batchOf({ records: [{ key: null, value: null, headers }] }), codecs);
  expect(batch.records[0]?.headers).toEqual(headers);
});

test("a hundred thousand headers are read in a time that does not hold up a heartbeat", async () => {
  const headers = Array.from({ length: 100_000 }, (_, index) => [`h${index}`, "v"] as const);
  const bytes = await batchOf({ records: [{ key: null, value: null, headers }] });
  const startedAt = performance.now();
  const batch = await readRecordBatch(bytes, codecs);
  expect(batch.records[0]?.headers).toHaveLength(100_000);
  // A time that grew with the square would be minutes.
  expect(performance.now() - startedAt).toBeLessThan(3_000);
});

test("where the broker stamps the records, its time counts", async () => {
  const bytes = await batchOf({ records: [recordOf("a")], attributes: attribute.appendTime });
  bytes.writeBigInt64BE(5n, batchField.lastTimestamp);
  expect((await readRecordBatch(bytes, codecs)).records[0]?.timestamp).toBe(5);
});

test.each([
  [0, false, false],
  [attribute.transaction, true, false],
  [attribute.transaction | attribute.control, true, true],
])("the attributes %i tell transactions and control batches", async (attributes, inTransaction, isControl) => {
  const bytes = await batchOf({ records: [recordOf("a")], producerId: 9n, attributes });
  expect(await readRecordBatch(bytes, codecs)).toMatchObject({ producerId: 9n, inTransaction, isControl });
});

test.each([0, 1])("what compaction has emptied has offsets, whatever its codec (%i)", async (codec) => {
  const bytes = await emptiedBatch(10n, 14n);
  bytes.writeInt16BE(codec, batchField.attributes);
  expect(await readRecordBatch(bytes, codecs)).toMatchObject({ firstOffset: 10n, lastOffset: 14n, records: [] });
});

describe("what cannot be read is an error that says why", () => {
  const read = async (change: (bytes: Buffer) => Buffer): Promise<unknown> =>
    readRecordBatch(change(await batchOf({ records: [recordOf("a"), recordOf("b")] })), codecs);

  test("an older format", async () => {
    await expect(read((bytes) => bytes.fill(1, batchField.version, batchField.version + 1))).rejects.toThrow(
      "format version 2",
    );
  });

  test("a codec that is missing", async () => {
    await expect(read((bytes) => bytes.fill(2, batchField.attributes + 1, batchField.attributes + 2))).rejects.toThrow(
      "codecs.snappy",
    );
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ["not whole", (bytes) => bytes.subarray(0, -1)],
    ["shorter than its header", (bytes) => bytes.subarray(0, 30)],
    ["no bytes at all", (bytes) => bytes.subarray(0, 0)],
    ["a wrong length", (bytes) => bytes.fill(0xff, batchField.length, batchField.length + 4)],
    ["offsets that go back", (bytes) => bytes.fill(0xff, batchField.lastOffset, batchField.lastOffset + 4)],
    ["more records than there are", (bytes) => bytes.fill(0x7f, batchField.count, batchField.count + 4)],
    ["a record with a wrong length", (bytes) => bytes.fill(0x7e, batchField.count + 4, batchField.count + 5)],
  ])("%s", async (_, change) => {
    await expect(read(change)).rejects.toThrow("damaged");
  });

  test("whatever is damaged is an error or a batch, and never takes for ever", async () => {
    const whole = await batchOf({ records: [recordOf("a"), { ...recordOf("b"), headers: [["name", "value"]] }] });
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = Buffer.from(whole);
        for (const [at, byte] of changes) bytes[at] = byte;
        const outcome = await readRecordBatch(bytes, codecs).catch((error: unknown) => error);
        expect(outcome instanceof Error || Array.isArray((outcome as ReadBatch).records)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
