/** The RabbitMQ versions the tests know how to get. */
export type RabbitmqVersion = "3.10" | "4.0" | "4.3";

/** The Kafka versions the tests know how to get. */
export type KafkaVersion = "3.9" | "4.4";

/** The version of the API of SQS: the only one. */
export type SqsVersion = "2012-11-05";

/** How a broker came about: an address was given, a container was started, or processes of this machine were. */
export type BrokerOrigin = "address" | "container" | "native";

/** A running broker. What was started for the run ends with it, however the run ends; a given address is left alone. */
export interface RunningBroker extends AsyncDisposable {
  readonly kind: "rabbitmq" | "kafka" | "sqs";
  /** As the broker itself reports it to a client, for example `"4.0.5"`; Kafka tells no more than `"4.4"`. */
  readonly version: string;
  readonly origin: BrokerOrigin;
  /** For example `amqp://guest:guest@127.0.0.1:40123`; stays the same over every restart. */
  readonly url: string;
  /** Faults and administration; absent when only an address was given. */
  readonly control?: ServerControl;
  /** Ends the broker and removes its data. May be called more than once. */
  stop(): Promise<void>;
}

/** What a test may do to the server of a broker. Each call resolves when it has taken effect. */
export interface ServerControl {
  /** Ends the broker with SIGKILL: connections reset, nothing flushed, data kept. */
  kill(): Promise<void>;
  /** Stops the broker in good order; data kept. */
  shutDown(): Promise<void>;
  /** Starts it again after `kill` or `shutDown`, on the same data and ports; resolves when clients can work with it. */
  start(): Promise<void>;
  /** Freezes the broker with SIGSTOP: connections stay open and silent. */
  pause(): Promise<void>;
  /** Lets a paused broker go on. */
  resume(): Promise<void>;
}

export interface RabbitmqBroker extends RunningBroker {
  readonly kind: "rabbitmq";
  readonly control?: RabbitmqControl;
}

export interface RabbitmqControl extends ServerControl {
  /** Runs `rabbitmqctl` with the arguments and resolves to its output. Rejects when it fails. */
  ctl(...args: string[]): Promise<string>;
  /** Makes the broker close every client connection, as an operator does. */
  closeAllConnections(reason: string): Promise<void>;
}

/** One broker that is a whole cluster, `kafka://127.0.0.1:40123`, without TLS and without a user. */
export interface KafkaBroker extends RunningBroker {
  readonly kind: "kafka";
  /** Its address, or those that were given: `host:port`. */
  readonly brokers: readonly string[];
  /** Other ways in, for proxies. Empty when only an address was given. */
  readonly links: readonly KafkaLink[];
  /** The way in with TLS and a user. Absent when only an address was given. */
  readonly secured?: SecuredKafka;
  readonly control?: KafkaControl;
}

/**
 * A way in that is to be used through a proxy. A Kafka client leaves the address it was given for the one that the broker
 * advertises: here that of the proxy, so that no connection goes around it.
 */
export interface KafkaLink {
  /** Where the broker listens, on the host of `brokers`: the target of the proxy. */
  readonly listenPort: number;
  /** Where the proxy is to listen, on 127.0.0.1: the port that clients use. Nobody listens there before. */
  readonly advertisedPort: number;
}

/**
 * A listener with TLS that takes its user by SASL PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or an
 * OAUTHBEARER token that nobody signed, of any subject.
 */
export interface SecuredKafka {
  /** `host:port`. */
  readonly brokers: readonly string[];
  /** The certificate of the broker, self-signed, for `localhost` and `127.0.0.1`; PEM. */
  readonly ca: string;
  readonly username: string;
  readonly password: string;
}

export interface KafkaControl extends ServerControl {
  /**
   * Makes every produce with `acks=all` to the topics there are fail with NOT_ENOUGH_REPLICAS (19) at once. Fetches,
   * groups and commits of offsets go on, and so do topics made later, unless their replication factor is 2.
   *
   * The topics keep a second replica, which never is in sync, for good.
   */
  blockPublishers(): Promise<void>;
  /** Takes that back. */
  unblockPublishers(): Promise<void>;
}

/**
 * An emulator of SQS and SNS, one endpoint for both. A client stays on the `endpoint` that it is given, which may be a
 * proxy's: to it, the host of a queue's URL means nothing.
 */
export interface SqsBroker extends RunningBroker {
  readonly kind: "sqs";
  /** As it names itself, for example `"ministack 1.5.33"`. */
  readonly version: string;
  /** For example `http://127.0.0.1:40123`; the same as `url`. */
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: SqsCredentials;
  /**
   * Whether it refuses unknown access keys, and keeps from a queue what SNS sends and the queue's policy does not allow,
   * as AWS does. No emulator looks at the secret key.
   */
  readonly authorizes: boolean;
  readonly control?: SqsControl;
}

export interface SqsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface SqsControl extends ServerControl {
  /** Whether all that was accepted outlives `kill` and `shutDown`. Where not, `start` starts with nothing. */
  readonly isDurable: boolean;
}
