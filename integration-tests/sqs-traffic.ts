/** Which requests go to SQS and SNS: seen from between a transport and the broker. */
import type { HttpLink } from "./brokers/http-link.ts";
import { openHttpLink } from "./brokers/http-link.ts";
import type { AwsRequest } from "./brokers/sqs-wire.ts";

/** A request, from when it came. */
export interface SeenRequest {
  readonly action: string;
  /** The name of the queue or topic; empty where the request names none. */
  readonly place: string;
  readonly body: Buffer;
  /** How many of this action and place were under way when it came, itself included. */
  readonly atOnce: number;
  /** The broker has answered it. */
  readonly answered: boolean;
  /** Its client waits for it no more. */
  readonly over: boolean;
}

export interface Traffic extends AsyncDisposable {
  readonly link: HttpLink;
  /** All that came, oldest first. */
  readonly seen: readonly SeenRequest[];
  /** Those of an action that are not over. */
  underWay(action: string): readonly SeenRequest[];
}

/** @param endpoint the broker's */
export async function watchTraffic(endpoint: string): Promise<Traffic> {
  const seen: (SeenRequest & { answered: boolean; over: boolean })[] = [];
  const byRequest = new WeakMap<AwsRequest, { answered: boolean }>();
  const underWay = (action: string): readonly SeenRequest[] =>
    seen.filter((request) => !request.over && request.action === action);
  const link = await openHttpLink(endpoint, {
    onRequest(asked, body, gone) {
      const { action, resource } = asked;
      const place = resource.slice(Math.max(resource.lastIndexOf("/"), resource.lastIndexOf(":")) + 1);
      const atOnce = underWay(action).filter((other) => other.place === place).length + 1;
      const request = { action, place, body, atOnce, answered: false, over: false };
      gone.addEventListener("abort", () => (request.over = true));
      byRequest.set(asked, request);
      seen.push(request);
      return undefined;
    },
    onAnswer(asked) {
      const request = byRequest.get(asked);
      if (request !== undefined) request.answered = true;
    },
  });
  return { link, seen, underWay, [Symbol.asyncDispose]: () => link.close() };
}
