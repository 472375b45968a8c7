import { expect, test } from "vitest";
import { crc32c } from "./crc32c.ts";

// Source: RFC 3720, section B.4.
test.each([
  ["", 0],
  ["31 32 33 34 35 36 37 38 39", 0xe306_9283],
  ["00 ".repeat(32), 0x8a91_36aa],
  ["ff ".repeat(32), 0x62a8_ab43],
  [Array.from({ length: 32 }, (_, index) => index.toString(16).padStart(2, "0")).join(""), 0x46dd_794e],
])("CRC-32C of %s", (hex, expected) => {
  expect(crc32c(Buffer.from(hex.replaceAll(" ", ""), "hex"))).toBe(expected);
});

test("whatever the length", () => {
  const bytes = Buffer.from(Array.from({ length: 40 }, (_, index) => index * 37));
  const bitwise = (data: Uint8Array): number => {
    let crc = -1;
    for (const byte of data) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
    }
    return ~crc >>> 0;
  };
  for (let length = 0; length <= bytes.length; length++) {
    const part = bytes.subarray(bytes.length - length);
    expect(crc32c(part)).toBe(bitwise(part));
  }
});
