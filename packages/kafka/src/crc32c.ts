/** CRC-32C (Castagnoli), the checksum of a record batch: Node.js has CRC-32 only. */

const polynomial = 0x82f6_3b78;

/** Eight tables of 256: what a byte does to the checksum when so many bytes follow it in one step. */
const table = createTable();

/**
 * Eight bytes a step, twice as fast as one.
 *
 * Source: Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC Generators", 2005.
 *
 * @returns an unsigned 32-bit integer
 */
export function crc32c(bytes: Uint8Array): number {
  const { length } = bytes;
  let crc = -1;
  let at = 0;
  for (const last = length - 8; at <= last; at += 8) {
    crc ^= byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    crc =
      entry(1792 + (crc & 0xff)) ^
      entry(1536 + ((crc >>> 8) & 0xff)) ^
      entry(1280 + ((crc >>> 16) & 0xff)) ^
      entry(1024 + (crc >>> 24)) ^
      entry(768 + byte(bytes, at + 4)) ^
      entry(512 + byte(bytes, at + 5)) ^
      entry(256 + byte(bytes, at + 6)) ^
      entry(byte(bytes, at + 7));
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ entry((crc ^ byte(bytes, at)) & 0xff);
  return ~crc >>> 0;
}

/** Indexes are within bounds: `??` would cost a third of the speed. */
function byte(bytes: Uint8Array, index: number): number {
  return bytes[index] as number;
}

function entry(index: number): number {
  return table[index] as number;
}

function createTable(): Int32Array {
  const entries = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    entries[byte] = crc;
  }
  for (let index = 256; index < entries.length; index++) {
    const before = entries[index - 256] ?? 0;
    entries[index] = (before >>> 8) ^ (entries[before & 0xff] ?? 0);
  }
  return entries;
}
