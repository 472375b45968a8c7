import type { Message } from "./message.ts";
import { utf8Length } from "./utf8.ts";

/**
 * What Posthorn adds to a message that it gives up (the dead-letter record), at most, in bytes. Kept free below a transport's limit, so
 * that whatever was accepted can also be dead-lettered.
 */
export const deadLetterReserveBytes = 8_192;

/** The size that limits are about: the body, and the text of the envelope and the headers in UTF-8. */
export function messageBytes(message: Message): number {
  let size =
    message.body.byteLength +
    utf8Length(message.id) +
    utf8Length(message.type) +
    utf8Length(message.source) +
    utf8Length(message.contentType) +
    textLength(message.key) +
    textLength(message.correlationId) +
    textLength(message.causationId) +
    textLength(message.replyTo) +
    textLength(message.traceparent) +
    textLength(message.tracestate) +
    textLength(message.baggage);
  for (const name in message.headers) size += utf8Length(name) + textLength(message.headers[name]);
  return size;
}

function textLength(text: string | undefined): number {
  return text === undefined ? 0 : utf8Length(text);
}
