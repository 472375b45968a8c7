/** The dead-letter format: the original message, byte for byte, and one reserved header that says why. The same on every broker. */
import { messageOf, nameOf } from "./errors.ts";
import type { Headers, Message } from "./message.ts";
import { copyHeaders, copyMessage, noHeaders, reservedHeaderPrefix } from "./message.ts";
import { issuesOf } from "./validation.ts";

/** Why a message is dead. Part of the wire format: a reason is never renamed. */
export const deadLetterReasons = {
  ATTEMPTS_EXHAUSTED: "Its handler failed as often as the retry policy allows.",
  DEAD_LETTERED: "Its handler asked for it.",
  DELIVERY_LIMIT:
    "The broker gave it up after too many deliveries without a settlement, as when it kills its consumers.",
  NO_HANDLER: "No handler takes its type and version.",
  SCHEMA_VIOLATION: "Its payload does not match the schema.",
  UNDECODABLE: "Its envelope or body cannot be read.",
} as const;

export type DeadLetterReason = keyof typeof deadLetterReasons;

/** A message that could not be handled, and why. */
export interface DeadLetter {
  /** The message as it was: same id, headers and bytes. */
  readonly message: Message;
  readonly reason: DeadLetterReason;
  /** The last failure's error name, such as `TypeError`, or its code where it has one. */
  readonly errorName: string;
  /** At most 1,000 characters. */
  readonly errorMessage: string;
  /** How often it was handled. 0 when it reached no handler. */
  readonly attempts: number;
  readonly firstFailedAt: Date | undefined;
  readonly lastFailedAt: Date | undefined;
  /** Where it was to be handled. */
  readonly channel: string;
  readonly group: string;
  /** Who gave it up. */
  readonly service: string;
  readonly serviceVersion: string | undefined;
  /** How often it was sent back from the dead-letter channel. */
  readonly redriveCount: number;
}

/** What core knows when it gives a message up. */
export interface Death {
  readonly reason: DeadLetterReason;
  readonly error: unknown;
  readonly attempts: number;
  /** Milliseconds since the Unix epoch. */
  readonly firstFailedAt: number;
  readonly lastFailedAt: number;
  readonly channel: string;
  readonly group: string;
  readonly service: string;
  readonly serviceVersion: string | undefined;
}

const header = `${reservedHeaderPrefix}dead-letter`;
const longestErrorMessage = 1_000;
const longestErrorName = 100;

/** The message to dispatch to the dead-letter channel. */
export function toDeadLetter(message: Message, death: Death): Message {
  return withRecord(message, {
    reason: death.reason,
    error: wellFormed(nameOf(death.error), longestErrorName),
    message: wellFormed(`${messageOf(death.error)} ${issuesOf(death.error)}`.trimEnd(), longestErrorMessage),
    attempts: death.attempts,
    first: death.firstFailedAt,
    last: death.lastFailedAt,
    channel: death.channel,
    group: death.group,
    service: death.service,
    version: death.serviceVersion,
    redrives: redriveCountOf(message.headers),
  });
}

/**
 * For a message that leaves no room for the whole record, as foreign ones may: the reason and the counts only; or, where even
 * that is too much, without the sender's headers.
 */
export function toMeagreDeadLetter(message: Message, death: Death, keepHeaders: boolean): Message {
  const { reason, attempts, channel, group } = death;
  const bare = keepHeaders ? message : copyMessage(message, { headers: noHeaders });
  return withRecord(bare, { reason, attempts, channel, group, headersCut: keepHeaders ? undefined : true });
}

function withRecord(message: Message, record: Readonly<Record<string, unknown>>): Message {
  const headers = copyHeaders(message.headers);
  headers[header] = JSON.stringify(record);
  return copyMessage(message, { headers });
}

function wellFormed(text: string, longest: number): string {
  return text.slice(0, longest).toWellFormed();
}

/**
 * Reads a message from a dead-letter channel. One without Posthorn's record was put there by the broker itself.
 */
export function fromDeadLetter(
  message: Message,
  source: { readonly channel: string; readonly group: string },
): DeadLetter {
  const record = readRecord(message.headers[header]);
  const text = (name: string): string | undefined => (typeof record[name] === "string" ? record[name] : undefined);
  const count = (name: string): number | undefined => (typeof record[name] === "number" ? record[name] : undefined);
  const date = (name: string): Date | undefined => {
    const time = count(name);
    return time === undefined ? undefined : new Date(time);
  };
  const reason = text("reason") ?? "";
  const known = Object.hasOwn(deadLetterReasons, reason) ? (reason as DeadLetterReason) : "DELIVERY_LIMIT";
  return {
    message: copyMessage(message, { headers: withoutHeaders(message.headers, [header, firstFailedHeader]) }),
    reason: known,
    errorName: text("error") ?? "",
    errorMessage: text("message") ?? deadLetterReasons[known],
    attempts: count("attempts") ?? 0,
    firstFailedAt: date("first"),
    lastFailedAt: date("last"),
    channel: text("channel") ?? source.channel,
    group: text("group") ?? source.group,
    service: text("service") ?? "",
    serviceVersion: text("version"),
    redriveCount: redriveCountOf(message.headers),
  };
}

const redriveHeader = `${reservedHeaderPrefix}redrive-count`;

function redriveCountOf(headers: Headers): number {
  const count = Number(headers[redriveHeader] ?? 0);
  return Number.isInteger(count) && count > 0 ? count : 0;
}

/** The message to send back to its group: as it was, and to be handled as if for the first time. */
export function toRedriven({ message, redriveCount }: DeadLetter): Message {
  const headers = copyHeaders(message.headers);
  headers[redriveHeader] = String(redriveCount + 1);
  return copyMessage(message, { headers, attempt: 1, notBefore: undefined });
}

const firstFailedHeader = `${reservedHeaderPrefix}first-failed-at`;

/** The message to send to its group's inlet: due at `notBefore` for the given attempt. When it failed first goes with it. */
export function toRedelivered(message: Message, attempt: number, notBefore: number, firstFailedAt: number): Message {
  const headers = copyHeaders(message.headers);
  headers[firstFailedHeader] ??= String(firstFailedAt);
  return copyMessage(message, { headers, attempt, notBefore });
}

/** When the message failed first, in an earlier delivery; milliseconds since the Unix epoch. */
export function firstFailureOf({ headers }: Message): number | undefined {
  const time = Number(headers[firstFailedHeader]);
  return Number.isSafeInteger(time) && time > 0 ? time : undefined;
}

function readRecord(text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  try {
    const record: unknown = JSON.parse(text);
    return typeof record === "object" && record !== null ? (record as Record<string, unknown>) : {};
  } catch {
    // A foreign program wrote the header; the message itself is still worth showing.
    return {};
  }
}

function withoutHeaders(headers: Headers, names: readonly string[]): Headers {
  if (!names.some((name) => name in headers)) return headers;
  const all = copyHeaders(headers);
  for (const name of names) delete all[name];
  return all;
}
