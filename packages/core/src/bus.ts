/** What an application holds and is given: types only. {@link createBus} makes one. */
import type { ChannelInfo } from "./address.ts";
import type { Clock } from "./clock.ts";
import type { AnyContract, QueueContract, TopicContract } from "./contract.ts";
import type { DeadLetterChannel } from "./dead-letter-channel.ts";
import type { Handler, SendOptions, Sent } from "./handler.ts";
import type { Middleware } from "./middleware.ts";
import type { Observe } from "./observe.ts";
import type { RetryPolicy } from "./retry.ts";
import type { TopologyChange } from "./topology.ts";
import type { Depth, Transport, TransportHealth } from "./transport.ts";

export interface BusOptions {
  /** The service's name: the source of its messages, and the default name of its group. */
  readonly service: string;
  readonly transport: Transport;
  /** Told with every dead letter. Default none. */
  readonly serviceVersion?: string;
  /** The instances that share a topic's messages. Default: the service's name. */
  readonly group?: string;
  /**
   * What `start` does about queues and topics. `apply` (default) makes what is missing; `verify` only checks, for accounts that may
   * not create. Either way a difference ends `start` with TOPOLOGY_MISMATCH. `assume` asks nothing, for accounts that may not even look: what is
   * missing is UNROUTABLE to whoever consumes it or sends to it. See also {@link Bus.plan}.
   */
  readonly provision?: "apply" | "verify" | "assume";
  /** Handlers that run at a time, per subscription. Default 10. */
  readonly concurrency?: number;
  /** Default {@link defaultRetry}. */
  readonly retry?: RetryPolicy;
  /**
   * How long one attempt at a message may take, in milliseconds. Then `context.signal` fires and the attempt has failed
   * (HANDLING_TIMEOUT), whatever the handler does later; until it ends it takes up its place among those that run; on an ordered channel the attempt fails, and its key goes on, only then. Default 900,000: RabbitMQ, for
   * one, takes a message back after 30 minutes.
   */
  readonly maxHandlingMs?: number;
  /** Largest message, body and headers together, in bytes; the transport's own limit holds too. Default 262,144, which every broker carries. */
  readonly maxMessageBytes?: number;
  /** How long `send` and `publish` may take. Default 30,000. */
  readonly publishTimeoutMs?: number;
  /** Most messages that may wait to be accepted by the broker; one more rejects with BUFFER_FULL. Default 100,000. */
  readonly maxPendingMessages?: number;
  /** Most bytes (bodies) that may wait to be accepted by the broker. Default 67,108,864. */
  readonly maxPendingBytes?: number;
  /** Told of everything worth logging or counting. Default: warnings and errors on the console. */
  readonly observe?: Observe;
  /** Default: the computer's. */
  readonly clock?: Clock;
  /** Default `Math.random`. */
  readonly random?: () => number;
}

/**
 * An application's one connection to its messages.
 *
 * Declare and register first, then `start`. `await using bus = createBus(…)` closes it at the end of the scope.
 */
export interface Bus extends AsyncDisposable {
  readonly service: string;

  /**
   * Says which messages this service sends or publishes without handling them itself, so that their channels exist once
   * the bus has started.
   *
   * @throws INVALID_DECLARATION after `start`, or when two contracts contradict each other
   */
  declare(...contracts: readonly AnyContract[]): void;

  /**
   * Handles the commands or documents of a queue. One handler for each type and version.
   *
   * A handler that returns has handled the message. A throw means retry by policy, then dead letter; see also
   * {@link retryAfter}, {@link deadLetter} and {@link discard}. Messages of a type or version that no handler of the queue takes
   * are dead-lettered.
   *
   * @returns the subscription that all handlers of this queue share
   * @throws INVALID_DECLARATION after `start`, or when a handler exists
   */
  handle<Received>(
    contract: QueueContract<never, Received>,
    handler: Handler<Received>,
    options?: HandlerOptions,
  ): Subscription;

  /**
   * Handles the events or documents of a topic, as a group: each message goes to one instance of each group.
   *
   * As `handle`, but types of the topic to which the group has not subscribed are left out.
   *
   * @returns the subscription that all handlers of this topic and group share
   * @throws INVALID_DECLARATION after `start`, or when a handler exists; INVALID_NAME for the group
   */
  subscribe<Received>(
    contract: TopicContract<never, Received>,
    handler: Handler<Received>,
    options?: SubscribeOptions,
  ): Subscription;

