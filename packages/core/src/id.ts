const hex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const pool = new Uint8Array(2048);
let used = pool.length;

/**
 * A UUID of version 7: 48 bits of time, 74 bits of chance. Ids made later sort later, to the millisecond.
 *
 * Source: RFC 9562, section 5.7.
 *
 * @param now milliseconds since the Unix epoch
 */
export function uuidv7(now: number): string {
  if (used + 10 > pool.length) {
    globalThis.crypto.getRandomValues(pool);
    used = 0;
  }
  const byte = (offset: number): number => pool[used + offset] ?? 0;
  const time = Math.floor(now).toString(16).padStart(12, "0");
  const id =
    `${time.slice(0, 8)}-${time.slice(8)}-7${hex[byte(0)]?.slice(1)}${hex[byte(1)]}-` +
    `${hex[0x80 | (byte(2) & 0x3f)]}${hex[byte(3)]}-${hex[byte(4)]}${hex[byte(5)]}${hex[byte(6)]}${hex[byte(7)]}${hex[byte(8)]}${hex[byte(9)]}`;
  used += 10;
  return id;
}

const uuidv7Pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The time a UUIDv7 was made, in milliseconds since the Unix epoch; `undefined` when `id` is something else. */
export function timeFromUuidv7(id: string): number | undefined {
  if (!uuidv7Pattern.test(id)) return undefined;
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
