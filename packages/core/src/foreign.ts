/** Messages of programs that do not know Posthorn, as far as all bindings read them alike. */
import { messageFromCloudEvent } from "./cloudevents.ts";
import { messageOf } from "./errors.ts";
import type { Message } from "./message.ts";
import { noHeaders } from "./message.ts";

/** What a binding found. Its tables belong to it alone, and have no prototype. */
export interface ForeignParts {
  /** CloudEvents attributes without the binding's prefix; also what else of the envelope the broker carries by itself, as a key. */
  readonly attributes: Record<string, string>;
  /** What stands before the name of an attribute on the wire, such as `ce_`. */
  readonly attributePrefix: string;
  readonly contentType: string | undefined;
  /** Of a message that is no CloudEvent. */
  readonly type: string;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
  /** For a message that bears none: the same at every delivery. */
  readonly id: string;
  /** When the broker took it, in milliseconds since the Unix epoch; whatever it says. */
  readonly time: number;
}

export interface ReadMessage {
  readonly message: Message;
  /** What could not be understood. */
  readonly defect: string | undefined;
}

/** A CloudEvent in binary mode where there is an `id` or `specversion`; otherwise a message with what it has. Never throws. */
export function readForeign(parts: ForeignParts): ReadMessage {
  const { attributes } = parts;
  const isEvent = attributes["id"] !== undefined || attributes["specversion"] !== undefined;
  return isEvent ? readEvent(parts) : { message: readPlain(parts), defect: undefined };
}

/** Trace context beside an event counts where the event has none of its own. */
export function adoptTrace(
  attributes: Record<string, string>,
  beside: { readonly [name in "traceparent" | "tracestate" | "baggage"]?: string | undefined },
): void {
  const { traceparent, tracestate, baggage } = beside;
  if (attributes["traceparent"] === undefined) {
    if (traceparent !== undefined) attributes["traceparent"] = traceparent;
    if (tracestate !== undefined) attributes["tracestate"] = tracestate;
  }
  if (baggage !== undefined) attributes["baggage"] ??= baggage;
}

function readEvent(parts: ForeignParts): ReadMessage {
  const { attributes, contentType, headers, body } = parts;
  let defect: string | undefined;
  if (attributes["specversion"] !== undefined && !/^1\.\d+$/.test(attributes["specversion"]))
    defect = "The CloudEvent's specversion is not 1.0.";
  if (contentType !== undefined && (attributes["datacontenttype"] ?? contentType) !== contentType)
    defect ??= "The CloudEvent's datacontenttype is not its content-type.";
  const read = (): Message => {
    attributes["time"] ??= new Date(timeOf(parts)).toISOString();
    return messageFromCloudEvent(attributes, contentType ?? "", headers, body);
  };
  try {
    return { message: read(), defect };
  } catch (error) {
    dropUnreadable(parts);
    return { message: read(), defect: defect ?? messageOf(error) };
  }
}

/** Leaves what can be read, each attribute by itself. */
function dropUnreadable({ attributes, id }: ForeignParts): void {
  if (!attributes["id"]) attributes["id"] = id;
  for (const name of Object.keys(attributes)) {
    try {
      messageFromCloudEvent({ id: "-", [name]: attributes[name] ?? "" }, "", noHeaders, noBytes);
    } catch {
      // The first failure is the defect.
      delete attributes[name];
    }
  }
}

const noBytes = new Uint8Array();

/** Its header `id` is what it is called. */
function readPlain(parts: ForeignParts): Message {
  const { headers } = parts;
  const { partitionkey, traceparent, tracestate, baggage, ...others } = parts.attributes;
  for (const name of Object.keys(others)) headers[parts.attributePrefix + name] = others[name] ?? "";
  return {
    id: headers["id"] || parts.id,
    type: parts.type,
    version: 1,
    source: "",
    time: timeOf(parts),
    contentType: parts.contentType ?? "",
    key: partitionkey,
    correlationId: undefined,
    causationId: undefined,
    replyTo: undefined,
    notBefore: undefined,
    expiresAt: undefined,
    attempt: 1,
    traceparent,
    tracestate,
    baggage,
    headers,
    body: parts.body,
  };
}

/** The range of a Date. */
const latestTime = 8_640_000_000_000_000;

function timeOf({ time }: ForeignParts): number {
  return Number.isInteger(time) && time >= 0 && time <= latestTime ? time : 0;
}
