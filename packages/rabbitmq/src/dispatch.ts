/**
 * Publishing. Each exchange has a confirm channel of its own, opened when it is first needed: what is published to a
 * missing exchange closes the channel, and must take no other message with it. Whatever goes to a queue shares the
 * channel of the default exchange, which always exists.
 */
import type { Abortable, Clock, Message, Notice, Outbound, Receipt } from "@posthorn/core/transport";
import { abortable, abortedError, accepted, createNotice } from "@posthorn/core/transport";
import type { ConfirmChannel, Options } from "amqplib";
import { sendApart } from "./apart.ts";
import type { Batch, Confirms } from "./confirms.ts";
import { createConfirms } from "./confirms.ts";
import type { Connection, Link } from "./connection.ts";
import { quiet } from "./connection.ts";
import type { Send } from "./delayed.ts";
import { createDelayed } from "./delayed.ts";
import { createLookup } from "./lookup.ts";
import type { Settings } from "./options.ts";
import type { Route } from "./names.ts";
import { routeOf } from "./names.ts";
import * as receipts from "./receipts.ts";
import type { WireProperties } from "./wire.ts";
import { encodeMessage, headerProblem, wireHeaders } from "./wire.ts";

export type Dispatch = (batch: readonly Outbound[], options: Abortable) => Promise<readonly Receipt[]>;

export interface DispatchOptions {
  readonly link: Pick<Link, "blocked">;
  /** Resolves when messages can be published. */
  readonly ready: (signal: AbortSignal) => Promise<Connection>;
  readonly settings: Settings;
  readonly clock: Clock;
  /** Makes the delay ladder exist again, where it is ours to make. */
  readonly restoreLadder: (signal: AbortSignal) => Promise<boolean>;
}

/** An open confirm channel. */
interface Lane {
  readonly channel: ConfirmChannel;
  readonly confirms: Confirms;
  readonly changed: Notice;
  closed: boolean;
  /** amqplib buffers without bound; it only says that it would rather not. */
  full: boolean;
}

