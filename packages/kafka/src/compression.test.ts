import { gzipSync, zstdCompressSync } from "node:zlib";
import type { KafkajsCodec } from "kafkajs/src/protocol/message/compression/index.js";
import kafkajsGzip from "kafkajs/src/protocol/message/compression/gzip.js";
import registry from "kafkajs/src/protocol/message/compression/index.js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Codec } from "./compression.ts";
import { codecNumbers, compress, hasZstd, longestBatchBytes, registerCodecs } from "./compression.ts";

const text = Buffer.from("a batch of records ".repeat(1_000));
const asItWas = { ...registry.Codecs };

function restore(): void {
  Object.assign(registry.Codecs, asItWas);
}

beforeEach(restore);
afterEach(restore);

function codec(name: keyof typeof codecNumbers): KafkajsCodec {
  const found = registry.Codecs[codecNumbers[name]]?.();
  if (found === undefined) throw new Error(`There is no codec for ${name}.`);
  return found;
}

/** Turns every byte around. */
const own: Codec = {
  compress: (data) => Promise.resolve(data.map((byte) => 255 - byte)),
  decompress: (data) => Promise.resolve(data.map((byte) => 255 - byte)),
};

describe.each(["gzip", "zstd"] as const)("%s", (name) => {
  test.runIf(name === "gzip" || hasZstd)("is the same afterwards, and shorter in between", async () => {
    registerCodecs({});
    const compressed = await codec(name).compress({ buffer: text });
    expect(compressed.length).toBeLessThan(text.length / 10);
    const decompressed = await codec(name).decompress(compressed);
    expect(Buffer.isBuffer(decompressed)).toBe(true);
    expect(decompressed.equals(text)).toBe(true);
  });

  test.runIf(name === "gzip" || hasZstd)("does not grow beyond all bounds", async () => {
    registerCodecs({});
    const mebibyte = Buffer.alloc(1_048_576);
    const part = name === "gzip" ? gzipSync(mebibyte) : zstdCompressSync(mebibyte);
    const bomb = Buffer.concat(Array<Buffer>(longestBatchBytes / mebibyte.length + 1).fill(part));
    expect(bomb.length).toBeLessThan(200_000);
    await expect(codec(name).decompress(bomb)).rejects.toMatchObject({
      code: "TRANSPORT_FAILED",
      message: expect.stringContaining(name) as string,
    });
  });

  test.runIf(name === "gzip" || hasZstd)("what is damaged is an error", async () => {
    registerCodecs({});
    await expect(codec(name).decompress(Buffer.from("no batch at all"))).rejects.toThrow(
      /incorrect header check|Unknown frame descriptor/,
    );
  });
});

test("snappy and LZ4 are what the application gives, and are missing where it gives none", async () => {
  registerCodecs({});
  expect(() => codec("snappy")).toThrow(/not implemented/);
  registerCodecs({ snappy: own });
  expect((await codec("snappy").decompress(await codec("snappy").compress({ buffer: text }))).equals(text)).toBe(true);
  expect(() => codec("lz4")).toThrow(/not implemented/);
  registerCodecs({ lz4: own });
  expect(Buffer.isBuffer(await codec("lz4").compress({ buffer: text }))).toBe(true);
});

test("what the application has registered with kafkajs stays", () => {
  const theirs: KafkajsCodec = { ...kafkajsGzip };
  for (const name of ["gzip", "snappy", "lz4", "zstd"] as const) registry.Codecs[codecNumbers[name]] = () => theirs;
  registerCodecs({ snappy: own, lz4: own });
  for (const name of ["gzip", "snappy", "lz4", "zstd"] as const) expect(codec(name)).toBe(theirs);
});

test("what is sent is compressed with what is registered", async () => {
  registerCodecs({});
  expect((await codec("gzip").decompress(Buffer.from(await compress("gzip", text)))).equals(text)).toBe(true);
  const theirs: KafkajsCodec = { ...kafkajsGzip, compress: () => Promise.resolve(Buffer.from("theirs")) };
  registry.Codecs[codecNumbers.gzip] = () => theirs;
  registerCodecs({});
  expect(Buffer.from(await compress("gzip", text)).toString()).toBe("theirs");
});

test("registering again changes nothing", () => {
  registerCodecs({ snappy: own });
  const before = codec("snappy");
  registerCodecs({ snappy: { ...own } });
  expect(codec("snappy")).toBe(before);
});
