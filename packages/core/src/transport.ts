/**
 * The transport contract: the one interface that an adapter implements, and all that it may import of Posthorn.
 *
 * **Who does what.** Core owns policy: retry, dead-lettering, ordering, idempotency, correlation, validation, batching and
 * concurrency. The adapter owns the wire: names, connections, encoding, leases, and telling errors apart. It decides
 * nothing about a message, and keeps no retry loop but the one that brings its connection back.
 *
 * **Proof.** `@posthorn/contract-tests` holds an adapter to every sentence below.
 *
 * @module
 */
import type { Address, DeadLetterAddress, InletAddress, Source } from "./address.ts";
import type { Capabilities } from "./capabilities.ts";
import type { Clock } from "./clock.ts";
import type { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Topology, TopologyChange } from "./topology.ts";

/** Every call that waits can be given up: it then rejects with ABORTED (or settles as the method says) without delay. */
export interface Abortable {
  readonly signal: AbortSignal;
}

/**
 * A connection to one broker. Made unconnected by the adapter's {@link CreateTransport}; used by one bus.
 *
 * All methods may be called at the same time from anywhere. Before `connect` has resolved only `close` and `health` are called.
 */
export interface Transport {
  readonly specVersion: 1;
  /** OpenTelemetry's `messaging.system`, such as `rabbitmq`. */
  readonly system: string;
  readonly capabilities: Capabilities;
  readonly admin: TransportAdmin;

  /**
   * Connects. Called once.
   *
   * While the broker cannot be reached it tries again, with backoff, until the signal fires. Once it has resolved, the
   * adapter keeps the connection up by itself until `close`: after any cut, channel error, deleted consumer or broker
   * restart the consumers, the topology it was given and the publishers come back without a call from core.
   *
   * @throws AUTHENTICATION_FAILED or ACCESS_REFUSED at once; CONNECTION_FAILED, with the last failure as its cause, when
   * the signal fires first. After a rejection nothing of the attempt is left running.
   */
  connect(options: ConnectOptions): Promise<void>;

  /**
   * Makes the topology exist (`apply`), or only compares it (`verify`, `plan`: these create nothing).
   *
   * Never deletes and never changes what exists, but that a group of a topic gets the types it lacks. Two applications may apply the same topology at the same moment. From
   * the moment `apply` has resolved a group exists: what is published afterwards waits for it, even when its first
   * consumer starts hours later. The adapter remembers an applied topology and makes it exist again where its consumers find that the broker has lost it.
   *
   * A group always has a dead-letter channel; a broker's own delivery limit always has a dead-letter target.
   *
   * @returns what is still missing or different after the call: in `apply` only what cannot be applied; in the other
   * modes everything that the broker lets one see (AMQP, for one, shows no bindings). A difference is data, not an error, and never disturbs other consumers or publishers.
   */
  provision(topology: Topology, mode: ProvisionMode, options: Abortable): Promise<readonly TopologyChange[]>;

  /**
   * Hands messages to the broker. Resolves when every one of them is known to be accepted or not; never rejects.
   *
   * Core calls it with batches of 1 to `maxBatch` messages, all for one address, and not again for that address before the last call
   * has resolved: so order within an address is kept by keeping it within a batch. Messages of different addresses do not
   * disturb each other: a bad one never fails a good one.
   *
   * A receipt is `accepted` only when the broker has durably taken the message. A failed one carries
   * - CONNECTION_LOST, when nothing was sent (also when the signal fired before anything was);
   * - UNKNOWN_OUTCOME, when it was sent but the answer is missing (connection gone, signal fired): it may have been accepted;
   * - UNROUTABLE, when a queue, inlet, dead-letter channel or topic does not exist (a topic without groups is fine);
   * - REJECTED, when the broker refuses it for now; ACCESS_REFUSED; MESSAGE_TOO_LARGE and INVALID_HEADER, when the broker cannot carry
   *   it; UNSUPPORTED_CAPABILITY for a reply inbox where there are none; TRANSPORT_FAILED.
   *
   * While the connection is down or the broker blocks publishers, it waits until the signal fires.
   *
   * **Delay** (capability `delayedDelivery`). A message to a channel or an inlet whose `notBefore` lies in the future is not
   * delivered before that time, by this process's clock; it waits on the broker, durably, and holds up no other message. What the broker
   * cannot delay so long is delivered when the longest delay it can do is over: core sends it on. Dead letters are never delayed.
   *
   * **Order** (capability `ordering`). On an ordered channel a batch has at most one message of a key, and the messages of a
   * key are delivered to each group in the order in which they were accepted, those with a delay aside. A message without a key has no order.
   *
   * @returns one receipt a message, in the same order
   */
  dispatch(batch: readonly Outbound[], options: Abortable): Promise<readonly Receipt[]>;

