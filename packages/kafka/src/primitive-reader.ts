/**
 * Reads Kafka's primitive types, one after the other. Everything throws where the bytes end before the value does.
 *
 * Source: Kafka's documentation, "Kafka protocol guide", "Protocol Primitive Types".
 */
export class PrimitiveReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** How many bytes were read. */
  get at(): number {
    return this.#at;
  }

  int8(): number {
    return this.#bytes.readInt8(this.#skip(1));
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#skip(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#skip(4));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#skip(8));
  }

  /** Zigzag: 0, 1, 2, 3 are 0, -1, 1, -2. Seven bits a byte, the lowest first. Exact up to 2 to the power of 52. */
  varint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || factor > 2 ** 63) throw damaged();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A view of the next so many bytes. */
  take(length: number): Buffer {
    const start = this.#skip(length);
    return this.#bytes.subarray(start, this.#at);
  }

  /** Null is read as empty. */
  string(): string {
    return this.take(orEmpty(this.int16())).toString();
  }

  /** A view, not a copy. Null is read as empty. */
  bytes(): Buffer {
    return this.take(orEmpty(this.int32()));
  }

  /** Null is read as empty. */
  array<Item>(read: () => Item): Item[] {
    const items: Item[] = [];
    for (let left = this.int32(); left > 0; left--) items.push(read());
    return items;
  }

  /** @returns where the skipped bytes begin */
  #skip(length: number): number {
    const start = this.#at;
    if (length < 0 || length > this.#bytes.length - start) throw damaged();
    this.#at = start + length;
    return start;
  }
}

/** A length of -1 is that of null. */
function orEmpty(length: number): number {
  return length === -1 ? 0 : length;
}

/** What was read is not what it should be. */
export function damaged(): Error {
  return new Error("The bytes are damaged: a length in them is wrong.");
}
