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
    const loss = findLoss(value);
    if (loss !== undefined) throw lossError(loss);
    return encoder.encode(text);
  },
  decode(body) {
    try {
      return JSON.parse(decoder.decode(body)) as unknown;
    } catch {
      // Not the cause: it quotes the body.
      throw new PosthornError("DECODE_FAILED", `The body (${body.byteLength} bytes) is not JSON in UTF-8.`);
    }
  },
};

/** Bytes as they are. */
export const bytes: Codec & { readonly contentType: "application/octet-stream" } = {
  contentType: "application/octet-stream",
  accepts: () => true,
  encode(value) {
    if (value instanceof Uint8Array) return new Uint8Array(value);
    throw new PosthornError("ENCODE_FAILED", `A payload of bytes must be a Uint8Array, not ${describe(value)}.`);
  },
  decode: (body) => new Uint8Array(body),
};

interface Loss {
  readonly value: unknown;
  path: string;
}

/**
 * Finds what JSON would change, walking what JSON.stringify has already walked without a cycle. The path is put together on
 * the way back, where there is something to tell.
 */
function findLoss(value: unknown): Loss | undefined {
  if (value === null || typeof value === "string" || typeof value === "boolean") return undefined;
  if (typeof value === "number") return Number.isFinite(value) ? undefined : { value, path: "" };
  if (typeof value !== "object") return { value, path: "" };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const loss = findLoss(value[index]);
      if (loss !== undefined) return within(`[${index}]`, loss);
    }
    return undefined;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
  if (!plain || typeof (value as { toJSON?: unknown }).toJSON === "function") return { value, path: "" };
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name];
    const loss = member === undefined ? undefined : findLoss(member);
    if (loss !== undefined) return within(name, loss);
  }
  return undefined;
}

function within(step: string, loss: Loss): Loss {
  const separator = loss.path === "" || loss.path.startsWith("[") ? "" : ".";
  loss.path = `${step}${separator}${loss.path}`;
  return loss;
}

function lossError({ value, path }: Loss): PosthornError {
  const where = path === "" ? "The payload" : `The payload's ${path}`;
  return new PosthornError(
    "ENCODE_FAILED",
    `${where} is ${describe(value)}, which JSON would change on the way: send its JSON form instead.`,
    { details: { path } },
  );
}

function describe(value: unknown): string {
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "object"}`;
  return typeof value === "number" || value === undefined ? String(value) : `a ${typeof value}`;
}
