/** What somebody who proves a transport gives the suite. Everything but `openTransport` goes past Posthorn, to the broker itself. */
import type { Capabilities, ChannelInfo, Clock, Transport } from "@posthorn/core";

export interface ContractHarness {
  /** As the report shall name it, with the broker's version: `rabbitmq 4.0.5`. */
  readonly name: string;
  /** What the transport claims. Decides between a case and its inverse. */
  readonly capabilities: Capabilities;
  readonly bounds: Bounds;
  readonly native: NativeBroker;
  readonly faults?: Faults;
  /** A new, unconnected transport to the broker; always the same broker. */
  openTransport(environment?: OpenEnvironment): Transport;
  /** A new, unconnected transport that brings credentials which the broker refuses. Absent where the broker knows none. */
  openWithWrongCredentials?(): Transport;
  /** A name for channels that no other case and no other run uses; at most 40 characters of those that channel names allow. */
  uniqueName(caseId: string): string;
  /**
   * Removes from the broker what begins with a name that `uniqueName` gave, when its case is over. For brokers that grow slow with what
   * hundreds of cases leave behind; others leave it out.
   */
  removeAll?(name: string): Promise<void>;
  /** Ends what the harness started. */
  dispose(): Promise<void>;
}

export interface OpenEnvironment {
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** How long this broker may take, in milliseconds. Deadlines, not waits: a case goes on as soon as what it waits for has happened. */
export interface Bounds {
  /** For whatever should happen at once. */
  readonly patienceMs: number;
  /** Until a message whose consumer died or let go is delivered to another one. */
  readonly redeliveryMs: number;
  /** Until consumers and publishers work again after a fault is over. */
  readonly resumeMs: number;
  /** Until a connection that has gone silent is noticed. */
  readonly detectMs: number;
  /** How long a delivery may be held before the broker would give it to somebody else, were its lease not kept alive. */
  readonly leaseMs: number;
  /**
   * How much later than due a delayed message may be handled while nothing is broken. A delay that takes several steps on the
   * broker, and one of several hundred that are due together, have this time, too.
   */
  readonly delayToleranceMs: number;
  /** How many messages the case of a long backlog sends. */
  readonly backlog: number;
}

/** The messages of a group: those that wait for it, or its dead ones. On a queue the group is named after the queue. */
export interface Place {
  readonly kind: "inlet" | "dead-letters";
  readonly channel: ChannelInfo;
  readonly group: string;
}

/** The broker as its own client sees it. */
export interface NativeBroker {
  /** Whether `ready` also counts what is with consumers: a log knows only what was settled. */
  readonly countsHeld: boolean;
  /**
   * Whether a lease outlives the connection that it came over: a client that is back before `leaseMs` are over keeps what it held.
   * Where not, a lease ends with its connection.
   */
  readonly leaseOutlivesConnection: boolean;
  /**
   * Whether clients keep connections, whose end they notice at once. Where not, every request stands alone: a cut between two of
   * them strikes nobody.
   */
  readonly keepsConnections: boolean;
  /** Whether the broker has what belongs to the place. */
  exists(place: Place): Promise<boolean>;
  /** Messages that wait there; those that are with a consumer are not among them, unless {@link countsHeld}. */
  ready(place: Place): Promise<number>;
  /** Messages that are with consumers; `undefined` where the broker does not tell. */
  inFlight(place: Place): Promise<number | undefined>;
  /** The bodies that wait at a place with no consumer, oldest first, left there. */
  bodies(place: Place): Promise<readonly Uint8Array[]>;
  /** Publishes to the channel itself, as a program that has never heard of Posthorn does. */
  publish(channel: ChannelInfo, message: NativeMessage): Promise<void>;
  /** Makes the channel's object on the broker, with a setting that contradicts what Posthorn declares. */
  createConflicting(channel: ChannelInfo): Promise<void>;
  /** Deletes what belongs to a place, with all messages. */
  delete(place: Place): Promise<void>;
}

/** A message from a foreign program. What is not given is not on the wire. */
export interface NativeMessage {
  readonly body: Uint8Array;
  readonly contentType?: string;
  readonly id?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Attributes of a CloudEvent in binary mode, without the binding's prefix. */
  readonly cloudEvent?: Readonly<Record<string, string>>;
}

/** What can be done to the broker. Each resolves when it has taken effect. */
export interface Faults {
  /** A way of its own to the broker, that can be broken without disturbing others. */
  openLink(): Promise<Link>;
  /** The broker closes all client connections in good order, as an operator makes it do. */
  closeConnections(): Promise<void>;
  /** The broker takes back what the consumers of this group hold, while their connections live. */
  breakConsumers(place: Place): Promise<void>;
  /** Ends the broker as a power cut does; what it had accepted durably is kept. */
  killBroker(): Promise<void>;
  /** Starts it again, at the same address. */
  startBroker(): Promise<void>;
  /** Publishers are held up until `unblockPublishers`, as by a memory alarm. */
  blockPublishers(): Promise<void>;
  unblockPublishers(): Promise<void>;
  /**
   * Starts a program of its own that runs {@link runHangingConsumer} on this queue. Where there are no processes, something
   * that can be ended as suddenly.
   */
  startHangingConsumer(job: HangingJob): Promise<HangingConsumer>;
}

/** A network path from one client to the broker. */
export interface Link {
  openTransport(environment?: OpenEnvironment): Transport;
  /** Resets the connections. New ones are possible at once. */
  cut(): Promise<void>;
  /** Resets the connections, and refuses new ones until `restore`. */
  down(): Promise<void>;
  /** Connections stay open and nothing passes in either direction, until `restore`. */
  stall(): Promise<void>;
  /** What clients send arrives, and nothing comes back, until `restore`. */
  swallowAnswers(): Promise<void>;
  /** Ends `down`, `stall` and `swallowAnswers`; connections that were stalled are reset. */
  restore(): Promise<void>;
  /** Nothing more is asked of it. May be called more than once. */
  close(): Promise<void>;
}

/** What a consumer that is about to be killed shall do. */
export interface HangingJob {
  /** The queue's name. */
  readonly queue: string;
  /** The type of its commands. */
  readonly type: string;
  /** Deliveries that it takes and never finishes. */
  readonly concurrency: number;
}

export interface HangingConsumer {
  /** Resolves when `count` handlers have started. */
  handling(count: number): Promise<void>;
  /** Ends it without a chance to say goodbye, and resolves when it is gone. */
  kill(): Promise<void>;
}
