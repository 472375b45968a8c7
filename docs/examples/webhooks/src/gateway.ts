// The way in: takes GitHub's HTTP requests and publishes them as events.
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { isPosthornError } from "@posthorn/core";
import type { Bus } from "@posthorn/core";
import { WebhookReceived } from "./contracts.ts";
import type { Webhook } from "./contracts.ts";

const largestBody = 25 * 1_048_576;

/** Answers 202 once the event is durably published, so that GitHub knows whether to deliver again. */
export function gateway(bus: Bus): Server {
  bus.declare(WebhookReceived);
  return createServer((request, response) => {
    accept(bus, request).then(
      () => response.writeHead(202).end(),
      (error: unknown) => response.writeHead(isPosthornError(error, "SCHEMA_VIOLATION") ? 422 : 503).end(),
    );
  });
}

async function accept(bus: Bus, request: IncomingMessage): Promise<void> {
  const payload = JSON.parse(await readBody(request)) as Webhook;
  const event = String(request.headers["x-github-event"]);
  // GitHub's own id: if it delivers twice, consumers can tell.
  await bus.publish(WebhookReceived, { event, payload }, { id: String(request.headers["x-github-delivery"]) });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > largestBody) throw new Error("The payload is larger than GitHub's own limit.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