  /**
   * Receives from a source until stopped.
   *
   * `receive` is called once for each delivery and never throws or rejects. The adapter keeps the lease alive while the promise is
   * pending, however long that takes, and then carries out the settlement:
   * - `accept`: the message is gone for this group;
   * - `release`: it is given back now, to be delivered again to any consumer of the group, and does not count as a
   *   failure where the broker lets one tell that.
   *
   * At most `maxInFlight` calls are pending at a time. The adapter holds no more messages than that where the broker shares out single
   * ones; of what is its alone anyway, as a log's partition is, it may have fetched more, bounded in bytes. A slow delivery never holds up the settlement of others for
   * longer than the transport's `settlement` capability implies. What cannot be understood is delivered all the same, with {@link Delivery.defect}.
   *
   * **Order** (capability `ordering`). From an ordered channel one consumption receives the messages of a key in their order, the next
   * possibly while the last is still pending: core makes it wait. As long as a consumption has an unsettled delivery of a key, also
   * after `stop`, no other consumption of the group receives messages of that key. Core releases a delivery only together with all
   * later ones of its key; they are delivered again in their order. To keep it, an adapter may take back more than was released, whose `lost` then fires.
   *
   * @throws UNROUTABLE when the source does not exist and the topology was not applied by this transport
   */
  consume(source: Source, receive: Receive, options: ConsumeOptions): Promise<Consumption>;

  health(): TransportHealth;

  /**
   * Flushes pending settlements, then closes all connections. Core has stopped every consumption and settled every
   * delivery before. Can be called at any time (also while connecting), more than once, and never revives. When the signal
   * fires it closes hard. Afterwards nothing keeps the process alive, `dispatch` answers with CONNECTION_LOST, and every
   * other call rejects with CLOSED.
   */
  close(options: Abortable): Promise<void>;
}

export type ProvisionMode = "apply" | "verify" | "plan";

export interface ConnectOptions extends Abortable {
  /** Tells core what happens on the connection. Never throws. */
  readonly report: (event: TransportEvent) => void;
}

/** What a transport tells of itself, for logs and health. An outage is one `disconnected` and one `connected`, however many tries lie between. */
export interface TransportEvent {
  readonly name:
    | "transport.connected"
    | "transport.disconnected"
    | "transport.blocked"
    | "transport.unblocked"
    | "transport.consumer-lost"
    | "transport.consumer-restored"
    | "transport.failed";
  /** What happened, in a sentence, without secrets. */
  readonly detail: string;
  readonly error?: unknown;
}

/** A message and where it goes. */
export interface Outbound {
  readonly address: Address;
  readonly message: Message;
}

/** What became of one outbound message. */
export type Receipt = { readonly accepted: true } | { readonly accepted: false; readonly error: PosthornError };

/** The one successful receipt. */
export const accepted: Receipt = Object.freeze({ accepted: true });

/** A failed receipt. */
export function failed(error: PosthornError): Receipt {
  return { accepted: false, error };
}

/** One message on its way to a handler, together with its lease. */
export interface Delivery {
  /** Its objects belong to this delivery alone: another delivery of the same message has its own. */
  readonly message: Message;
  /**
   * How often the broker has delivered it, this time included; `undefined` where the broker does not count. A foreign
   * count: it includes crashes and releases.
   */
  readonly deliveryCount: number | undefined;
  /** Why the message could not be understood; its `body` and what was readable of the envelope are in `message`. */
  readonly defect: string | undefined;
  /**
   * Fires when the lease is lost (connection gone, partition revoked, visibility expired): somebody else may now receive
   * the message, and the settlement is void. May be shared by many deliveries.
   */
  readonly lost: AbortSignal;
}

/** What the broker is to do with a delivery. */
export type Settlement = "accept" | "release";

export type Receive = (delivery: Delivery) => Promise<Settlement>;

export interface ConsumeOptions extends Abortable {
  /** Most deliveries that may be unsettled at a time, from 1. On the inlet of an ordered channel at least 1,024, and never changed. */
  readonly maxInFlight: number;
  /** Begins paused: nothing is fetched before the first `resume`. Default false. */
  readonly paused?: boolean;
}

/** A running intake. Its methods act at once and never throw. */
export interface Consumption {
  /** Nothing new is received until `resume`. Leases of pending deliveries are kept, on an ordered channel also what makes its keys come here. */
  pause(): void;
  resume(): void;
  /** Changes `maxInFlight`; when it shrinks, what is pending is left to finish. Not called for the inlet of an ordered channel. */
  resize(maxInFlight: number): void;
  /**
   * Ends the intake for good: once it has resolved `receive` is not called again, and whatever was fetched but not
   * received is given back. Pending deliveries keep their lease and are settled as ever.
   */
  stop(): Promise<void>;
}

