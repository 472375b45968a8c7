/** What a proxy has to know of the two protocols: SQS is spoken in AWS JSON 1.0, SNS in AWS Query with answers in XML. */
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";

export interface AwsRequest {
  readonly service: "sqs" | "sns";
  /** For example `SendMessageBatch`. */
  readonly action: string;
  /** The queue's URL or the topic's ARN; empty where the request names none. */
  readonly resource: string;
  /** The ids of a batch's entries, in their order; empty where it is no batch. */
  readonly entries: readonly string[];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** An error of AWS. */
export interface AwsError {
  readonly status: number;
  readonly code: string;
  /** Whether the request is to blame (`Sender`, `SenderFault`), or AWS. */
  readonly senderFault: boolean;
  /** By default one that says that the tests have made it up. */
  readonly message?: string;
}

/** Errors that AWS answers when it is not well, as each service words them (its API reference, "Errors" and "Common Errors"). */
const errors = {
  internal: {
    sqs: { status: 500, code: "InternalFailure", senderFault: false },
    sns: { status: 500, code: "InternalError", senderFault: false },
  },
  unavailable: {
    sqs: { status: 503, code: "ServiceUnavailable", senderFault: false },
    sns: { status: 503, code: "ServiceUnavailable", senderFault: false },
  },
  throttled: {
    sqs: { status: 400, code: "RequestThrottled", senderFault: true },
    sns: { status: 429, code: "Throttled", senderFault: true },
  },
} as const satisfies Record<string, Record<AwsRequest["service"], AwsError>>;

export type AwsTrouble = keyof typeof errors;

/** What SNS calls the entries of its only batch, in its numbered parameters. */
const entryParameter = "PublishBatchRequestEntries.member.";

export function readRequest(headers: IncomingHttpHeaders, body: Buffer): AwsRequest {
  const target = headers["x-amz-target"];
  if (typeof target === "string") {
    const { QueueUrl: resource = "", Entries = [] } = JSON.parse(body.toString()) as JsonRequest;
    return {
      service: "sqs",
      action: target.slice(target.indexOf(".") + 1),
      resource,
      entries: Entries.map(({ Id }) => Id),
    };
  }
  const parameters = new URLSearchParams(body.toString());
  const entries: string[] = [];
  for (let id; (id = parameters.get(`${entryParameter}${entries.length + 1}.Id`)) !== null;) entries.push(id);
  return {
    service: "sns",
    action: parameters.get("Action") ?? "",
    resource: parameters.get("TopicArn") ?? "",
    entries,
  };
}

interface JsonRequest {
  readonly QueueUrl?: string;
  readonly Entries?: readonly { readonly Id: string }[];
}

/** The body of a batch with only the entries at some indices. */
export function withEntries({ service }: AwsRequest, body: Buffer, kept: readonly number[]): Buffer {
  if (service === "sqs") {
    const request = JSON.parse(body.toString()) as JsonRequest;
    return Buffer.from(JSON.stringify({ ...request, Entries: kept.map((index) => request.Entries?.[index]) }));
  }
  const parameters = new URLSearchParams();
  for (const [name, value] of new URLSearchParams(body.toString())) {
    const [, number, rest] = /^PublishBatchRequestEntries\.member\.(\d+)(.*)/.exec(name) ?? [];
    if (number === undefined) parameters.append(name, value);
    else if (kept.includes(Number(number) - 1))
      parameters.append(`${entryParameter}${kept.indexOf(Number(number) - 1) + 1}${rest}`, value);
  }
  return Buffer.from(parameters.toString());
}

/** The answer to a batch, with entries of the indices failed in it. */
export function withFailed(
  request: AwsRequest,
  answer: HttpAnswer,
  failed: readonly number[],
  error: AwsError,
): HttpAnswer {
  const ids = failed.map((index) => request.entries[index] ?? "");
  const text = answer.body.toString();
  const body =
    request.service === "sqs" ? withFailedInJson(text, ids, error) : withFailedInXml(text, ids, error, request.action);
  return { ...answer, body: Buffer.from(body) };
}

/** The answer to a batch of which nothing succeeded. */
export function emptyBatchAnswer({ service, action }: AwsRequest): HttpAnswer {
  const result = `<${action}Result><Successful/><Failed/></${action}Result>`;
  return answerOf(
    service,
    200,
    service === "sqs" ? "{}" : `<${action}Response xmlns="${snsNamespace}">${result}</${action}Response>`,
  );
}

/** An answer that is an error. */
export function errorAnswer({ service }: AwsRequest, error: AwsTrouble | AwsError): HttpAnswer {
  const { status, code, senderFault, message = `${code}, by the tests` } = errorOf(service, error);
  const type = senderFault ? "Sender" : "Receiver";
  if (service === "sqs") {
    const answer = answerOf(service, status, JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }));
    return { ...answer, headers: { ...answer.headers, "x-amzn-query-error": `${code};${type}` } };
  }
  const inner = `<Error><Type>${type}</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
  return answerOf(service, status, `<ErrorResponse xmlns="${snsNamespace}">${inner}</ErrorResponse>`);
}

export function errorOf(service: AwsRequest["service"], error: AwsTrouble | AwsError): AwsError {
  return typeof error === "string" ? errors[error][service] : error;
}

const snsNamespace = "http://sns.amazonaws.com/doc/2010-03-31/";

function answerOf(service: AwsRequest["service"], status: number, body: string): HttpAnswer {
  const type = service === "sqs" ? "application/x-amz-json-1.0" : "text/xml";
  return { status, headers: { "content-type": type, "x-amzn-requestid": randomUUID() }, body: Buffer.from(body) };
}

function withFailedInJson(text: string, ids: readonly string[], { code, senderFault }: AwsError): string {
  const answer = JSON.parse(text) as { readonly Successful?: unknown[]; readonly Failed?: unknown[] };
  const failed = ids.map((Id) => ({ Id, SenderFault: senderFault, Code: code, Message: `${code}, by the tests` }));
  return JSON.stringify({ Successful: answer.Successful ?? [], Failed: [...(answer.Failed ?? []), ...failed] });
}

function withFailedInXml(
  text: string,
  ids: readonly string[],
  { code, senderFault }: AwsError,
  action: string,
): string {
  const element = /<Failed\s*\/>|<Failed>([\s\S]*?)<\/Failed>/;
  const known = element.exec(text)?.[1] ?? "";
  const failed = ids.map(
    (id) =>
      `<member><Id>${id}</Id><Code>${code}</Code><Message>${code}, by the tests</Message><SenderFault>${senderFault}</SenderFault></member>`,
  );
  const end = `</${action}Result>`;
  return text.replace(element, "").replace(end, () => `<Failed>${known}${failed.join("")}</Failed>${end}`);
}
