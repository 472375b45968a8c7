import type { CreateTransport, Transport, TransportEnvironment } from "@posthorn/core/transport";
import { Connection } from "./connection.ts";
import { registerTransport } from "./memory-broker.ts";
import type { MemoryBroker } from "./memory-broker.ts";
import { readTransportOptions } from "./options.ts";
import type { MemoryBrokerOptions } from "./options.ts";
import { checkAgainst, defaultName, namedBroker } from "./registry.ts";
import { MemoryTransport } from "./transport.ts";

/** Which broker a transport connects to. Options of a broker that exists already must be as it was made. */
export interface MemoryOptions extends MemoryBrokerOptions {
  /** A broker from `createMemoryBroker`. Default: the one called `name`. */
  readonly broker?: MemoryBroker | undefined;
  /** A broker of this process, made when it is first named and kept until `dropMemoryBroker`. Default `default`. */
  readonly name?: string | undefined;
}

/**
 * A transport to a broker in this process, from `memory:`, `memory:name?personality=log` or `{ transport: "memory", ... }`.
 *
 * Every transport opened with the same name reaches the same broker, so that several services of one process talk to each other. It tells
 * time by the broker's clock; a clock in `environment` is for the broker that this call makes.
 *
 * @throws INVALID_OPTION naming the option
 */
export const createTransport: CreateTransport = (
  config: string | Readonly<Record<string, unknown>>,
  environment: Partial<TransportEnvironment> = {},
) => {
  const { broker: given, name = defaultName, options } = readTransportOptions(config);
  const handle = given ?? namedBroker(name, options, environment.clock);
  const connection = new Connection(checkAgainst(handle, options, environment.clock));
  const transport = new MemoryTransport(connection);
  registerTransport(transport, connection);
  return transport;
};

/** {@link createTransport} with its options typed. */
export function memory(options: MemoryOptions = {}, environment?: Partial<TransportEnvironment>): Transport {
  return createTransport({ transport: "memory", ...options }, environment);
}