  /**
   * Adds middleware round every handler and every publish; the first added is the outermost.
   *
   * @throws INVALID_DECLARATION after `start`
   */
  use(middleware: Middleware): void;

  /**
   * Connects, checks the declarations against what the transport can do, provisions, and starts to consume.
   *
   * When it rejects, everything is closed again.
   *
   * @throws UNSUPPORTED_CAPABILITY, TOPOLOGY_MISMATCH, CONNECTION_FAILED, AUTHENTICATION_FAILED, ACCESS_REFUSED, ABORTED
   */
  start(options?: StartOptions): Promise<void>;

  /**
   * Compares what the application declared with what the broker has. Creates nothing. Before `start` it connects for the time of the
   * call and closes the bus afterwards.
   *
   * @returns what `start` would have to create, and what differs
   */
  plan(options?: StartOptions): Promise<readonly TopologyChange[]>;

  /**
   * Sends a command or document to its queue. Resolves when the broker has durably accepted it.
   *
   * @throws SCHEMA_VIOLATION, ENCODE_FAILED, INVALID_HEADER, MESSAGE_TOO_LARGE, UNDECLARED_CONTRACT (nothing was sent);
   * UNROUTABLE, PUBLISH_TIMEOUT, UNKNOWN_OUTCOME, BUFFER_FULL, ABORTED, NOT_STARTED, CLOSED
   */
  send<Payload>(contract: QueueContract<Payload>, data: NoInfer<Payload>, options?: SendOptions): Promise<Sent>;

  /**
   * Publishes an event or document to every group of its topic. Resolves when the broker has durably accepted it, also when
   * there is no group.
   *
   * @throws as `send`
   */
  publish<Payload>(contract: TopicContract<Payload>, data: NoInfer<Payload>, options?: SendOptions): Promise<Sent>;

  /**
   * The dead letters of any group, also of one that this bus does not consume.
   *
   * @param group on a topic, default the bus's; a queue has one group only
   * @throws INVALID_DECLARATION for a group of a queue, INVALID_NAME
   */
  deadLetters(channel: ChannelInfo, group?: string): DeadLetterChannel;

  health(): BusHealth;

  /**
   * Ends in order: no new deliveries; running handlers finish, until the deadline; then their `signal` fires and what they
   * had is released to be handled elsewhere, without counting as a failure; pending sends settle; the transport closes.
   * Can be called more than once; whoever gives it less time than those before shortens it. Not to be awaited in a handler,
   * for which it would wait in turn.
   */
  close(options?: CloseOptions): Promise<void>;
}

/** Options of a handler. What concerns the subscription may be given with any of its handlers, and must not be given twice differently. */
export interface HandlerOptions {
  /** This handler's. Default: the bus's. */
  readonly retry?: RetryPolicy;
  /** The subscription's: handlers that run at a time, over all types of the channel. Default: the bus's. */
  readonly concurrency?: number;
  /** The subscription's. Default: the bus's. See {@link BusOptions.maxHandlingMs}. */
  readonly maxHandlingMs?: number;
}

export interface SubscribeOptions extends HandlerOptions {
  /** Default: the bus's. */
  readonly group?: string;
}

/** A group's intake from one channel, shared by all its handlers. */
export interface Subscription {
  readonly channel: ChannelInfo;
  readonly group: string;
  /** Handlers that run at a time, exactly. Can be changed at any time; when it shrinks, what runs is left to finish. */
  concurrency: number;
  readonly paused: boolean;
  /** Nothing new is started until `resume`. What runs goes on. */
  pause(): void;
  resume(): void;
  /** Ends the intake of this instance. What runs goes on; the group keeps its messages. */
  stop(): Promise<void>;
  /** What waits for this group. */
  depth(options?: WaitOptions): Promise<Depth>;
  readonly deadLetters: DeadLetterChannel;
}

export interface WaitOptions {
  readonly signal?: AbortSignal;
  /** Default 30,000. */
  readonly timeoutMs?: number;
}

export interface StartOptions extends WaitOptions {}

export interface CloseOptions {
  /** How long handlers and pending sends may still take, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
}

export interface BusHealth {
  readonly status: "idle" | "starting" | "running" | "closing" | "closed";
  readonly transport: TransportHealth;
  /** Messages that wait to be accepted by the broker. */
  readonly pendingMessages: number;
  /** Handlers that run now. */
  readonly handling: number;
}
