/** The attributes of a received message, sorted by what they mean. */
import { emptyHeaders } from "@posthorn/core/transport";
import type { AttributeValue, ReceivedMessage } from "./aws.ts";
import { contentTypeAttribute, envelopeAttribute, typeAttribute } from "./wire.ts";

/** None of the tables has a prototype. */
export interface SortedAttributes {
  /** Our own envelope, as JSON. */
  envelope: AttributeValue | undefined;
  type: string | undefined;
  contentType: string | undefined;
  /** CloudEvents attributes, without their prefix. */
  readonly event: Record<string, string>;
  /** Trace context beside the envelope: OpenTelemetry writes it so. */
  traceparent: string | undefined;
  tracestate: string | undefined;
  baggage: string | undefined;
  /** All that has no meaning of its own. */
  readonly user: Record<string, string>;
  /** What could not be understood. */
  defect: string | undefined;
}

/** Stands before the name of a CloudEvents attribute. There is no binding for SQS; Kafka's has the same. */
export const eventPrefix = "ce_";

export function sortAttributes(attributes: ReceivedMessage["attributes"]): SortedAttributes {
  const sorted: SortedAttributes = {
    envelope: undefined,
    type: undefined,
    contentType: undefined,
    event: emptyHeaders(),
    traceparent: undefined,
    tracestate: undefined,
    baggage: undefined,
    user: emptyHeaders(),
    defect: undefined,
  };
  for (const name of Object.keys(attributes)) {
    const value = attributes[name] ?? "";
    if (name === envelopeAttribute) sorted.envelope = value;
    else if (name === typeAttribute) sorted.type = textOf(value);
    else if (name === "traceparent" || name === "tracestate" || name === "baggage") sorted[name] = textOf(value);
    else if (isContentType(name)) setContentType(sorted, textOf(value));
    else if (name.startsWith(eventPrefix)) sorted.event[name.slice(eventPrefix.length)] = textOf(value);
    else sorted.user[name] = textOf(value);
  }
  return sorted;
}

/** Some programs write `Content-Type`. */
function isContentType(name: string): boolean {
  return name.length === contentTypeAttribute.length && name.toLowerCase() === contentTypeAttribute;
}

function setContentType(sorted: SortedAttributes, text: string): void {
  if (sorted.contentType !== undefined && sorted.contentType !== text)
    sorted.defect ??= "The attribute content-type occurs twice and contradicts itself.";
  sorted.contentType ??= text;
}

/** Bytes become base64, which is how CloudEvents write bytes as a text. */
function textOf(value: AttributeValue): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("base64");
}
