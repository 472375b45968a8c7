/** A record's headers, sorted by what they mean. */
import { isUtf8 } from "node:buffer";
import { emptyHeaders } from "@posthorn/core/transport";
import type { FetchedRecord } from "./records.ts";
import { attributePrefix, escapedHeaderPrefix, isContentType, wireHeaders } from "./wire.ts";

/** None of the tables has a prototype. */
export interface SortedHeaders {
  /** CloudEvents attributes, without their prefix. */
  readonly attributes: Record<string, string>;
  contentType: string | undefined;
  /** What else has a meaning of its own, by its name in {@link wireHeaders}. Most records have nothing of it. */
  others: Record<string, string> | undefined;
  /** All that has none. */
  readonly user: Record<string, string>;
  /** What could not be understood. */
  defect: string | undefined;
}

/**
 * What has a meaning to us must be text and must not contradict itself: the first is kept, and it is a defect. The headers of
 * others may be anything: of a name that repeats the last counts, as for Kafka's own clients, and what is not UTF-8 becomes base64.
 */
export function sortHeaders(headers: FetchedRecord["headers"]): SortedHeaders {
  const sorted: SortedHeaders = {
    attributes: emptyHeaders(),
    contentType: undefined,
    others: undefined,
    user: emptyHeaders(),
    defect: undefined,
  };
  for (const [name, value] of headers) {
    if (name.startsWith(attributePrefix)) {
      setAgreed(sorted, sorted.attributes, name.slice(attributePrefix.length), name, value);
    } else if (isContentType(name)) {
      sorted.contentType = agreed(sorted, name, sorted.contentType, value);
    } else if (otherNames.has(name)) {
      sorted.others ??= emptyHeaders();
      setAgreed(sorted, sorted.others, name, name, value);
    } else {
      const own = name.startsWith(escapedHeaderPrefix) ? name.slice(escapedHeaderPrefix.length) : name;
      sorted.user[own] = value === null ? "" : textOrBase64(value);
    }
  }
  return sorted;
}

const otherNames: ReadonlySet<string> = new Set(Object.values(wireHeaders));

function setAgreed(
  sorted: SortedHeaders,
  table: Record<string, string>,
  key: string,
  name: string,
  value: Uint8Array | null,
): void {
  const text = agreed(sorted, name, table[key], value);
  if (text !== undefined) table[key] = text;
}

/** What a header says that may have been there before. */
function agreed(
  sorted: SortedHeaders,
  name: string,
  before: string | undefined,
  value: Uint8Array | null,
): string | undefined {
  if (value !== null && !isUtf8(value)) {
    sorted.defect ??= `The header ${shown(name)} is not UTF-8.`;
    return before;
  }
  const text = value === null ? "" : utf8(value);
  if (before !== undefined && before !== text)
    sorted.defect ??= `The header ${shown(name)} occurs twice and contradicts itself.`;
  return before ?? text;
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

export function textOrBase64(bytes: Uint8Array): string {
  return isUtf8(bytes) ? utf8(bytes) : asBuffer(bytes).toString("base64");
}

function utf8(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("utf8");
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
