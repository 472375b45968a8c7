import type {
  Abortable,
  Capabilities,
  ConnectOptions,
  ConsumeOptions,
  Consumption,
  Outbound,
  ProvisionMode,
  Receipt,
  Receive,
  Source,
  Topology,
  TopologyChange,
  Transport,
  TransportAdmin,
  TransportHealth,
} from "@posthorn/core/transport";
import type { Broker } from "./broker/broker.ts";
import { createAdmin } from "./admin.ts";
import type { Connection } from "./connection.ts";
import { Consumer } from "./consume.ts";
import { createDispatch } from "./dispatch.ts";
import type { Dispatch } from "./dispatch.ts";
import { missingSource, noReplies } from "./errors.ts";
import { sourceName } from "./topology.ts";

/** A client of the memory broker. */
export class MemoryTransport implements Transport {
  readonly specVersion = 1;
  readonly system = "memory";
  readonly capabilities: Capabilities;
  readonly admin: TransportAdmin;
  readonly #connection: Connection;
  readonly #dispatch: Dispatch;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#dispatch = createDispatch(connection);
    this.admin = createAdmin(connection);
    this.capabilities = capabilitiesOf(connection.broker);
  }

  connect(options: ConnectOptions): Promise<void> {
    return this.#connection.connect(options);
  }

  async provision(topology: Topology, mode: ProvisionMode, options: Abortable): Promise<readonly TopologyChange[]> {
    return this.#connection.ask("Provisioning", options.signal, (session) => {
      if (mode === "apply") this.#connection.applied.add(topology);
      return session.provision(topology, mode === "apply");
    });
  }

  dispatch(batch: readonly Outbound[], options: Abortable): Promise<readonly Receipt[]> {
    return this.#dispatch(batch, options.signal);
  }

  async consume(source: Source, receive: Receive, options: ConsumeOptions): Promise<Consumption> {
    if (source.kind === "reply") throw noReplies();
    const name = sourceName(source);
    const connection = this.#connection;
    const consumer = new Consumer(connection, name, receive, options);
    await connection.ask(`Consuming "${name}"`, options.signal, (session) => {
      if (session.depth(name) === undefined && connection.applied.has({ object: "source", name })) connection.reapply();
      consumer.attach(session);
      if (!consumer.restored) throw missingSource(name);
      connection.attached.add(consumer);
    });
    return consumer;
  }

  health(): TransportHealth {
    return this.#connection.health();
  }

  async close(options: Abortable): Promise<void> {
    // What was settled just before is on its way to the broker, in promises.
    if (!options.signal.aborted) await new Promise<void>((resolve) => setImmediate(resolve));
    this.#connection.end();
  }
}

function capabilitiesOf(broker: Broker): Capabilities {
  const { personality, maxMessageBytes } = broker.settings;
  return Object.freeze({
    maxMessageBytes,
    durable: false,
    settlement: personality === "log" ? "prefix" : "message",
    delayedDelivery: true,
    ordering: true,
    replies: false,
  });
}
