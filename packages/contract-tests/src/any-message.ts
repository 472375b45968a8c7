import type { Message } from "@posthorn/core/transport";
import * as fc from "fast-check";
import { plainMessage } from "./messages.ts";

/** Texts that a header may have: none of those that the bus refuses before it sends. */
const headerText = fc.string({ unit: "binary", maxLength: 60 }).filter((value) => !/[\0\r\n]/.test(value));
const headerName = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9._-]{0,30}$/)
  .filter((name) => !name.toLowerCase().startsWith("posthorn-"));
const shortText = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter(isPlain);
const time = fc.integer({ min: 0, max: 4_102_444_800_000 });

function isPlain(value: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  return value.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(value);
}

const optional = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });

/** Whatever a message may be. */
export const anyMessage: fc.Arbitrary<Message> = fc
  .record({
    id: shortText,
    type: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$/),
    version: fc.integer({ min: 1, max: 1_000_000 }),
    source: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$/),
    time,
    contentType: fc.constantFrom("application/json", "application/octet-stream", "text/plain; charset=utf-8"),
    key: optional(shortText),
    correlationId: optional(shortText),
    causationId: optional(shortText),
    // A broker may drop what has expired.
    expiresAt: optional(fc.integer({ min: 3_000_000_000_000, max: 4_000_000_000_000 })),
    attempt: fc.integer({ min: 1, max: 1_000 }),
    traceparent: optional(fc.constant("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    tracestate: optional(fc.constant("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")),
    baggage: optional(fc.constant("tenant=acme,user=%C3%A9")),
    headers: fc.dictionary(
      headerName,
      headerText.filter((value) => value.isWellFormed()),
      { maxKeys: 8 },
    ),
    body: fc.uint8Array({ maxLength: 400 }),
  })
  .map((message) => plainMessage(message));
