/** Bodies. */
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (body: Uint8Array): string => new TextDecoder().decode(body);
export const hex = (body: Uint8Array): string => Buffer.from(body).toString("hex");

/** Every byte value, sequences that are no UTF-8, and characters that XML forbids. */
export const awkwardBytes: Uint8Array = Uint8Array.from([
  ...Array.from({ length: 256 }, (_, value) => value),
  0xc3,
  0x28,
  0xed,
  0xa0,
  0x80,
  0xf8,
  0xff,
  0xfe,
  0,
  0x1b,
]);

/** The same bytes for the same seed. */
export function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}
