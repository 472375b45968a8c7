/** How errors and events name an address. */
import type { Address, ReplyAddress } from "@posthorn/core/transport";

/** Without an article, such as `queue "orders"` or `group "billing" of topic "order-events"`. */
export function describeAddress(address: Exclude<Address, ReplyAddress>): string {
  const channel = `${address.channel.kind} ${JSON.stringify(address.channel.name)}`;
  if (address.kind === "channel") return channel;
  const inlet = address.channel.kind === "queue" ? channel : `group ${JSON.stringify(address.group)} of ${channel}`;
  return address.kind === "inlet" ? inlet : `dead-letter queue of ${inlet}`;
}
