/**
 * What IAM does on AWS, and no emulator: asks a policy whether a request is allowed, and refuses it as SQS and SNS word it.
 *
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
 * @see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
 */
import type { PolicyDocument } from "@posthorn/sqs-sns";
import type { HttpLink } from "./brokers/http-link.ts";
import { openHttpLink } from "./brokers/http-link.ts";
import type { AwsRequest, HttpAnswer } from "./brokers/sqs-wire.ts";
import { errorAnswer } from "./brokers/sqs-wire.ts";

/** What a request needs: an action, and what it is done to. */
export interface Need {
  /** Such as `sqs:SendMessage`. */
  readonly action: string;
  /** An ARN; `*` where IAM knows no resource for the action. */
  readonly resource: string;
}

export interface Gate extends AsyncDisposable {
  readonly link: HttpLink;
  /** What was asked for, allowed or not: each once, as `sqs:SendMessage arn:…`. */
  readonly needed: ReadonlySet<string>;
  /** What was refused, each once. */
  readonly refused: ReadonlySet<string>;
}

export interface GateOptions {
  /** The broker's. */
  readonly endpoint: string;
  readonly region: string;
  readonly accountId: string;
  /** What passes. */
  readonly document: PolicyDocument;
}

export async function openGate({ endpoint, region, accountId, document }: GateOptions): Promise<Gate> {
  const needed = new Set<string>();
  const refused = new Set<string>();
  const link = await openHttpLink(endpoint, {
    onRequest(request, body) {
      for (const need of needsOf(
        request,
        body,
        (service, name) => `arn:aws:${service}:${region}:${accountId}:${name}`,
      )) {
        needed.add(nameOf(need));
        if (allows(document, need)) continue;
        refused.add(nameOf(need));
        return refusal(request, need, accountId);
      }
      return undefined;
    },
  });
  return { link, needed, refused, [Symbol.asyncDispose]: () => link.close() };
}

export function nameOf({ action, resource }: Need): string {
  return `${action} ${resource}`;
}

export function allows({ Statement }: PolicyDocument, { action, resource }: Need): boolean {
  return Statement.some(
    ({ Effect, Action, Resource }) =>
      Effect === "Allow" &&
      Action.some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase())) &&
      Resource.some((pattern) => matches(pattern, resource)),
  );
}

/** `*` stands for anything, `?` for one character. */
function matches(pattern: string, text: string): boolean {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(text);
}

/** Of these IAM knows no resource. */
const withoutResource = new Set(["ListTopics", "GetSubscriptionAttributes", "SetSubscriptionAttributes"]);

function needsOf(
  { service, action, resource }: AwsRequest,
  body: Buffer,
  arnOf: (service: AwsRequest["service"], name: string) => string,
): readonly Need[] {
  // Whoever may do something may do it to ten at a time.
  const name = `${service}:${action.replace(/Batch$/, "")}`;
  if (withoutResource.has(action)) return [{ action: name, resource: "*" }];
  if (service === "sqs") {
    const { QueueName, tags } = JSON.parse(body.toString()) as { readonly QueueName?: string; readonly tags?: object };
    const queue = arnOf("sqs", QueueName ?? resource.slice(resource.lastIndexOf("/") + 1));
    const tagging = tags === undefined ? [] : [{ action: "sqs:TagQueue", resource: queue }];
    return [{ action: name, resource: queue }, ...tagging];
  }
  const parameters = new URLSearchParams(body.toString());
  const topic = resource === "" ? arnOf("sns", parameters.get("Name") ?? "") : resource;
  const tagging = parameters.has("Tags.member.1.Key") ? [{ action: "sns:TagResource", resource: topic }] : [];
  return [{ action: name, resource: topic }, ...tagging];
}

function refusal(request: AwsRequest, { action, resource }: Need, accountId: string): HttpAnswer {
  const [service = "", name = ""] = action.split(":");
  const worded = request.service === "sqs" ? `${service}:${name.toLowerCase()}` : `${service.toUpperCase()}:${name}`;
  const code = request.service === "sqs" ? "AccessDenied" : "AuthorizationError";
  const message = `User: arn:aws:iam::${accountId}:user/tester is not authorized to perform: ${worded} on resource: ${resource} because no identity-based policy allows the ${worded} action`;
  return errorAnswer(request, { status: 403, code, senderFault: true, message });
}
