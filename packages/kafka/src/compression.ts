/** Codecs for batches of records: gzip, zstd where Node.js has it (from 22.15 and 23.8 on), and those that the application gives. */
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { PosthornError } from "@posthorn/core/transport";

/** What we write with. */
export type Compression = "none" | "gzip" | "zstd";

/** Compresses batches of records in the framing that Kafka's own clients use: snappy as Xerial frames it, LZ4 in its frame format. */
export interface Codec {
  compress(data: Uint8Array): Promise<Uint8Array>;
  /** Should reject rather than give much more than {@link longestBatchBytes}. */
  decompress(data: Uint8Array): Promise<Uint8Array>;
}

/** Codecs that Node.js does not have. */
export interface Codecs {
  readonly snappy?: Codec | undefined;
  readonly lz4?: Codec | undefined;
}

/** A batch's attributes hold one of these. */
export const codecNumbers = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

type CodecName = Exclude<keyof typeof codecNumbers, "none">;

/** No batch may be longer than this when it is decompressed: a few kilobytes can claim to be gigabytes. 128 MiB. */
export const longestBatchBytes = 134_217_728;

/** Whether this Node.js has zstd. */
export const hasZstd: boolean = typeof zlib.zstdCompress === "function";

/** All codecs that there are. A missing one is TRANSPORT_FAILED, with what brings it. */
export interface BatchCodecs {
  compress(name: CodecName, data: Uint8Array): Promise<Uint8Array>;
  /** @param number as in a batch's attributes, but not that of `none` */
  decompress(number: number, data: Uint8Array): Promise<Buffer>;
}

export function createCodecs({ snappy, lz4 }: Codecs): BatchCodecs {
  const codecs: Readonly<Record<CodecName, Codec | undefined>> = {
    gzip,
    snappy,
    lz4,
    zstd: hasZstd ? zstd : undefined,
  };
  const names = Object.keys(codecs) as CodecName[];
  return {
    async compress(name, data) {
      return (codecs[name] ?? missing(name)).compress(data);
    },
    async decompress(number, data) {
      const name = names.find((each) => codecNumbers[each] === number);
      if (name === undefined)
        throw new PosthornError(
          "TRANSPORT_FAILED",
          `The batch is compressed with the codec ${number}, which is not known.`,
        );
      const { buffer, byteOffset, byteLength } = await (codecs[name] ?? missing(name)).decompress(data);
      return Buffer.from(buffer, byteOffset, byteLength);
    },
  };
}

function missing(name: CodecName): never {
  const advice =
    name === "zstd" ? "which this Node.js does not have: use 22.15, 23.8 or later" : `give the option codecs.${name}`;
  throw new PosthornError("TRANSPORT_FAILED", `The batch is compressed with ${name}: ${advice}.`);
}

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
