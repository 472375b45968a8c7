/**
 * Receiving from one shard of an ordered channel, in order, until stopped.
 *
 * The broker serves one consumer of the queue at a time, and gives back in their order only what it gets back at once, behind
 * what it got back before. So there is one consumer, nothing is ever given back but by closing the channel,
 * and every instance fetches the same number: then no message that came back waits behind one that comes back later.
 */
import { createHash } from "node:crypto";
import type { Consumption, Settlement } from "@posthorn/core/transport";
import { abortable, sleep } from "@posthorn/core/transport";
import type { ConsumeMessage } from "amqplib";
import { closedError } from "./connection.ts";
import type { Intake, IntakeOptions } from "./consume.ts";
import { received, stopPatienceMs } from "./consume.ts";
import type { Grant, Session } from "./session.ts";
import { shardCount } from "./shards.ts";
import { createUpkeep, openSessionOn } from "./upkeep.ts";

/** Of each shard: what core asks for at least, so that it is the same everywhere. */
const mostFetched = 128;

export interface OrderedIntakeOptions extends IntakeOptions {
  /** Names this consumption among all that share the work, on whatever machine. */
  readonly instance: string;
}

export function createOrderedIntake(options: OrderedIntakeOptions): Intake {
  const { link, environment, queue } = options;
  const ending = new AbortController();
  const prefetch = Math.min(mostFetched, Math.max(1, Math.floor(options.maxInFlight / shardCount)));
  const priority = priorityOf(options.instance, queue);
  let paused = options.paused;
  let session: Session | undefined;
  let consuming = false;
  /** It is being closed to give everything back. */
  let takingBack = false;
  /** Fetched on this session and not received, in order. Bounded by the prefetch. */
  let held: ConsumeMessage[] = [];
  /** Calls of `receive` that have not come back: all, and those of this session. */
  let pending = 0;
  let leased = 0;

  const stopped = (): boolean => ending.signal.aborted;

  const open = async (signal: AbortSignal): Promise<void> => {
    const opened = await openSessionOn(link, { clock: environment.clock, queue, onDelivery, onClosed }, signal);
    session = opened;
    held = [];
    leased = 0;
    consuming = false;
    takingBack = false;
    await abortable(consumeUnlessPaused(), signal);
    if (opened.closed) throw opened.lost.reason;
  };

  const consumeUnlessPaused = async (): Promise<void> => {
    if (paused || stopped() || consuming || session === undefined) return;
    consuming = true;
    await session.grant(prefetch, priority);
  };

  const onDelivery = (from: Session, _grant: Grant, delivered: ConsumeMessage): void => {
    if (from !== session || takingBack) return;
    upkeep.up();
    held.push(delivered);
    handOver();
  };

  const handOver = (): void => {
    while (session !== undefined && !paused && !stopped() && pending < prefetch) {
      const delivered = held.shift();
      if (delivered === undefined) return;
      receiveFrom(session, delivered);
    }
  };

  const receiveFrom = (from: Session, delivered: ConsumeMessage): void => {
    const { deliveryTag } = delivered.fields;
    pending++;
    leased++;
    received(options.receive, delivered, from.lost).then(
      (settlement) => onSettled(from, deliveryTag, settlement),
      () => onSettled(from, deliveryTag, "release"),
    );
  };

  const onSettled = (from: Session, deliveryTag: number, settlement: Settlement): void => {
    pending--;
    if (from === session) {
      leased--;
      if (settlement === "accept") {
        from.settlements.accept(deliveryTag);
        upkeep.worked();
        // While it stops, what is released goes back with all the rest, at the end.
      } else if (!stopped()) takeBack(from);
    }
    if (stopped()) void endWhenSettled();
    else handOver();
  };

  /** What follows must come again behind what was released. */
  const takeBack = (from: Session): void => {
    takingBack = true;
    held = [];
    void from.close(ending.signal);
  };

  const onClosed = (closed: Session): void => {
    if (session !== closed) return;
    session = undefined;
    held = [];
    if (stopped()) options.onEnded();
    else upkeep.down(closed);
  };

  const endWhenSettled = async (): Promise<void> => {
    if (session === undefined) options.onEnded();
    else if (leased === 0) await session.close(new AbortController().signal);
  };

  const upkeep = createUpkeep({ ...options, ending: ending.signal, isUp: () => session !== undefined, open });

  return {
    start: ({ signal }) => upkeep.start(signal),
    async close({ signal }) {
      ending.abort(closedError());
      await session?.close(signal);
      options.onEnded();
    },
    consumption: {
      pause() {
        paused = true;
      },
      resume() {
        paused = false;
        handOver();
        // It fails with its channel only, and that is handled where the channel closes.
        consumeUnlessPaused().catch(() => undefined);
      },
      resize: () => undefined,
      async stop() {
        ending.abort(closedError());
        const patience = new AbortController();
        await Promise.race([
          endWhenSettled(),
          sleep(environment.clock, stopPatienceMs, patience.signal).catch(() => undefined),
        ]);
        patience.abort();
      },
    },
  };
}

/**
 * Rendezvous hashing: for each shard another instance ranks highest, without anybody knowing of the others. RabbitMQ 4 serves
 * that one; it takes over when the one before has settled what it holds. RabbitMQ 3 serves whoever came first.
 */
export function priorityOf(instance: string, queue: string): number {
  return createHash("sha256").update(`${instance} ${queue}`).digest().readUIntBE(0, 3);
}

/** The consumptions of all shards as one. */
export function joinConsumptions(consumptions: readonly Consumption[]): Consumption {
  return {
    pause: () => consumptions.forEach((consumption) => consumption.pause()),
    resume: () => consumptions.forEach((consumption) => consumption.resume()),
    resize: (maxInFlight) => consumptions.forEach((consumption) => consumption.resize(maxInFlight)),
    async stop() {
      await Promise.all(consumptions.map((consumption) => consumption.stop()));
    },
  };
}
