import { once } from "node:events";
import { connect } from "node:net";

/** An API of Kafka's protocol in the version that is spoken (https://kafka.apache.org/protocol). */
export interface KafkaApi {
  readonly key: number;
  readonly version: number;
  /** Whether this version has tagged fields, in its headers too (KIP-482). */
  readonly flexible: boolean;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

const silenceDeadlineMs = 10_000;

/**
 * Sends one request over a connection of its own and resolves to the body of the response.
 *
 * @throws Error when nobody listens, the connection ends before the response, or the broker is silent for 10 s.
 */
export async function kafkaRequest(address: Address, api: KafkaApi, body: Buffer): Promise<WireReader> {
  const socket = connect(address);
  try {
    socket.setTimeout(silenceDeadlineMs, () => socket.destroy(new Error(`${at(address)} is silent`)));
    await once(socket, "connect");
    const header = [int16(api.key), int16(api.version), int32(1), string("posthorn-tests")];
    socket.write(sized(Buffer.concat([...header, api.flexible ? noTags : Buffer.alloc(0), body])));

    let received = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4 || received.length < 4 + received.readInt32BE()) continue;
      const reader = new WireReader(received.subarray(8)); // behind its size and the correlation id
      // That of ApiVersions is the same in every version: who asks does not know yet what the broker speaks.
      if (api.flexible && api.key !== 18) reader.tags();
      return reader;
    }
    throw new Error(`${at(address)} closed the connection upon request ${api.key}, version ${api.version}`);
  } finally {
    socket.destroy();
  }
}

/** @throws Error when it is not `host:port`. */
export function addressOf(text: string): Address {
  const [, host, port] = /^(.+):(\d+)$/.exec(text) ?? [];
  if (host === undefined) throw new Error(`${text} is not host:port`);
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

export function at({ host, port }: Address): string {
  return `${host}:${port}`;
}

export function int8(value: number): Buffer {
  return Buffer.from([value]);
}

export function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeInt16BE(value);
  return buffer;
}

export function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}

export function string(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([int16(bytes.length), bytes]);
}

/** Bytes behind their size. */
export function sized(bytes: Buffer): Buffer {
  return Buffer.concat([int32(bytes.length), bytes]);
}

export function array(items: readonly Buffer[]): Buffer {
  return Buffer.concat([int32(items.length), ...items]);
}

export function compactString(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([unsignedVarint(bytes.length + 1), bytes]);
}

export function compactArray(items: readonly Buffer[]): Buffer {
  return Buffer.concat([unsignedVarint(items.length + 1), ...items]);
}

/** A null for every kind of array and string; the compact ones say it with 0. */
export const nullArray: Buffer = int32(-1);
export const nullString: Buffer = int16(-1);
export const compactNull: Buffer = int8(0);
/** The end of a structure of a flexible version that has no tagged fields. */
export const noTags: Buffer = int8(0);

function unsignedVarint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

/** Reads the fields of a message one after the other. */
export class WireReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int8(): number {
    return this.#take(1).readInt8();
  }

  int16(): number {
    return this.#take(2).readInt16BE();
  }

  int32(): number {
    return this.#take(4).readInt32BE();
  }

  int64(): bigint {
    return this.#take(8).readBigInt64BE();
  }

  /** A null string reads as an empty one. */
  string(): string {
    return this.#take(Math.max(this.int16(), 0)).toString();
  }

  /** A null array reads as an empty one. */
  array<T>(item: () => T): T[] {
    return Array.from({ length: Math.max(this.int32(), 0) }, item);
  }

  compactString(): string {
    return this.#take(Math.max(this.#unsignedVarint() - 1, 0)).toString();
  }

  compactArray<T>(item: () => T): T[] {
    return Array.from({ length: Math.max(this.#unsignedVarint() - 1, 0) }, item);
  }

  /** The tagged fields at the end of a structure, by their tags. */
  tags(): ReadonlyMap<number, WireReader> {
    const fields = new Map<number, WireReader>();
    for (let left = this.#unsignedVarint(); left > 0; left--) {
      const tag = this.#unsignedVarint();
      fields.set(tag, new WireReader(this.#take(this.#unsignedVarint())));
    }
    return fields;
  }

  #unsignedVarint(): number {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = this.#take(1).readUInt8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  #take(count: number): Buffer {
    const taken = this.#bytes.subarray(this.#offset, (this.#offset += count));
    if (taken.length < count) throw new Error("the message ends too early");
    return taken;
  }
}
