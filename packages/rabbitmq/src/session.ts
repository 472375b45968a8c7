/**
 * One channel that consumes one queue, from its opening to its end. Leases and settlements belong to it: they are void
 * on any other.
 */
import type { Clock } from "@posthorn/core/transport";
import { abortable, PosthornError, sleep } from "@posthorn/core/transport";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Connection } from "./connection.ts";
import { closeChannel, quiet } from "./connection.ts";
import type { Settlements } from "./settlements.ts";
import { createSettlements, settleGraceMs } from "./settlements.ts";

/**
 * A consumer of the broker: the right to a number of unsettled deliveries.
 *
 * The broker counts them for each consumer and cannot change the number. So more is granted by one more consumer, and less
 * by an end of all: what is pending of an ended one the broker no longer counts, but we do.
 */
export interface Grant {
  readonly tag: string;
  ended: boolean;
  pending: number;
}

export interface Session {
  readonly closed: boolean;
  /** The broker ended its consumer, mostly because the queue was deleted. */
  readonly cancelled: boolean;
  /** Fires at its end. */
  readonly lost: AbortSignal;
  readonly settlements: Settlements;
  /** Deliveries that may be unsettled under the grants that have not ended. */
  readonly granted: number;
  /** Pending deliveries under those grants. */
  readonly counted: number;
  /** @param priority among the consumers of a queue, where the broker serves one at a time */
  grant(deliveries: number, priority?: number): Promise<void>;
  /** Ends all grants, and gives back what came in vain. */
  endGrants(): Promise<void>;
  began(grant: Grant): void;
  finished(grant: Grant): void;
  /** Keeps a delivery that nobody may receive now, until it is given back. */
  hold(deliveryTag: number): void;
  giveBackHeld(): void;
  /** Tells the broker what is gathered, and closes. */
  close(signal: AbortSignal): Promise<void>;
}

export interface SessionOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly queue: string;
  readonly onDelivery: (session: Session, grant: Grant, message: ConsumeMessage) => void;
  readonly onClosed: (session: Session) => void;
}

/** The protocol counts with 16 bits. */
const mostPerGrant = 65_535;

/** @throws what the broker says when the queue does not exist or may not be used */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { connection, clock, queue } = options;
  const channel = await connection.model.createChannel();
  const lost = new AbortController();
  const settlements = createSettlements(
    {
      ack: (tag, upTo) => channel.ack(delivered(tag), upTo),
      // Not reject: since RabbitMQ 4.3 that counts as a failed delivery, and this does not.
      giveBack: (tag) => channel.nack(delivered(tag), false, true),
    },
    clock,
  );
  let grants: Grant[] = [];
  let held: number[] = [];
  let grantNumber = 0;
  let granted = 0;
  let counted = 0;
  let closed = false;
  let cancelled = false;
  let lastError: unknown;
  let closing: Promise<void> | undefined;

  quiet(channel);
  channel.on("error", (error) => {
    lastError = error;
  });
  const end = (): void => {
    if (closed) return;
    closed = true;
    settlements.discard();
    lost.abort(
      new PosthornError("CONNECTION_LOST", "The channel to RabbitMQ that the message came by is gone.", {
        cause: lastError,
      }),
    );
    options.onClosed(session);
  };
  channel.on("close", end);

  const onMessage = (grant: Grant, message: ConsumeMessage | null): void => {
    if (message === null) {
      // The queue was deleted, or its consumers were timed out: the leases of the whole channel are worth nothing.
      cancelled = true;
      lastError ??= new Error(`RabbitMQ ended the consumer of queue ${JSON.stringify(queue)}.`);
      settlements.flush();
      closing ??= closeChannel(channel);
      return;
    }
    settlements.add(message.fields.deliveryTag);
    options.onDelivery(session, grant, message);
  };

  const closeSettled = async (signal: AbortSignal): Promise<void> => {
    // A quorum queue takes 32 settlements at once. RabbitMQ keeps more of them in the channel, and forgets those with it.
    if (settlements.bursting) await sleep(clock, settleGraceMs, signal).catch(() => undefined);
    // The broker's answer says that it has read the settlements. A connection that is closed before it overtakes them.
    await closeChannel(channel);
  };

  const session: Session = {
    get closed() {
      return closed;
    },
    get cancelled() {
      return cancelled;
    },
    lost: lost.signal,
    settlements,
    get granted() {
      return granted;
    },
    get counted() {
      return counted;
    },
    async grant(deliveries, priority) {
      const prefetch = Math.min(deliveries, mostPerGrant);
      const grant: Grant = { tag: `posthorn-${++grantNumber}`, ended: false, pending: 0 };
      grants.push(grant);
      granted += prefetch;
      // Holds for consumers that begin after it.
      await channel.prefetch(prefetch, false);
      await channel.consume(queue, (message) => onMessage(grant, message), {
        consumerTag: grant.tag,
        ...(priority === undefined ? {} : { priority }),
      });
    },
    async endGrants() {
      const ending = grants;
      grants = [];
      granted = 0;
      counted = 0;
      for (const grant of ending) grant.ended = true;
      await Promise.all(ending.map(({ tag }) => channel.cancel(tag)));
      session.giveBackHeld();
    },
    began(grant) {
      grant.pending++;
      if (!grant.ended) counted++;
    },
    finished(grant) {
      grant.pending--;
      if (!grant.ended) counted--;
    },
    hold(deliveryTag) {
      held.push(deliveryTag);
    },
    giveBackHeld() {
      const inVain = held;
      held = [];
      for (const tag of inVain) settlements.release(tag);
    },
    async close(signal) {
      settlements.flush();
      closing ??= closeSettled(signal);
      await abortable(closing, signal).catch(() => undefined);
      end();
    },
  };
  if (connection.closed) throw new Error("The connection was closed.");
  await channel.checkQueue(queue);
  return session;
}

/** amqplib takes whole messages and reads the tag only; keeping the messages for that would keep their bodies. */
export function delivered(deliveryTag: number): Parameters<Channel["ack"]>[0] {
  return { fields: { deliveryTag } } as Parameters<Channel["ack"]>[0];
}
