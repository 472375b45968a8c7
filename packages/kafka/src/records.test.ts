import { createRequire } from "node:module";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { OutgoingRecord } from "./records.ts";
import { recordBytes } from "./records.ts";

interface Encoded {
  readonly buffer: Buffer;
}

const encode = createRequire(import.meta.url)("kafkajs/src/protocol/recordBatch/record/v0") as (record: {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string | Uint8Array | null>>;
}) => Encoded;

/** What kafkajs makes of it, in the middle of a batch. */
function onTheWire({ key, value, headers }: OutgoingRecord): number {
  return encode({
    offsetDelta: 4_000,
    timestampDelta: 90_000,
    key: key === null ? null : Buffer.from(key),
    value: value === null ? null : Buffer.from(value),
    headers: Object.fromEntries(headers),
  }).buffer.length;
}

/** By how many bytes it is overestimated. */
function excess(record: OutgoingRecord): number {
  return recordBytes(record) - onTheWire(record);
}

test("a record's bytes are never underestimated, and hardly overestimated", () => {
  const bytes = fc.option(fc.uint8Array({ maxLength: 300 }));
  const text = fc.string({ unit: "grapheme", maxLength: 100 });
  const headers = fc.dictionary(text, text, { maxKeys: 100 }).map((table) => Object.entries(table));
  fc.assert(
    fc.property(fc.record({ key: bytes, value: bytes, headers }), (record) => {
      expect(excess(record)).toBeGreaterThanOrEqual(0);
      expect(excess(record)).toBeLessThanOrEqual(20);
    }),
    { numRuns: 300 },
  );
});

test.each([0x3f, 0x40, 0x1fff, 0x2000, 0xf_ffff, 0x10_0000])(
  "the length of %i bytes is counted as it is written",
  (length) => {
    const record: OutgoingRecord = { key: null, value: new Uint8Array(length), headers: [["n", "v"]] };
    expect(excess(record)).toBeGreaterThanOrEqual(0);
    expect(excess(record)).toBeLessThanOrEqual(20);
  },
);
