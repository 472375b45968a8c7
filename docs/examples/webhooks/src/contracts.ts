// What the services say to each other. Knows no broker.
import { queue, topic } from "@posthorn/core";
import { z } from "zod";

/** The parts of GitHub's payloads that the services look at; the rest travels along. */
const Payload = z.looseObject({
  action: z.string().optional(),
  repository: z.looseObject({ full_name: z.string() }).optional(),
  sender: z.looseObject({ login: z.string(), type: z.string() }).optional(),
});

export const webhooks = topic("webhooks");
export const WebhookReceived = webhooks.event("webhook-received", {
  schema: z.object({ event: z.string(), payload: Payload }),
  key: (webhook) => webhook.payload.repository?.full_name ?? "none",
});
export type Webhook = z.infer<typeof Payload>;

export const notifications = queue("notifications");
export const SendNotification = notifications.command("send-notification", {
  schema: z.object({ to: z.string(), kind: z.string(), subject: z.string() }),
});