export function createDispatch(options: DispatchOptions): Dispatch {
  const { link, settings, clock } = options;
  const lanes = new Map<string, Lane>();
  const openings = new Map<string, Promise<Lane>>();

  /** The exchange's channel, as soon as the broker takes messages. */
  const laneFor = async (exchange: string, signal: AbortSignal): Promise<Lane> => {
    for (;;) {
      const connection = await options.ready(signal);
      const lane = lanes.get(exchange) ?? (await abortable(opened(connection, exchange), signal));
      if (lane === undefined) await abortable(connection.gone, signal);
      else if (!lane.closed) return lane;
    }
  };

  /** Resolves with `undefined` when the connection is of no use: a channel does not fail to open otherwise. */
  const opened = (connection: Connection, exchange: string): Promise<Lane | undefined> => {
    let opening = openings.get(exchange);
    if (opening === undefined) {
      opening = openLane(connection, exchange).finally(() => openings.delete(exchange));
      openings.set(exchange, opening);
    }
    return opening.catch(() => undefined);
  };

  const openLane = async (connection: Connection, exchange: string): Promise<Lane> => {
    const channel = await connection.model.createConfirmChannel();
    const lane: Lane = { channel, confirms: createConfirms(), changed: createNotice(), closed: false, full: false };
    let lastError: unknown;
    quiet(channel);
    channel.on("error", (error) => {
      lastError = error;
    });
    channel.on("ack", ({ deliveryTag, multiple }) => lane.confirms.settle(deliveryTag, multiple, accepted));
    channel.on("nack", ({ deliveryTag, multiple }) => lane.confirms.settle(deliveryTag, multiple, receipts.rejected()));
    channel.on("return", ({ fields, properties }) => {
      const id: unknown = properties.messageId ?? properties.headers?.[wireHeaders.id];
      lane.confirms.returned(String(id), fields.routingKey, receipts.missing("queue", fields.routingKey));
    });
    channel.on("drain", () => {
      lane.full = false;
      lane.changed.notify();
    });
    channel.on("close", () => {
      lane.closed = true;
      if (lanes.get(exchange) === lane) lanes.delete(exchange);
      lane.confirms.fail(receipts.forClosedChannel(lastError, exchange, lane.confirms.confirmedAny));
      lane.changed.notify();
    });
    if (connection.closed) throw new Error("The connection was closed.");
    lanes.set(exchange, lane);
    return lane;
  };

  /** Resolves when the channel takes more, or never will. */
  const writable = async (lane: Lane, signal: AbortSignal): Promise<void> => {
    while (!lane.closed) {
      if (!lane.full && link.blocked === undefined) return;
      await (lane.full
        ? abortable(lane.changed.next, signal)
        : Promise.race([options.ready(signal), abortable(lane.changed.next, signal)]));
    }
  };

  /** Ends early when the channel closes. */
  const publishAll = async (lane: Lane, route: Route, batch: Batch, signal: AbortSignal): Promise<void> => {
    const { messages } = batch;
    for (; batch.tried < messages.length; batch.tried++) {
      if (lane.full || link.blocked !== undefined) await writable(lane, signal);
      if (lane.closed) return;
      const message = messages[batch.tried];
      if (message !== undefined) publish(lane, route, batch, message);
    }
  };

  const publish = (lane: Lane, route: Route, batch: Batch, message: Message): void => {
    const { body } = message;
    const properties = encodeMessage(message, route.mandatory, settings.cloudEvents);
    const routingKey = route.routingKey(message);
    const refusal = refusalOf(message, properties, route.addedHeaderBytes?.(routingKey) ?? 0);
    if (refusal !== undefined) {
      batch.receipts[batch.tried] = refusal;
      return;
    }
    const content = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    try {
      lane.full = !lane.channel.publish(route.exchange, routingKey, content, properties as Options.Publish);
      lane.confirms.published(batch, batch.tried, routingKey);
    } catch (error) {
      // amqplib encodes before it writes: nothing of the message has left.
      batch.receipts[batch.tried] = receipts.notEncodable(message, error);
    }
  };

  const refusalOf = (message: Message, properties: WireProperties, addedHeaderBytes: number): Receipt | undefined => {
    // The broker would close the channel, and take the messages of others with it.
    if (message.body.byteLength > settings.maxMessageBytes) return receipts.tooLarge(message, settings.maxMessageBytes);
    const problem = headerProblem(properties, settings.frameMaxBytes - addedHeaderBytes);
    return problem === undefined ? undefined : receipts.badHeaders(message, problem);
  };

  const run = async (batch: Batch, route: Route, signal: AbortSignal): Promise<void> => {
    if (signal.aborted) throw abortedError(signal);
    const lane = await laneFor(route.exchange, signal);
    await publishAll(lane, route, batch, signal);
    if (batch.unconfirmed === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    batch.settled = resolve;
    await abortable(promise, signal);
  };

  const send: Send = async (outbound, route, signal) => {
    const batch = newBatch(outbound);
    let failure: unknown;
    try {
      await run(batch, route, signal);
    } catch (error) {
      failure = error;
    }
    return receipts.complete(outbound, batch, failure);
  };

  const sendDelayed = createDelayed({
    send,
    exists: createLookup(options.ready),
    restoreLadder: options.restoreLadder,
    now: () => clock.now(),
    longestDelayMs: settings.longestDelayMs,
  });

  const isDelayed = ({ message: { notBefore } }: Outbound): boolean =>
    notBefore !== undefined && notBefore > clock.now();

  return async (outbound, { signal }) => {
    const address = outbound[0]?.address;
    if (address === undefined) return [];
    let route: Route;
    try {
      route = routeOf(address);
    } catch (error) {
      return receipts.complete(outbound, undefined, error);
    }
    // A dead letter keeps its old time, which means nothing any more.
    if (address.kind === "dead-letters" || !outbound.some(isDelayed)) return send(outbound, route, signal);
    return sendApart(
      outbound,
      isDelayed,
      (delayed) => sendDelayed(delayed, route, signal),
      (due) => send(due, route, signal),
    );
  };
}

function newBatch(outbound: readonly Outbound[]): Batch {
  return {
    messages: outbound.map(({ message }) => message),
    receipts: Array.from<undefined>({ length: outbound.length }),
    tried: 0,
    unconfirmed: 0,
    settled: () => undefined,
  };
}
