import { messageOf, PosthornError } from "./errors.ts";

/** Turns a payload into bytes and back. `decode(encode(value))` equals `value`, or `encode` throws. */
export interface Codec {
  /** The media type it writes. */
  readonly contentType: string;
  /** Whether it reads bodies of this media type, which may carry parameters and be in any case. Never called with an empty one. */
  accepts(contentType: string): boolean;
  /** @throws ENCODE_FAILED when the value cannot be written without loss */
  encode(value: unknown): Uint8Array;
  /** @throws DECODE_FAILED when the body is not what it should be */
  decode(body: Uint8Array): unknown;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

const jsonType = /^\s*[^\s/;]+\/(?:[^\s;]+\+)?json\s*(?:;|$)/i;
const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i;
const utf8 = /^(?:utf-?8|us-ascii)$/i;

/**
 * JSON in UTF-8, refusing what JSON would silently change: NaN and infinities, bigint, Date, Map, Set, functions, symbols,
 * `undefined` in an array, and objects with a class of their own. Object properties that are `undefined` are left out;
 * -0 is written as 0.
 */
export const json: Codec = {
  contentType: "application/json",
  accepts(contentType) {
    if (contentType === json.contentType) return true;
    return jsonType.test(contentType) && utf8.test(charset.exec(contentType)?.[1] ?? "utf-8");
  },
  encode(value) {
    let text: string | undefined;
    try {
      text = JSON.stringify(value);
    } catch (cause) {
      throw new PosthornError("ENCODE_FAILED", `The payload cannot be written as JSON: ${messageOf(cause)}.`, {
        cause,
      });
    }
    if (text === undefined)
      throw new PosthornError("ENCODE_FAILED", `The payload cannot be written as JSON: it is ${typeof value}.`);
    refuseLoss(value, "");
    return encoder.encode(text);
  },
  decode(body) {
    try {
      return JSON.parse(decoder.decode(body)) as unknown;
    } catch (cause) {
      throw new PosthornError("DECODE_FAILED", `The body (${body.byteLength} bytes) is not JSON in UTF-8.`, { cause });
    }
  },
};

/** Bytes as they are. */
export const bytes: Codec & { readonly contentType: "application/octet-stream" } = {
  contentType: "application/octet-stream",
  accepts: () => true,
  encode(value) {
    if (value instanceof Uint8Array) return value.slice();
    throw new PosthornError("ENCODE_FAILED", `A payload of bytes must be a Uint8Array, not ${describe(value)}.`);
  },
  decode: (body) => body.slice(),
};

/** Walks what JSON.stringify has already walked without a cycle. */
function refuseLoss(value: unknown, path: string): void {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) refuse(value, path);
    return;
  }
  if (typeof value !== "object") {
    refuse(value, path);
    return;
  }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) refuseLoss(value[index], `${path}[${index}]`);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
  if (!plain || typeof (value as { toJSON?: unknown }).toJSON === "function") refuse(value, path);
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name];
    if (member !== undefined) refuseLoss(member, path === "" ? name : `${path}.${name}`);
  }
}

function refuse(value: unknown, path: string): never {
  const where = path === "" ? "The payload" : `The payload's ${path}`;
  throw new PosthornError(
    "ENCODE_FAILED",
    `${where} is ${describe(value)}, which JSON would change on the way: send its JSON form instead.`,
    { details: { path } },
  );
}

function describe(value: unknown): string {
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "object"}`;
  return typeof value === "number" || value === undefined ? String(value) : `a ${typeof value}`;
}
