import { expect, test } from "vitest";
import { fnv1a32, shardCount, shardOf } from "./shards.ts";

test("the hash is FNV-1a, by its published examples, over the bytes of UTF-8", () => {
  expect(fnv1a32("")).toBe(0x811c9dc5);
  expect(fnv1a32("a")).toBe(0xe40c292c);
  expect(fnv1a32("foobar")).toBe(0xbf9cf968);
  const bytes = Buffer.from("grün");
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16_777_619) >>> 0;
  expect(fnv1a32("grün")).toBe(hash);
});

test("shards of keys never change: publishers and consumers of all versions must agree", () => {
  expect(shardCount).toBe(8);
  const shardsOf = ["", "a", "customer 7", "1", "2", "3", "grün"].map((key) => shardOf({ key, id: "x" }));
  expect(shardsOf).toEqual([5, 4, 4, 4, 5, 2, 7]);
});

test("messages without a key are spread by their ids", () => {
  const used = new Set(Array.from({ length: 100 }, (_, n) => shardOf({ key: undefined, id: `id-${n}` })));
  expect(used.size).toBe(shardCount);
});
