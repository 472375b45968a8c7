/**
 * A message as it travels: the envelope and the body's bytes.
 *
 * Every property is always present (`undefined` where it is not set), so that all messages have one shape.
 * A message is never changed after it was made: copies are made with {@link copyMessage}.
 */
export interface Message {
  /** Unique, by default a UUIDv7. Survives publish retries, redelivery, dead-lettering and redrive. */
  readonly id: string;
  /** The contract's type, such as `order-placed`. Empty on a foreign message that names none. */
  readonly type: string;
  /** The contract's version, from 1. */
  readonly version: number;
  /** The service that sent it. */
  readonly source: string;
  /** When it was sent, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** Media type of the body. Empty on a foreign message that names none. */
  readonly contentType: string;
  /** Ordering key. */
  readonly key: string | undefined;
  /** One id for a whole flow: every message that follows from the first carries it. */
  readonly correlationId: string | undefined;
  /** Id of the message that caused this one. */
  readonly causationId: string | undefined;
  /** Return address for a reply. */
  readonly replyTo: string | undefined;
  /** Not to be delivered before this time, in milliseconds since the Unix epoch. */
  readonly notBefore: number | undefined;
  /** Not worth handling after this time, in milliseconds since the Unix epoch. */
  readonly expiresAt: number | undefined;
  /** Which durable delivery round this is, from 1. */
  readonly attempt: number;
  /** W3C Trace Context. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** W3C Baggage. */
  readonly baggage: string | undefined;
  /** Headers of the user, and Posthorn's own under the reserved prefix `posthorn-`. */
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** Header names and values. Own properties only; made without a prototype where they come from a broker. */
export type Headers = Readonly<Record<string, string>>;

/** Names beginning with this belong to Posthorn. */
export const reservedHeaderPrefix = "posthorn-";

export const noHeaders: Headers = Object.freeze({});

/** A copy without a prototype, so that no header's name means anything else. */
export function copyHeaders(headers: Headers): Record<string, string> {
  return Object.assign(emptyHeaders(), headers);
}

/** Headers to be filled, without a prototype. */
export function emptyHeaders(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}

/** The same message with some of its properties replaced. One literal: the result has the shape of every other message. */
export function copyMessage(message: Message, changes: Partial<Message>): Message {
  return {
    id: changes.id ?? message.id,
    type: changes.type ?? message.type,
    version: changes.version ?? message.version,
    source: changes.source ?? message.source,
    time: changes.time ?? message.time,
    contentType: changes.contentType ?? message.contentType,
    key: "key" in changes ? changes.key : message.key,
    correlationId: "correlationId" in changes ? changes.correlationId : message.correlationId,
    causationId: "causationId" in changes ? changes.causationId : message.causationId,
    replyTo: "replyTo" in changes ? changes.replyTo : message.replyTo,
    notBefore: "notBefore" in changes ? changes.notBefore : message.notBefore,
    expiresAt: "expiresAt" in changes ? changes.expiresAt : message.expiresAt,
    attempt: changes.attempt ?? message.attempt,
    traceparent: "traceparent" in changes ? changes.traceparent : message.traceparent,
    tracestate: "tracestate" in changes ? changes.tracestate : message.tracestate,
    baggage: "baggage" in changes ? changes.baggage : message.baggage,
    headers: changes.headers ?? message.headers,
    body: changes.body ?? message.body,
  };
}
