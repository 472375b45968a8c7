/** Which partition a record goes to: as the Java client chooses, so that all programs put a key's messages into the same one. */

const seed = 0x9747b28c;
const multiplier = 0x5bd1e995;
const rotation = 24;

/**
 * A 32-bit hash, as a signed integer.
 *
 * Source: `murmur2` in `org.apache.kafka.common.utils.Utils`.
 */
export function murmur2(data: Uint8Array): number {
  const { length } = data;
  const view = new DataView(data.buffer, data.byteOffset, length);
  let hash = seed ^ length;
  let index = 0;
  for (; index + 4 <= length; index += 4) {
    let word = Math.imul(view.getInt32(index, true), multiplier);
    word ^= word >>> rotation;
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier);
  }
  if (index < length) {
    for (let left = length - 1; left >= index; left--) hash ^= view.getUint8(left) << (8 * (left - index));
    hash = Math.imul(hash, multiplier);
  }
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}

/** @param partitions how many the topic has */
export function partitionOfKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitions;
}

/** Chooses the partition of a record, given its key and how many partitions its topic has. */
export type Partitioner = (key: Uint8Array | null, partitions: number) => number;

/**
 * By key, and without one in turn. Each topic has its own.
 *
 * @param random a number in [0, 1); where the turn begins, so that short lives do not all begin at the first
 */
export function createPartitioner(random: () => number): Partitioner {
  let turn = Math.floor(random() * 0x1_0000);
  return (key, partitions) => (key === null ? turn++ % partitions : partitionOfKey(key, partitions));
}
