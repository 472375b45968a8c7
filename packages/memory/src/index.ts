/** The embedded broker of Posthorn, and the transport that reaches it. */
export type { FaultOptions, FaultPlan } from "./broker/faults.ts";
export type { Path } from "./connection.ts";
export { createTransport, memory } from "./create-transport.ts";
export type { MemoryOptions } from "./create-transport.ts";
export { createMemoryBroker } from "./memory-broker.ts";
export type { MemoryBroker } from "./memory-broker.ts";
export type { MemoryBrokerOptions } from "./options.ts";
export { dropMemoryBroker } from "./registry.ts";
export { sourceName } from "./topology.ts";
export type { ForeignMessage } from "./wire.ts";
