import type * as zlib from "node:zlib";
import { gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Codec } from "./compression.ts";
import { codecNumbers, createCodecs, hasZstd, longestBatchBytes } from "./compression.ts";

const text = Buffer.from("a batch of records ".repeat(1_000));

/** Turns every byte around. */
const own: Codec = {
  compress: (data) => Promise.resolve(data.map((byte) => 255 - byte)),
  decompress: (data) => Promise.resolve(data.map((byte) => 255 - byte)),
};

describe.each(["gzip", "zstd"] as const)("%s", (name) => {
  const codecs = createCodecs({});

  test.runIf(name === "gzip" || hasZstd)("is the same afterwards, and shorter in between", async () => {
    const compressed = await codecs.compress(name, text);
    expect(compressed.length).toBeLessThan(text.length / 10);
    const decompressed = await codecs.decompress(codecNumbers[name], compressed);
    expect(decompressed.equals(text)).toBe(true);
  });

  test.runIf(name === "gzip" || hasZstd)("does not grow beyond all bounds", async () => {
    const mebibyte = Buffer.alloc(1_048_576);
    const part = name === "gzip" ? gzipSync(mebibyte) : zstdCompressSync(mebibyte);
    const bomb = Buffer.concat(Array<Buffer>(longestBatchBytes / mebibyte.length + 1).fill(part));
    expect(bomb.length).toBeLessThan(200_000);
    await expect(codecs.decompress(codecNumbers[name], bomb)).rejects.toMatchObject({
      code: "TRANSPORT_FAILED",
      message: expect.stringContaining(name) as string,
    });
  });

  test.runIf(name === "gzip" || hasZstd)("what is damaged is an error", async () => {
    await expect(codecs.decompress(codecNumbers[name], Buffer.from("no batch at all"))).rejects.toThrow(
      /incorrect header check|Unknown frame descriptor/,
    );
  });
});

test("gzip is what others read", async () => {
  expect(gunzipSync(await createCodecs({}).compress("gzip", text)).equals(text)).toBe(true);
});

describe.each(["snappy", "lz4"] as const)("%s", (name) => {
  test("is what the application gives", async () => {
    const codecs = createCodecs({ [name]: own });
    const compressed = await codecs.compress(name, text);
    expect(compressed[0]).toBe(255 - (text[0] ?? 0));
    const decompressed = await codecs.decompress(codecNumbers[name], compressed);
    expect(Buffer.isBuffer(decompressed)).toBe(true);
    expect(decompressed.equals(text)).toBe(true);
  });

  test("is missing where the application gives none, and the error names the option", async () => {
    const codecs = createCodecs(name === "snappy" ? { lz4: own } : { snappy: own });
    const expected = { code: "TRANSPORT_FAILED", message: expect.stringContaining(`codecs.${name}`) as string };
    await expect(codecs.decompress(codecNumbers[name], text)).rejects.toMatchObject(expected);
    await expect(codecs.compress(name, text)).rejects.toMatchObject(expected);
  });
});

test("two transports in a process have codecs of their own", async () => {
  createCodecs({ snappy: own });
  await expect(createCodecs({}).decompress(codecNumbers.snappy, text)).rejects.toThrow("codecs.snappy");
});

test.each([5, 6, 7])("the number %i is no codec's", async (number) => {
  await expect(createCodecs({}).decompress(number, text)).rejects.toMatchObject({
    code: "TRANSPORT_FAILED",
    message: expect.stringContaining(`codec ${number}`) as string,
  });
});

describe("a Node.js that has no zstd", () => {
  afterEach(() => {
    vi.doUnmock("node:zlib");
    vi.resetModules();
  });

  test("says so, and which version has it", async () => {
    vi.resetModules();
    vi.doMock("node:zlib", async (original) => ({
      ...(await original<typeof zlib>()),
      zstdCompress: undefined,
      zstdDecompress: undefined,
    }));
    const older = await import("./compression.ts");
    expect(older.hasZstd).toBe(false);
    await expect(older.createCodecs({}).decompress(codecNumbers.zstd, text)).rejects.toThrow(/zstd.*22\.15, 23\.8/);
    await expect(older.createCodecs({}).decompress(codecNumbers.gzip, gzipSync(text))).resolves.toEqual(text);
  });
});
