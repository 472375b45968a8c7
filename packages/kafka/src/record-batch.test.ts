import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { createCodecs } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { encodeRecordBatch } from "./record-batch.ts";
import type { OutgoingRecord } from "./records.ts";
import { batchOverheadBytes, recordBytes } from "./records.ts";

const require = createRequire(import.meta.url);
const Decoder = require("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => unknown;
const decodeRecordBatch = require("kafkajs/src/protocol/recordBatch/v0/decoder") as (
  decoder: unknown,
) => Promise<{ readonly records: readonly { readonly value: Buffer | null }[] }>;

const codecs = createCodecs({});
const timestamp = 1_752_125_504_999;

function batchOf(records: readonly OutgoingRecord[]) {
  const recordsBytes = records.reduce((sum, record) => sum + recordBytes(record), 0);
  return { producerId: 0x1234_5678_9abcn, producerEpoch: 0x7fff, firstSequence: 0x7fff_fffe, records, recordsBytes };
}

const records: OutgoingRecord[] = [
  { key: null, value: null, headers: [] },
  { key: Buffer.from("key"), value: new Uint8Array(), headers: [["", ""]] },
  { key: new Uint8Array(), value: Buffer.alloc(70_000, 1), headers: [["ü", "ä".repeat(31)]] },
  { key: null, value: Buffer.from("x"), headers: [["lone", "\ud800 surrogate"]] },
  {
    key: null,
    value: Buffer.alloc(3),
    headers: [
      ["63", "a".repeat(63)],
      ["64", "a".repeat(64)],
      ["long", "ö".repeat(5_000)],
      ["bytes", Buffer.from([0, 255])],
    ],
  },
];

// kafkajs has no zstd; our own reader's tests have it.
test.each(["none", "gzip"] as const)("what is written can be read: %s", async (compression) => {
  const batch = batchOf(records);
  const bytes = await encodeRecordBatch(batch, compression, timestamp, codecs);
  expect(await decodeRecordBatch(new Decoder(bytes))).toMatchObject({
    firstOffset: "0",
    producerId: String(batch.producerId),
    producerEpoch: batch.producerEpoch,
    firstSequence: batch.firstSequence,
    lastOffsetDelta: records.length - 1,
    firstTimestamp: String(timestamp),
    maxTimestamp: String(timestamp),
    records: records.map(({ key, value, headers }, index) => ({
      offset: String(index),
      timestamp: String(timestamp),
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
      headers: Object.fromEntries(headers.map(([name, each]) => [name, Buffer.from(each ?? "")])),
    })),
  });
  const checksumAt = 17;
  expect(bytes.readUInt32BE(checksumAt)).toBe(crc32c(bytes.subarray(checksumAt + 4)));
  expect(bytes.length).toBe(12 + bytes.readInt32BE(8));
});

test("headers without a value are written so", async () => {
  const record: OutgoingRecord = { key: null, value: null, headers: [["a", null]] };
  const bytes = await encodeRecordBatch(batchOf([record]), "none", 0, codecs);
  // Length 9 - 1, attributes, time, offset, no key, no value, one header: "a", no value.
  expect(bytes.subarray(batchOverheadBytes).toString("hex")).toBe("12 00 00 00 01 01 02 02 61 01".replaceAll(" ", ""));
});

test("an upper bound of the size is enough, whatever the lengths", async () => {
  for (const bytes of [0, 1, 40, 63, 64, 8_150, 8_191, 8_192, 1_048_576, 63]) {
    const record: OutgoingRecord = { key: null, value: Buffer.alloc(bytes), headers: [["name", "v"]] };
    const batch = batchOf([record, record, record]);
    const written = await encodeRecordBatch(batch, "none", timestamp, codecs);
    expect(written.length).toBeLessThanOrEqual(batchOverheadBytes + batch.recordsBytes);
    const read = await decodeRecordBatch(new Decoder(written));
    expect(read.records.map(({ value }) => value?.length)).toEqual([bytes, bytes, bytes]);
  }
});
