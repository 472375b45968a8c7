/** The RabbitMQ versions the tests know how to get. */
export type RabbitmqVersion = "3.10" | "4.0" | "4.3";

/** How a broker came about: an address was given, a container was started, or processes of this machine were. */
export type BrokerOrigin = "address" | "container" | "native";

/** A running broker. What was started for the run ends with it, however the run ends; a given address is left alone. */
export interface Broker extends AsyncDisposable {
  readonly kind: "rabbitmq";
  /** As the broker itself reports it to a client, for example `"4.0.5"`. */
  readonly version: string;
  readonly origin: BrokerOrigin;
  /** For example `amqp://guest:guest@127.0.0.1:40123`; stays the same over every restart. */
  readonly url: string;
  /** Faults and administration; absent when only an address was given. */
  readonly control?: RabbitmqControl;
  /** Ends the broker and removes its data. May be called more than once. */
  stop(): Promise<void>;
}

/** What a test may do to a broker. Each call resolves when it has taken effect. */
export interface RabbitmqControl {
  /** Runs `rabbitmqctl` with the arguments and resolves to its output. Rejects when it fails. */
  ctl(...args: string[]): Promise<string>;
  /** Makes the broker close every client connection, as an operator does. */
  closeAllConnections(reason: string): Promise<void>;
  /** Ends the broker with SIGKILL: connections reset, nothing flushed, data kept. */
  kill(): Promise<void>;
  /** Stops the broker in good order; data kept. */
  shutDown(): Promise<void>;
  /** Starts it again after `kill` or `shutDown`, on the same data and the same port; resolves when clients can connect. */
  start(): Promise<void>;
  /** Freezes the broker with SIGSTOP: connections stay open and silent. */
  pause(): Promise<void>;
  /** Lets a paused broker go on. */
  resume(): Promise<void>;
}
