import { noHeaders } from "./message.ts";
import type { Message } from "./message.ts";

/**
 * A complete message for tests of adapters, of which only what matters to the test has to be said.
 *
 * @param changes set anew; default: a JSON message `"m-1"` of type `work`, of the beginning of 2026, without a key, a flow or headers
 */
export function sampleMessage(changes: Partial<Message> = {}): Message {
  return {
    id: "m-1",
    type: "work",
    version: 1,
    source: "test",
    time: 1_767_225_600_000,
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
    body: new TextEncoder().encode('{"n":1}'),
    ...changes,
  };
}
