import { createRequire } from "node:module";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PrimitiveReader } from "./primitive-reader.ts";

interface Encoder {
  readonly buffer: Buffer;
  writeVarInt(value: number): this;
  writeVarLong(value: bigint): this;
}

const KafkajsEncoder = createRequire(import.meta.url)("kafkajs/src/protocol/encoder") as new () => Encoder;

function reader(hex: string): PrimitiveReader {
  return new PrimitiveReader(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

test("values are read one after the other", () => {
  const bytes = reader("ff 8000 7fffffff fffffffffffffffe 0002 c3a4 00000001 2a 00000002 0005 0006");
  expect(bytes.int8()).toBe(-1);
  expect(bytes.int16()).toBe(-32_768);
  expect(bytes.int32()).toBe(2_147_483_647);
  expect(bytes.int64()).toBe(-2n);
  expect(bytes.string()).toBe("ä");
  expect(bytes.bytes()).toEqual(Buffer.of(0x2a));
  expect(bytes.array(() => bytes.int16())).toEqual([5, 6]);
  expect(bytes.at).toBe(32);
});

test("null is read as empty", () => {
  const bytes = reader("ffff ffffffff ffffffff");
  expect(bytes.string()).toBe("");
  expect(bytes.bytes()).toEqual(Buffer.alloc(0));
  expect(bytes.array(() => bytes.int8())).toEqual([]);
});

test.each([0, -1, 1, 63, -64, 64, -65, 8_191, 8_192, 2_147_483_647, -2_147_483_648])(
  "the varint %i is read as kafkajs writes it",
  (value) => {
    expect(new PrimitiveReader(new KafkajsEncoder().writeVarInt(value).buffer).varint()).toBe(value);
  },
);

test("a long varint is exact up to 2 to the power of 52", () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.nat(2 ** 21 - 1), (high, low) => {
      const value = high * 2 ** 21 + low;
      expect(new PrimitiveReader(new KafkajsEncoder().writeVarLong(BigInt(value)).buffer).varint()).toBe(value);
    }),
  );
});

describe("what is damaged is an error", () => {
  test.each<[string, string, (bytes: PrimitiveReader) => unknown]>([
    ["a number that is cut off", "00", (bytes) => bytes.int16()],
    ["a text that is cut off", "0003 6161", (bytes) => bytes.string()],
    ["a negative length", "fffe 6161", (bytes) => bytes.string()],
    ["bytes that are cut off", "7fffffff 00", (bytes) => bytes.bytes()],
    ["an array that is cut off", "7fffffff 00", (bytes) => bytes.array(() => bytes.int8())],
    ["a varint that is cut off", "80", (bytes) => bytes.varint()],
    ["a varint that does not end", "ff ff ff ff ff ff ff ff ff ff ff ff", (bytes) => bytes.varint()],
  ])("%s", (_, hex, read) => {
    expect(() => read(reader(hex))).toThrow("damaged");
  });
});
