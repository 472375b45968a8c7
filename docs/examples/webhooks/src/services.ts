// Three services that each get every webhook, and a worker that shares a queue with its like. They know no broker.
import { deadLetter } from "@posthorn/core";
import type { Bus, Subscription } from "@posthorn/core";
import { SendNotification, WebhookReceived } from "./contracts.ts";

const newsworthy = new Set([
  "discussion",
  "fork",
  "issue_comment",
  "issues",
  "pull_request",
  "push",
  "release",
  "star",
]);

/** Tells people what happened to their repositories, by way of the mailers. */
export function notifier(bus: Bus): Subscription {
  bus.declare(SendNotification);
  return bus.subscribe(WebhookReceived, async ({ id, data: { event, payload } }, context) => {
    if (payload.sender === undefined || !newsworthy.has(event)) return;
    const subject = [payload.repository?.full_name, event.replaceAll("_", " "), payload.action]
      .filter(Boolean)
      .join(" ");
    // An id that follows from the event's: handled twice, it is still one notification.
    const { login, type } = payload.sender;
    await context.send(SendNotification, { to: login, kind: type, subject }, { id: `${id}-notification` });
  });
}

/** Counts events. */
export function metrics(bus: Bus, counts: Map<string, number>): Subscription {
  return bus.subscribe(WebhookReceived, ({ data: { event } }) => {
    counts.set(event, (counts.get(event) ?? 0) + 1);
  });
}

/** Writes down who did what. Payloads without a sender (security advisories) break it, as they would break real code. */
export function audit(bus: Bus, log: string[]): Subscription {
  return bus.subscribe(WebhookReceived, ({ data: { event, payload } }) => {
    const { sender } = payload;
    if (sender === undefined) throw new TypeError(`${event} has no sender: who did it?`);
    log.push(`${sender.login} ${event} ${payload.action ?? ""}`);
  });
}

/** Sends notifications. Its mail server puts off some senders once, and has no mailbox for organizations. */
export function mailer(bus: Bus): Subscription {
  return bus.handle(SendNotification, ({ data: { to, kind, subject } }, { attempt }) => {
    if (kind !== "User") throw deadLetter(`${to} is an ${kind.toLowerCase()}: it has no mailbox`);
    if (attempt === 1 && subject.endsWith("created")) throw new Error("451 greylisted: try again later");
  });
}
