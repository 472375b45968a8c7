import type { Transport } from "@posthorn/core";
import type { Delivery, Message } from "@posthorn/core/transport";

/** The same transport with some of its methods replaced. */
export function wrapTransport(inner: Transport, changes: Partial<Transport>): Transport {
  return {
    specVersion: inner.specVersion,
    system: inner.system,
    capabilities: inner.capabilities,
    admin: inner.admin,
    connect: (options) => inner.connect(options),
    provision: (topology, mode, options) => inner.provision(topology, mode, options),
    dispatch: (batch, options) => inner.dispatch(batch, options),
    consume: (source, receive, options) => inner.consume(source, receive, options),
    health: () => inner.health(),
    close: (options) => inner.close(options),
    ...changes,
  };
}

/** The same delivery of another message. Its `lost` stays lazy, as the original's may be. */
export function withMessage(
  delivery: Delivery,
  message: Message,
  changes: { readonly defect?: undefined; readonly lost?: AbortSignal } = {},
): Delivery {
  return {
    message,
    deliveryCount: delivery.deliveryCount,
    defect: "defect" in changes ? changes.defect : delivery.defect,
    get lost() {
      return changes.lost ?? delivery.lost;
    },
  };
}
