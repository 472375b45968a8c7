import type { Message } from "@posthorn/core";
import { noHeaders, uuidv7 } from "@posthorn/core/transport";
import { utf8 } from "./bytes.ts";

/** A message for cases that speak to the transport itself. */
export function plainMessage(changes: Partial<Message> = {}): Message {
  return {
    id: uuidv7(Date.now()),
    type: "work",
    version: 1,
    source: "contract-tests",
    time: Date.now(),
    contentType: "application/json",
    key: undefined,
    correlationId: undefined,
    causationId: undefined,
    replyTo: undefined,
    notBefore: undefined,
    expiresAt: undefined,
    attempt: 1,
    traceparent: undefined,
    tracestate: undefined,
    baggage: undefined,
    headers: noHeaders,
    body: utf8('{"n":1}'),
    ...changes,
  };
}
