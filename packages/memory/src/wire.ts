/**
 * A message as bytes: the length of the envelope (4 bytes, big-endian), the envelope as JSON, the body.
 *
 * Reading is tolerant: whatever is missing has a default, and what cannot be understood is told as a defect beside all that could be.
 */
import { messageFromCloudEvent, messageOf } from "@posthorn/core/transport";
import type { Address, Headers, Message } from "@posthorn/core/transport";
import type { Packet, StoredRecord } from "./broker/source.ts";

const lengthBytes = 4;

/** Dead letters are never delayed. */
export function toPacket(message: Message, address: Address): Packet {
  const notBefore = address.kind === "dead-letters" ? undefined : message.notBefore;
  return { type: message.type, key: message.key, notBefore, bytes: encode(message) };
}

/** What a program that does not know Posthorn may send: an envelope with parts missing, or a CloudEvent's attributes. */
export interface ForeignMessage extends Partial<Message> {
  readonly cloudEvent?: Readonly<Record<string, string>>;
}

export function foreignPacket(content: Uint8Array | ForeignMessage): Packet {
  if (content instanceof Uint8Array)
    return { type: "", key: undefined, notBefore: undefined, bytes: new Uint8Array(content) };
  const type = content.type ?? content.cloudEvent?.["type"] ?? "";
  return { type, key: content.key, notBefore: undefined, bytes: encode(content) };
}

/** Writes whatever of an envelope is given. */
export function encode(message: ForeignMessage): Uint8Array {
  const { body = new Uint8Array(), ...envelope } = message;
  const head = JSON.stringify(envelope);
  const headBytes = Buffer.byteLength(head);
  const bytes = Buffer.allocUnsafe(lengthBytes + headBytes + body.byteLength);
  bytes.writeUInt32BE(headBytes, 0);
  bytes.write(head, lengthBytes);
  bytes.set(body, lengthBytes + headBytes);
  return bytes;
}

export interface Decoded {
  readonly message: Message;
  readonly defect: string | undefined;
}

/** A message of its own each time: nothing in it is shared with another, or with the broker. */
export function decode(record: StoredRecord): Decoded {
  const { bytes } = record;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bodyStart = view.byteLength < lengthBytes ? Infinity : lengthBytes + view.readUInt32BE(0);
  if (bodyStart > view.byteLength)
    return { message: read(record, {}, copyOf(view), unused), defect: "The bytes are not an envelope and a body." };
  const body = copyOf(view.subarray(bodyStart));
  let envelope: unknown;
  try {
    envelope = JSON.parse(view.toString("utf8", lengthBytes, bodyStart));
  } catch {
    return { message: read(record, {}, body, unused), defect: "The envelope is not JSON." };
  }
  if (!isRecord(envelope)) return { message: read(record, {}, body, unused), defect: "The envelope is not an object." };
  let defect: string | undefined;
  const message = read(record, envelope, body, (name) => {
    defect ??= `The envelope's ${name} is of the wrong kind.`;
  });
  return isRecord(envelope["cloudEvent"]) ? fromCloudEvent(envelope["cloudEvent"], message) : { message, defect };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function fromCloudEvent(attributes: Readonly<Record<string, unknown>>, message: Message): Decoded {
  const texts = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, String(value)]));
  try {
    return {
      message: messageFromCloudEvent(texts, message.contentType, message.headers, message.body),
      defect: undefined,
    };
  } catch (error) {
    return { message, defect: messageOf(error) };
  }
}

const unused = (): void => undefined;

function read(
  record: StoredRecord,
  envelope: Readonly<Record<string, unknown>>,
  body: Uint8Array,
  wrong: (name: string) => void,
): Message {
  const text = (name: string): string | undefined => {
    const value = envelope[name];
    if (typeof value === "string") return value;
    if (value !== undefined) wrong(name);
    return undefined;
  };
  const number = (name: string): number | undefined => {
    const value = envelope[name];
    if (typeof value === "number") return value;
    if (value !== undefined) wrong(name);
    return undefined;
  };
  return {
    // A foreign message without an id gets one that is the same at every delivery and in every group.
    id: text("id") || `memory-${record.sequence}`,
    type: text("type") ?? "",
    version: number("version") ?? 1,
    source: text("source") ?? "",
    time: number("time") ?? record.time,
    contentType: text("contentType") ?? "",
    key: text("key"),
    correlationId: text("correlationId"),
    causationId: text("causationId"),
    replyTo: text("replyTo"),
    notBefore: number("notBefore"),
    expiresAt: number("expiresAt"),
    attempt: number("attempt") ?? 1,
    traceparent: text("traceparent"),
    tracestate: text("tracestate"),
    baggage: text("baggage"),
    headers: readHeaders(envelope["headers"], wrong),
    body,
  };
}

function readHeaders(value: unknown, wrong: (name: string) => void): Headers {
  const headers: Record<string, string> = Object.create(null);
  if (value === undefined) return headers;
  if (typeof value !== "object" || value === null) {
    wrong("headers");
    return headers;
  }
  for (const [name, text] of Object.entries(value)) {
    if (typeof text === "string") headers[name] = text;
    else wrong(`header ${JSON.stringify(name)}`);
  }
  return headers;
}

function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.byteLength);
  copy.set(bytes);
  return copy;
}
