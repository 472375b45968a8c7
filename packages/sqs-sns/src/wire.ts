/**
 * The wire format: the body as the text that it is, and around it at most three attributes.
 *
 * SQS takes ten attributes, and SNS drops a message that has more without a word. So the type, by which SNS filters, and the
 * media type have attributes of their own, and the rest of the envelope shares one.
 *
 * | envelope | on SQS and SNS |
 * |---|---|
 * | type, contentType | attributes `type`, `content-type`, unless empty; where SQS cannot carry one: `type`, `contentType` in `posthorn` |
 * | id, source, key, correlationId, causationId, replyTo, traceparent, tracestate, baggage | texts in `posthorn`, by these names |
 * | version, attempt | numbers in `posthorn`, unless 1 |
 * | time, notBefore, expiresAt | milliseconds in `posthorn`; `"NaN"`, `"Infinity"` and `"-Infinity"` are texts |
 * | headers | `headers` in `posthorn`, an object of texts |
 * | body | the message's body; where it is no text that SQS can carry its base64, and `posthorn` says `"body":"base64"`; an empty one is `(empty)`, and `posthorn` says `"body":"empty"` |
 *
 * `posthorn` is a JSON object in printable ASCII: all other characters are escaped. A source that is empty, and whatever else
 * is not set, is left out. Set and empty is not the same as not set.
 *
 * Source: SQS API Reference, SendMessage, "MessageBody": #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.
 */
import { isUtf8 } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import type { Headers, Message } from "@posthorn/core/transport";
import { reservedHeaderPrefix } from "@posthorn/core/transport";
import type { AttributeValue, OutgoingMessage } from "./aws.ts";

export const typeAttribute = "type";
export const contentTypeAttribute = "content-type";
/** Holds the rest of the envelope. */
export const envelopeAttribute = "posthorn";

/** How a body travels that is no text: what `posthorn` says of it. */
export type BodyEncoding = "base64" | "empty";

/** SQS takes no message without a body. */
const emptyBody = "(empty)";

export function encodeMessage(message: Message): OutgoingMessage {
  const text = textOf(message.body);
  const attributes: Record<string, AttributeValue> = {};
  if (isCarried(message.type)) attributes[typeAttribute] = message.type;
  if (isCarried(message.contentType)) attributes[contentTypeAttribute] = message.contentType;
  if (text !== undefined) {
    attributes[envelopeAttribute] = envelopeOf(message, undefined);
    return { body: text, attributes };
  }
  const encoding = message.body.byteLength === 0 ? "empty" : "base64";
  attributes[envelopeAttribute] = envelopeOf(message, encoding);
  return { body: encoding === "empty" ? emptyBody : asBuffer(message.body).toString("base64"), attributes };
}

/** One literal; JSON leaves out what is `undefined`. */
function envelopeOf(message: Message, body: BodyEncoding | undefined): string {
  const json = JSON.stringify({
    id: message.id,
    type: message.type === "" || isCarried(message.type) ? undefined : message.type,
    version: message.version === 1 ? undefined : message.version,
    source: message.source === "" ? undefined : message.source,
    time: numberOrText(message.time),
    contentType: message.contentType === "" || isCarried(message.contentType) ? undefined : message.contentType,
    key: message.key,
    correlationId: message.correlationId,
    causationId: message.causationId,
    replyTo: message.replyTo,
    notBefore: numberOrText(message.notBefore),
    expiresAt: numberOrText(message.expiresAt),
    attempt: message.attempt === 1 ? undefined : message.attempt,
    traceparent: message.traceparent,
    tracestate: message.tracestate,
    baggage: message.baggage,
    body,
    headers: hasAny(message.headers) ? message.headers : undefined,
  });
  return json.replace(/[^ -~]/g, escaped);
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** JSON has no other numbers than finite ones. */
function numberOrText(number: number | undefined): number | string | undefined {
  return number === undefined || Number.isFinite(number) ? number : String(number);
}

function hasAny(headers: Headers): boolean {
  for (const _ in headers) return true;
  return false;
}

// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const illegal = /[\0-\x08\v\f\x0e-\x1f\uFFFE\uFFFF]/;

/** Whether SQS takes it as the value of an attribute. */
function isCarried(text: string): boolean {
  return text !== "" && !illegal.test(text) && text.isWellFormed();
}

/** The body as a text that SQS takes; `undefined` where it is none. */
function textOf(body: Uint8Array): string | undefined {
  if (body.byteLength === 0 || !isUtf8(body)) return undefined;
  const text = asBuffer(body).toString("utf8");
  return illegal.test(text) ? undefined : text;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `String` or `Binary`. */
const dataTypeBytes = 6;

/** The size that the limits of SQS and SNS are about: the body, and names, types and values of the attributes. */
export function bytesOf({ body, attributes }: OutgoingMessage): number {
  let bytes = Buffer.byteLength(body);
  for (const name of Object.keys(attributes)) {
    const value = attributes[name] ?? "";
    const valueBytes = typeof value === "string" ? Buffer.byteLength(value) : value.byteLength;
    bytes += Buffer.byteLength(name) + dataTypeBytes + valueBytes;
  }
  return bytes;
}

/** For what the envelope and the escapes of headers take. */
const envelopeBytes = 65_536;

/**
 * The largest message, as core counts, that fits in any case: bytes that are no text travel as base64, which is a third longer.
 *
 * @param maxMessageBytes on the wire
 */
export function largestMessage(maxMessageBytes: number): number {
  return Math.floor(((maxMessageBytes - Math.min(envelopeBytes, maxMessageBytes / 4)) * 3) / 4);
}

const redriveHeader = `${reservedHeaderPrefix}redrive-count`;

/**
 * What FIFO queues and topics ask for.
 *
 * The group is the key: its messages come one after the other. What has no key has no order, and a dead letter holds up no
 * other: each is a group of its own.
 *
 * What bears the same deduplication id as another of the last five minutes is dropped. So it must be the same only where the
 * same dispatch is repeated: a message that is sent on, or back, is alike in all that it holds, and would be lost.
 *
 * @param dispatchId tells this dispatch from every other one of the message, and is the same whenever this one is repeated;
 * without it two are taken for one when the envelopes tell no difference
 */
export function fifoIds(
  message: Message,
  isDeadLetter: boolean,
  dispatchId?: string,
): { groupId: string; deduplicationId: string } {
  if (isDeadLetter) {
    const ownId = dispatchId ?? randomUUID();
    return { groupId: ownId, deduplicationId: ownId };
  }
  const { id, time, attempt, notBefore, headers } = message;
  return {
    groupId: groupIdOf(message.key ?? id),
    deduplicationId: sha256(JSON.stringify([id, time, attempt, notBefore, headers[redriveHeader], dispatchId])),
  };
}

/** Source: SQS API Reference, SendMessage, "MessageGroupId": up to 128 letters, digits and punctuation. */
function groupIdOf(key: string): string {
  return /^[!-~]{1,128}$/.test(key) ? key : sha256(key);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
