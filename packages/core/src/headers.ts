import { PosthornError } from "./errors.ts";
import type { Headers } from "./message.ts";
import { emptyHeaders, noHeaders, reservedHeaderPrefix } from "./message.ts";
import { utf8Length } from "./utf8.ts";

/** Carried by the envelope; as a header they would be somebody else's. */
const envelopeHeaders = new Set(["traceparent", "tracestate", "baggage"]);
const longestNameBytes = 255;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
export const controlCharacters: RegExp = /[\u0000-\u001f\u007f]/;

/** Headers as an application gives them. */
export type UserHeaders = Readonly<Record<string, string | number | boolean | bigint | undefined>>;

/**
 * The user's headers as they travel: strings only.
 *
 * @throws INVALID_HEADER for what not every broker carries unchanged, and for names that are Posthorn's
 */
export function userHeaders(given: UserHeaders | undefined): Headers {
  if (given === undefined) return noHeaders;
  const headers = emptyHeaders();
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === undefined) continue;
    checkName(name);
    headers[name] = toText(name, value);
  }
  return headers;
}

/** The headers that a handler sees: without Posthorn's own. A new object. */
export function visibleHeaders(headers: Headers): Record<string, string> {
  const visible = emptyHeaders();
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value !== undefined && !isReserved(name) && name !== "__proto__") visible[name] = value;
  }
  return visible;
}

function isReserved(name: string): boolean {
  return (
    name.length >= reservedHeaderPrefix.length &&
    name.slice(0, reservedHeaderPrefix.length).toLowerCase() === reservedHeaderPrefix
  );
}

function checkName(name: string): void {
  const refuse = (why: string): never => {
    throw new PosthornError("INVALID_HEADER", `The header name ${JSON.stringify(name.slice(0, 80))} ${why}.`, {
      details: { name },
    });
  };
  if (name === "") refuse("is empty");
  if (name === "__proto__") refuse("is no name for a header");
  if (isReserved(name)) refuse(`begins with "${reservedHeaderPrefix}", which is reserved`);
  if (envelopeHeaders.has(name.toLowerCase())) refuse("belongs to the envelope");
  if (controlCharacters.test(name)) refuse("has control characters");
  if (!name.isWellFormed()) refuse("is not well-formed Unicode");
  if (utf8Length(name) > longestNameBytes) refuse(`is longer than ${longestNameBytes} bytes`);
}

function toText(name: string, value: unknown): string {
  if (typeof value === "string") {
    if (value.isWellFormed()) return value;
    throw new PosthornError("INVALID_HEADER", `The header ${JSON.stringify(name)} is not well-formed Unicode.`, {
      details: { name },
    });
  }
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  throw new PosthornError(
    "INVALID_HEADER",
    `The header ${JSON.stringify(name)} is ${value === null ? "null" : `a ${typeof value}`}: give a string, number, boolean or bigint.`,
    {
      details: { name },
    },
  );
}
