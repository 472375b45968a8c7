/** From a received message to ours. Anything may arrive, from any program: nothing here throws. */
import type { Headers, Message } from "@posthorn/core/transport";
import { adoptTrace, readForeign } from "@posthorn/core/transport";
import type { ReceivedMessage } from "./aws.ts";
import type { SortedAttributes } from "./sorted-attributes.ts";
import { eventPrefix, sortAttributes } from "./sorted-attributes.ts";
import type { BodyEncoding } from "./wire.ts";

export interface Decoded {
  /** Its objects belong to it alone. */
  readonly message: Message;
  /** What could not be understood; the body and what was readable are in `message`. */
  readonly defect: string | undefined;
}

export function decodeMessage(received: ReceivedMessage): Decoded {
  const sorted = sortAttributes(received.attributes);
  const message = sorted.envelope === undefined ? readOther(received, sorted) : readOwn(received, sorted);
  return { message, defect: sorted.defect };
}

/** An id for what bears none: the one that SQS gave it, the same at every delivery. */
function foreignId({ messageId }: ReceivedMessage): string {
  return `sqs:${messageId}`;
}

/** Where it bears no key its FIFO group is one: SQS hands out a group's messages in their order, too. */
function readOther(received: ReceivedMessage, sorted: SortedAttributes): Message {
  const { event, type, contentType, user } = sorted;
  const isEvent = event["id"] !== undefined || event["specversion"] !== undefined;
  if (received.groupId !== undefined) event["partitionkey"] ??= received.groupId;
  // By which SNS filters; the event's own goes before it.
  if (isEvent && type !== undefined) event["type"] ??= type;
  adoptTrace(event, sorted);
  const { message, defect } = readForeign({
    attributes: event,
    attributePrefix: eventPrefix,
    contentType,
    type: type ?? "",
    headers: user,
    body: new TextEncoder().encode(received.body),
    id: foreignId(received),
    time: received.sentAt,
  });
  sorted.defect ??= defect;
  return message;
}

type Envelope = Readonly<Record<string, unknown>>;

function readOwn(received: ReceivedMessage, sorted: SortedAttributes): Message {
  const envelope = parseEnvelope(sorted);
  const traceparent = readText(sorted, envelope, "traceparent");
  return {
    id: readId(sorted, envelope) ?? foreignId(received),
    type: sorted.type ?? readText(sorted, envelope, "type") ?? "",
    version: readCount(sorted, envelope, "version"),
    source: readText(sorted, envelope, "source") ?? "",
    time: readTime(sorted, envelope, "time") ?? received.sentAt,
    contentType: sorted.contentType ?? readText(sorted, envelope, "contentType") ?? "",
    key: readText(sorted, envelope, "key"),
    correlationId: readText(sorted, envelope, "correlationId"),
    causationId: readText(sorted, envelope, "causationId"),
    replyTo: readText(sorted, envelope, "replyTo"),
    notBefore: readTime(sorted, envelope, "notBefore"),
    expiresAt: readTime(sorted, envelope, "expiresAt"),
    attempt: readCount(sorted, envelope, "attempt"),
    traceparent: traceparent ?? sorted.traceparent,
    tracestate: readText(sorted, envelope, "tracestate") ?? (traceparent === undefined ? sorted.tracestate : undefined),
    baggage: readText(sorted, envelope, "baggage") ?? sorted.baggage,
    headers: readHeaders(sorted, envelope),
    body: readBody(sorted, envelope, received.body),
  };
}

const noEnvelope: Envelope = Object.freeze({});

function parseEnvelope(sorted: SortedAttributes): Envelope {
  if (typeof sorted.envelope !== "string") {
    sorted.defect ??= "The attribute posthorn is no text.";
    return noEnvelope;
  }
  let envelope: unknown;
  try {
    envelope = JSON.parse(sorted.envelope);
  } catch {
    sorted.defect ??= "The attribute posthorn is no JSON.";
    return noEnvelope;
  }
  if (isTable(envelope)) return envelope;
  sorted.defect ??= "The attribute posthorn is no object.";
  return noEnvelope;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What JSON.parse made has a prototype, whose properties are none of the envelope. */
function memberOf(envelope: Envelope, name: keyof Message): unknown {
  return Object.hasOwn(envelope, name) ? envelope[name] : undefined;
}

function wrong(sorted: SortedAttributes, name: string): undefined {
  sorted.defect ??= `The envelope's ${name} cannot be read.`;
}

function readId(sorted: SortedAttributes, envelope: Envelope): string | undefined {
  const id = memberOf(envelope, "id");
  return typeof id === "string" && id !== "" ? id : wrong(sorted, "id");
}

function readText(sorted: SortedAttributes, envelope: Envelope, name: keyof Message): string | undefined {
  const value = memberOf(envelope, name);
  return value === undefined || typeof value === "string" ? value : wrong(sorted, name);
}

/** Largest version or attempt number that is believed. */
const highestNumber = 1_000_000_000;

function readCount(sorted: SortedAttributes, envelope: Envelope, name: keyof Message): number {
  const value = memberOf(envelope, name);
  if (value === undefined) return 1;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= highestNumber) return value;
  wrong(sorted, name);
  return 1;
}

function readTime(sorted: SortedAttributes, envelope: Envelope, name: keyof Message): number | undefined {
  const value = memberOf(envelope, name);
  if (value === undefined || typeof value === "number") return value;
  return typeof value === "string" && notFinite.has(value) ? Number(value) : wrong(sorted, name);
}

const notFinite: ReadonlySet<string> = new Set(["NaN", "Infinity", "-Infinity"]);

/** Attributes that somebody added on the way are headers, too; ours go before them. */
function readHeaders(sorted: SortedAttributes, envelope: Envelope): Headers {
  const headers = sorted.user;
  const own = memberOf(envelope, "headers");
  if (own === undefined) return headers;
  if (!isTable(own)) {
    wrong(sorted, "headers");
    return headers;
  }
  for (const name of Object.keys(own)) {
    const value = own[name];
    if (typeof value === "string") headers[name] = value;
    else wrong(sorted, "headers");
  }
  return headers;
}

function readBody(sorted: SortedAttributes, envelope: Envelope, text: string): Uint8Array {
  const encoding = memberOf(envelope, "body") as BodyEncoding | undefined;
  switch (encoding) {
    case undefined:
      break;
    case "empty":
      return new Uint8Array();
    case "base64": {
      const bytes = fromBase64(text);
      if (bytes !== undefined) return bytes;
      sorted.defect ??= "The body is no base64.";
      break;
    }
    default:
      sorted.defect ??= "The body is encoded in a way that is not known.";
  }
  return new TextEncoder().encode(text);
}

/** `undefined` where it is none: Node's decoder goes past whatever it does not know. */
function fromBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  if (text.length % 4 !== 0 || bytes.byteLength !== (text.length / 4) * 3 - padding) return undefined;
  // A copy: small buffers share their memory with others.
  return new Uint8Array(bytes);
}
