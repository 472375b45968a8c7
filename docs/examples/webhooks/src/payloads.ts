// Real webhook payloads, as GitHub sends them: npm @octokit/webhooks-examples.
import { createHash } from "node:crypto";
import definitions from "@octokit/webhooks-examples" with { type: "json" };
import type { Webhook } from "./contracts.ts";

/** One HTTP request that GitHub would make. */
export interface Delivery {
  /** GitHub's `X-GitHub-Delivery`: the same when it delivers again. */
  readonly id: string;
  /** GitHub's `X-GitHub-Event`. */
  readonly event: string;
  readonly payload: Webhook;
}

interface Definition {
  readonly name: string;
  readonly examples: readonly Webhook[];
}

export function loadDeliveries(): readonly Delivery[] {
  return (definitions as unknown as readonly Definition[]).flatMap(({ name, examples }) =>
    examples.map((payload, index) => ({ id: deliveryId(`${name}/${index}`), event: name, payload })),
  );
}

/** A UUID that is the same in every run. */
function deliveryId(name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
