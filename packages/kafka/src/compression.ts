/**
 * Codecs for batches of records. kafkajs has gzip only; Node.js has zstd from 22.15 and 23.8 on.
 *
 * kafkajs keeps its codecs in one registry for the whole process, which others in it may use as well. So we put ours only
 * where nobody has put one.
 */
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { PosthornError } from "@posthorn/core/transport";
import type { KafkajsCodec } from "kafkajs/src/protocol/message/compression/index.js";
import kafkajsGzip from "kafkajs/src/protocol/message/compression/gzip.js";
import registry from "kafkajs/src/protocol/message/compression/index.js";

/** What we write with. */
export type Compression = "none" | "gzip" | "zstd";

/** Compresses batches of records in the framing that Kafka's own clients use: snappy as Xerial frames it, LZ4 in its frame format. */
export interface Codec {
  compress(data: Uint8Array): Promise<Uint8Array>;
  /** Should reject rather than give much more than {@link longestBatchBytes}. */
  decompress(data: Uint8Array): Promise<Uint8Array>;
}

/** Codecs that neither Node.js nor kafkajs has. */
export interface Codecs {
  readonly snappy?: Codec | undefined;
  readonly lz4?: Codec | undefined;
}

/** A batch's attributes hold one of these. */
export const codecNumbers = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** No batch may be longer than this when it is decompressed: a few kilobytes can claim to be gigabytes. 128 MiB. */
export const longestBatchBytes = 134_217_728;

/** Whether this Node.js has zstd. */
export const hasZstd: boolean = typeof zlib.zstdCompress === "function";

const gzip: Codec = {
  compress: promisify(zlib.gzip),
  decompress: (data) => bounded("gzip", promisify(zlib.unzip)(data, { maxOutputLength: longestBatchBytes })),
};

const zstd: Codec = {
  compress: (data) => promisify(zlib.zstdCompress)(data),
  decompress: (data) => bounded("zstd", promisify(zlib.zstdDecompress)(data, { maxOutputLength: longestBatchBytes })),
};

async function bounded(name: string, decompressed: Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await decompressed;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const text = `A batch of records compressed with ${name} is longer than ${longestBatchBytes} bytes.`;
    throw new PosthornError("TRANSPORT_FAILED", text, { cause });
  }
}

/** With what the registry has: the application may have put a codec of its own there. */
export async function compress(compression: Exclude<Compression, "none">, data: Buffer): Promise<Uint8Array> {
  const codec = registry.Codecs[codecNumbers[compression]]?.();
  if (codec === undefined) throw new PosthornError("TRANSPORT_FAILED", `There is no codec for ${compression}.`);
  return codec.compress({ buffer: data });
}

/**
 * Makes kafkajs know the given codecs and zstd, and puts a bound to its gzip, which has none. What the application has
 * registered with kafkajs itself stays.
 */
export function registerCodecs({ snappy, lz4 }: Codecs): void {
  if (registry.Codecs[codecNumbers.gzip]?.() === kafkajsGzip) register(codecNumbers.gzip, gzip);
  if (hasZstd) registerMissing(codecNumbers.zstd, zstd);
  if (snappy !== undefined) registerMissing(codecNumbers.snappy, snappy);
  if (lz4 !== undefined) registerMissing(codecNumbers.lz4, lz4);
}

function registerMissing(number: number, codec: Codec): void {
  try {
    if (registry.Codecs[number]?.() !== undefined) return;
  } catch {
    // What stands there by default only throws.
  }
  register(number, codec);
}

function register(number: number, codec: Codec): void {
  const adapted: KafkajsCodec = {
    compress: async (encoder) => asBuffer(await codec.compress(encoder.buffer)),
    decompress: async (buffer) => asBuffer(await codec.decompress(buffer)),
  };
  registry.Codecs[number] = () => adapted;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
