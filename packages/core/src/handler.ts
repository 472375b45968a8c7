/** What a handler gets and what it can send: types only. */
import type { ChannelInfo } from "./address.ts";
import type { QueueContract, TopicContract } from "./contract.ts";
import type { UserHeaders } from "./headers.ts";

/**
 * What is run for each message. Returning (or resolving) means handled, whatever the value; throwing means failed. See
 * {@link retryAfter}, {@link deadLetter} and {@link discard} for what else it can throw.
 */
export type Handler<Data> = (message: Received<Data>, context: Context) => unknown;

/** A message as a handler gets it. Every attempt gets its own, read afresh from the bytes. */
export interface Received<Data> {
  /** The schema's output. */
  readonly data: Data;
  readonly id: string;
  readonly type: string;
  readonly version: number;
  /** The service that sent it. */
  readonly source: string;
  /** When it was sent. */
  readonly time: Date;
  readonly contentType: string;
  readonly key: string | undefined;
  readonly correlationId: string;
  readonly causationId: string | undefined;
  /** The sender's own headers. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What a handler can know and do. What it sends or publishes through the context belongs to the message's flow. */
export interface Context {
  /** Fires when the handler should stop: the bus closes and its deadline has passed, the lease is lost, or `maxHandlingMs` is over. */
  readonly signal: AbortSignal;
  /** Which attempt at this message this is, from 1. */
  readonly attempt: number;
  readonly correlationId: string;
  readonly channel: ChannelInfo;
  readonly group: string;
  /** As `bus.send`; `correlationId` and `causationId` come from the message. */
  send<Payload>(contract: QueueContract<Payload>, data: NoInfer<Payload>, options?: SendOptions): Promise<Sent>;
  /** As `bus.publish`; `correlationId` and `causationId` come from the message. */
  publish<Payload>(contract: TopicContract<Payload>, data: NoInfer<Payload>, options?: SendOptions): Promise<Sent>;
}

export interface SendOptions {
  /** Default: a new UUIDv7. Give one where the same message may be sent twice. */
  readonly id?: string;
  /** Default: the contract's. */
  readonly key?: string;
  /**
   * Numbers, booleans and bigints become strings; `undefined` is left out. Names must be free of control characters, at most 255
   * bytes, and must not begin with `posthorn-`.
   */
  readonly headers?: UserHeaders;
  /** Default: that of the message being handled, else the message's own id. */
  readonly correlationId?: string;
  /** Default: the id of the message being handled. */
  readonly causationId?: string;
  /**
   * Not to be delivered before this moment; see {@link deliverAt}. A past one means at once. Delayed messages keep no order, not even on
   * an ordered channel.
   */
  readonly notBefore?: Date;
  /** Instead of `notBefore`: so many milliseconds from now; see {@link deliverAfter}. At once where it is not positive. */
  readonly delayMs?: number;
  /** Default: the bus's `publishTimeoutMs`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What became of a message that was sent. */
export interface Sent {
  readonly id: string;
  readonly correlationId: string;
}
