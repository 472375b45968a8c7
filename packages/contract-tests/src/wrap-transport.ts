import type { Transport } from "@posthorn/core";

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
