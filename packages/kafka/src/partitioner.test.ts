import { describe, expect, test } from "vitest";
import { createPartitioner, murmur2, partitionOfKey } from "./partitioner.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("the hash is that of the Java client", () => {
  // `testMurmur2` in `org.apache.kafka.common.utils.UtilsTest`.
  test.each([
    ["21", -973_932_308],
    ["foobar", -790_332_482],
    ["a-little-bit-long-string", -985_981_536],
    ["a-little-bit-longer-string", -1_486_304_829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971],
    ["abc", 479_470_107],
  ])("%s", (text, hash) => {
    expect(murmur2(utf8(text))).toBe(hash);
  });

  // Computed with `Utils.murmur2` of kafka-clients 4.4.0: every length modulo 4, and bytes above 127.
  test.each([
    ["", 275_646_681],
    ["1", -1_993_445_489],
    ["12", 126_087_238],
    ["123", -267_702_483],
    ["1234", -1_614_185_708],
    ["äöü€", 563_110_447],
    ["😀", 131_881_617],
    ["customer 7", -551_276_946],
  ])("%j", (text, hash) => {
    expect(murmur2(utf8(text))).toBe(hash);
  });

  test("also of bytes that are no text, wherever they lie in their buffer", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    expect(murmur2(bytes)).toBe(-1_948_347_274);
    expect(murmur2(bytes.subarray(0xf9))).toBe(-1_125_860_179);
  });
});

test("a key always has the same partition, and a hash below zero one as well", () => {
  expect(partitionOfKey(utf8("foobar"), 10)).toBe(6);
  expect(partitionOfKey(utf8("foobar"), 50)).toBe(16);
  const partition = createPartitioner(Math.random);
  for (const key of ["21", "foobar", "abc", ""]) {
    expect(partition(utf8(key), 50)).toBe(partitionOfKey(utf8(key), 50));
    expect(partition(utf8(key), 1)).toBe(0);
  }
});

test("without a key the partitions have their turns, whatever keys come between", () => {
  const partition = createPartitioner(() => 0.5);
  const turns = Array.from({ length: 7 }, () => {
    partition(utf8("key"), 3);
    return partition(null, 3);
  });
  const [first = 0] = turns;
  expect(turns).toEqual(turns.map((_, index) => (first + index) % 3));
});

test("the first turn is left to chance", () => {
  const firsts = [0, 0.2, 0.4, 0.6, 0.8, 0.999].map((random) => createPartitioner(() => random)(null, 12));
  expect(new Set(firsts).size).toBeGreaterThan(1);
  expect(firsts.every((partition) => Number.isInteger(partition) && partition >= 0 && partition < 12)).toBe(true);
});
