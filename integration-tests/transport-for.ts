import { openTransport } from "@posthorn/core";
import type { Transport } from "@posthorn/core";

/** As an application opens it: what differs between brokers is the URL. */
export function transportFor(url: string, options: Readonly<Record<string, number>> = {}): Promise<Transport> {
  return openTransport(withOptions(url, options), {
    amqp: () => import("@posthorn/rabbitmq"),
    kafka: () => import("@posthorn/kafka"),
    sqs: () => import("@posthorn/sqs-sns"),
  });
}

function withOptions(url: string, options: Readonly<Record<string, number>>): string {
  const query = Object.entries(options).map(([name, value]) => `${name}=${value}`);
  return query.length === 0 ? url : `${url}${url.includes("?") ? "&" : "?"}${query.join("&")}`;
}
