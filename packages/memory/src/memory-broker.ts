/** The handle that an application or a test holds of a broker: how it is watched, and what can be done to it. */
import { systemClock } from "@posthorn/core/transport";
import type { Address, Clock, Depth, Message, Transport } from "@posthorn/core/transport";
import { createBroker } from "./broker/broker.ts";
import type { Broker } from "./broker/broker.ts";
import { noFaults } from "./broker/faults.ts";
import type { FaultOptions, FaultPlan } from "./broker/faults.ts";
import type { BrokerSource } from "./broker/source.ts";
import type { Connection, Path } from "./connection.ts";
import { missingSource, refusalError } from "./errors.ts";
import { readBrokerOptions, readFaults } from "./options.ts";
import type { MemoryBrokerOptions } from "./options.ts";
import { destinationOf } from "./topology.ts";
import { decode, foreignPacket } from "./wire.ts";
import type { ForeignMessage } from "./wire.ts";

/**
 * An embedded broker. Whoever holds it can do to it what an operator, or an accident, does to a real one.
 *
 * Sources are named as follows: a queue by its own name, a topic's group `<topic>.<group>`, the dead letters of either with `.dlq`
 * behind. Methods throw UNROUTABLE for a source that does not exist.
 */
export interface MemoryBroker {
  readonly personality: "queue" | "log";
  /** Open connections. */
  readonly clients: number;
  /** Consumers that have joined a source. */
  readonly consumers: number;
  /** Messages whose time has not come: no source's depth counts them. */
  readonly delayed: number;
  /** The names of all sources. */
  sources(): readonly string[];
  depth(source: string): Depth;
  /** The oldest messages that wait, left where they are. `limit` defaults to 100. */
  peek(source: string, limit?: number): readonly Message[];
  /**
   * Stores what another program would have sent: any bytes, or a message of which any part may be missing.
   * The broker delivers it at once, whatever its `notBefore`. With `cloudEvent`, the envelope is that of a CloudEvent in binary mode: its attributes, without a prefix.
   *
   * @throws UNROUTABLE, REJECTED
   */
  inject(address: Address, content: Uint8Array | ForeignMessage): void;
  /**
   * Deletes a source, or a channel together with its groups; dead letters only by their own name. Transports that applied
   * it make it again, empty, as soon as they notice.
   *
   * @returns false where there was no such thing
   */
  delete(name: string): boolean;

  /** Ends a client as SIGKILL would: nothing is settled or flushed, its leases are given back, the transport stays dead. */
  crash(transport: Transport): void;
  /** Stops a client as SIGSTOP would: it sends, settles, renews and notices nothing until {@link thaw}. */
  freeze(transport: Transport): void;
  /** Lets a frozen client go on. What it lost meanwhile it learns first: `lost` fires, then its settlements are tried. */
  thaw(transport: Transport): void;
  /** Cuts every connection, or one client's; the clients connect again by themselves. */
  cutConnections(transport?: Transport): void;
  /** Changes the network between one client and the broker; `open` makes it well again. */
  setPath(transport: Transport, path: Path): void;
  /** Takes back what the consumers of a source have in hand, while their connections live. */
  breakConsumers(source: string): void;
  /** Takes no messages until {@link unblock}: senders wait. */
  block(): void;
  unblock(): void;
  /** Goes away, as for a restart: connections are lost and none is made. The messages stay. */
  stop(): void;
  start(): void;

  readonly faults: FaultPlan;
  /**
   * Changes the faults that are given and leaves the rest. A seed begins the sequence of faults anew.
   *
   * @throws INVALID_OPTION
   */
  setFaults(changes: FaultOptions): void;
  /** Ends all faults. */
  heal(): void;
}

const brokers = new WeakMap<object, Broker>();
const connections = new WeakMap<Transport, Connection>();

/** A broker of its own, which only those reach who are given it. */
export function createMemoryBroker(options: MemoryBrokerOptions & { readonly clock?: Clock } = {}): MemoryBroker {
  const { clock = systemClock, ...rest } = options;
  const broker = createBroker(readBrokerOptions(rest), clock);
  const handle = handleOf(broker);
  brokers.set(handle, broker);
  return handle;
}

export function brokerOf(handle: object): Broker | undefined {
  return brokers.get(handle);
}

/** Lets the switches find the client behind a transport, as long as somebody holds it. */
export function registerTransport(transport: Transport, connection: Connection): void {
  connections.set(transport, connection);
}

function handleOf(broker: Broker): MemoryBroker {
  const source = (name: string): BrokerSource => {
    const found = broker.catalog.source(name);
    if (found === undefined) throw missingSource(name);
    return found;
  };
  const { catalog, faults } = broker;
  return {
    personality: broker.settings.personality,
    get clients() {
      return broker.sessions;
    },
    get consumers() {
      return [...catalog.sources()].reduce((sum, each) => sum + each.members, 0);
    },
    get delayed() {
      return broker.delayed;
    },
    sources: () => Array.from(catalog.sources(), (each) => each.name),
    depth: (name) => source(name).depth(),
    peek: (name, limit = 100) =>
      source(name)
        .browse(limit)
        .map((record) => decode(record).message),
    inject(address, content) {
      const refused = broker.store(destinationOf(address), foreignPacket(content));
      if (refused !== undefined) throw refusalError(refused);
    },
    delete: (name) => catalog.remove(name),
    crash: (transport) => connections.get(transport)?.end(),
    freeze: (transport) => connections.get(transport)?.freeze(),
    thaw: (transport) => connections.get(transport)?.thaw(),
    cutConnections(transport) {
      if (transport === undefined) broker.cutAll("the broker cut it");
      else connections.get(transport)?.cut();
    },
    setPath: (transport, path) => connections.get(transport)?.setPath(path),
    breakConsumers: (name) => source(name).revoke(),
    block: () => broker.setBlocked(true),
    unblock: () => broker.setBlocked(false),
    stop: () => broker.stop(),
    start: () => broker.start(),
    get faults() {
      return faults.plan;
    },
    setFaults: (changes) => faults.set(readFaults(changes, faults.plan), changes.seed !== undefined),
    heal: () => faults.set({ ...noFaults, seed: faults.plan.seed }, false),
  };
}
