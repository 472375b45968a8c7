/** Records as a broker would hand them out, for tests. */
import type { FetchedRecord, OutgoingRecord } from "./records.ts";

export const appendedAt = 1_752_125_504_999;

/** What comes back of a record that was appended. */
export function fetched(record: OutgoingRecord): FetchedRecord {
  return {
    topic: "orders",
    partition: 3,
    offset: 42n,
    timestamp: appendedAt,
    key: record.key,
    value: record.value,
    headers: record.headers.map(([name, value]) => [name, typeof value === "string" ? Buffer.from(value) : value]),
  };
}

/** A record that some other program wrote. */
export function foreign(
  headers: Readonly<Record<string, string | Uint8Array | null>>,
  rest: Partial<FetchedRecord> = {},
): FetchedRecord {
  const bytes = Object.entries(headers).map(
    ([name, value]) => [name, typeof value === "string" ? Buffer.from(value) : value] as const,
  );
  return { ...fetched({ key: null, value: Buffer.from("body"), headers: [] }), headers: bytes, ...rest };
}