export interface TransportHealth {
  /** `degraded`: connected, but something does not work: publishers are blocked, a consumer is being restored. */
  readonly status: "connecting" | "connected" | "degraded" | "disconnected" | "closed";
  readonly detail?: string;
}

/** A look at, and a hand in, what waits on the broker. Uses its own channel or client: it never disturbs the traffic. */
export interface TransportAdmin {
  depth(source: InletAddress | DeadLetterAddress, options: Abortable): Promise<Depth>;
  /**
   * Goes once through the messages that wait when it is called, oldest first, at most `limit`. `visit` says of each whether it stays
   * where it is, is removed, or stays and is the last to be visited (`stop`). Resolves when all of that has taken effect on the broker.
   *
   * At most `maxPending` visits are pending at a time, and no body is kept after its visit. Messages may be out of
   * others' sight while the walk lasts; what was not removed is back in its place afterwards, whatever happens: when the signal fires (ABORTED), a visit rejects
   * (the walk rejects with the same error, and begins no more visits), the connection is lost (CONNECTION_LOST) or the process dies. A
   * removal that was cut off may not have happened.
   *
   * Dead letters can be walked through however often; on a broker that counts deliveries, walking through an inlet may count as one.
   */
  walk(source: InletAddress | DeadLetterAddress, visit: Visit, options: WalkOptions): Promise<void>;
  /**
   * Removes everything that waits.
   *
   * @returns how many messages that were
   */
  purge(source: InletAddress | DeadLetterAddress, options: Abortable): Promise<number>;
}

/** Says what is to become of a message that waits. */
export type Visit = (message: Message) => Promise<Verdict>;

export type Verdict = "keep" | "remove" | "stop";

export interface WalkOptions extends Abortable {
  /** Most messages that are visited, from 1. */
  readonly limit: number;
  /** Most visits that are pending at a time, from 1. */
  readonly maxPending: number;
  /**
   * Another exclusive walk of the same source, of whichever process, visits no message that this one visits or may still visit: it
   * waits for the end of this one, or goes past them. For visits with an effect that shall not come twice. Default false.
   */
  readonly exclusive?: boolean;
}

export interface Depth {
  /** Messages that wait to be delivered. */
  readonly ready: number;
  /** Messages delivered and not settled; `undefined` where the broker does not tell. */
  readonly inFlight: number | undefined;
  /** Age of the oldest message that waits, in milliseconds; `undefined` where the broker does not tell or none waits. */
  readonly oldestAgeMs: number | undefined;
}

/** What an adapter is given beside its own configuration. */
export interface TransportEnvironment {
  readonly clock: Clock;
  /** A number in [0, 1), as `Math.random`. */
  readonly random: () => number;
}

/**
 * What every adapter package exports as `createTransport`: from a URL or a configuration object to an unconnected
 * transport. Options are validated here.
 *
 * @throws INVALID_OPTION naming the option; secrets never appear in it
 */
export type CreateTransport = (
  config: string | Readonly<Record<string, unknown>>,
  environment?: Partial<TransportEnvironment>,
) => Transport;

export { abortable, abortedError, createNotice } from "./abort.ts";
export type { Notice } from "./abort.ts";
export { channelAddress, deadLetterAddress, inletAddress } from "./address.ts";
export type {
  Address,
  ChannelAddress,
  ChannelInfo,
  DeadLetterAddress,
  InletAddress,
  ReplyAddress,
  Source,
} from "./address.ts";
export { backoffDelay } from "./backoff.ts";
export type { Backoff } from "./backoff.ts";
export type { Capabilities } from "./capabilities.ts";
export { sleep, systemClock } from "./clock.ts";
export type { Clock, Timer } from "./clock.ts";
export { cloudEventAttributes, messageFromCloudEvent } from "./cloudevents.ts";
export { isPosthornError, messageOf, PosthornError } from "./errors.ts";
export type { ErrorCode } from "./errors.ts";
export { adoptTrace, readForeign } from "./foreign.ts";
export type { ForeignParts, ReadMessage } from "./foreign.ts";
export { timeFromUuidv7, uuidv7 } from "./id.ts";
export { shareOut } from "./share-out.ts";
export { messageBytes } from "./size.ts";
export { copyHeaders, copyMessage, emptyHeaders, noHeaders, reservedHeaderPrefix } from "./message.ts";
export type { Headers, Message } from "./message.ts";
export { describeChange } from "./topology.ts";
export { createReports } from "./transport-reports.ts";
export type { ConsumerReports, TransportReports } from "./transport-reports.ts";
export { checkOptions, decodeUrlPart, invalidOption, queryOptions } from "./transport-options.ts";
export type { OptionIssue, OptionsSchema, QueryKind } from "./transport-options.ts";
export type { Group, Topology, TopologyChange } from "./topology.ts";
export { walkThrough } from "./walk.ts";
export type { WaitingMessage, WaitingMessages } from "./walk.ts";
