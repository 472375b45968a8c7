/** Receiving from one queue until stopped, across every loss of its channel. */
import type { Abortable, Consumption, Delivery, Receive, Settlement } from "@posthorn/core/transport";
import { abortable, sleep } from "@posthorn/core/transport";
import type { ConsumeMessage } from "amqplib";
import type { Link } from "./connection.ts";
import { closedError } from "./connection.ts";
import { decodeMessage } from "./decode.ts";
import type { Grant, Session } from "./session.ts";
import type { UpkeepOptions } from "./upkeep.ts";
import { createUpkeep, openSessionOn } from "./upkeep.ts";

/** So long `stop` waits for the broker to say that nothing more comes; what comes later is given back all the same. */
export const stopPatienceMs = 5_000;

export interface IntakeOptions extends Omit<UpkeepOptions, "ending" | "isUp" | "open"> {
  readonly link: Link;
  readonly receive: Receive;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** It was stopped and the last delivery is settled. */
  readonly onEnded: () => void;
}

export interface Intake {
  readonly consumption: Consumption;
  /** Resolves when it receives. */
  start(options: Abortable): Promise<void>;
  /** Tells the broker what is settled and ends, whatever is pending. */
  close(options: Abortable): Promise<void>;
}

export function createIntake(options: IntakeOptions): Intake {
  const { link, environment, queue } = options;
  const { clock } = environment;
  const ending = new AbortController();
  let maxInFlight = options.maxInFlight;
  let paused = options.paused;
  /** Calls of `receive` that have not come back, those of lost channels included. */
  let pending = 0;
  let session: Session | undefined;

  const stopped = (): boolean => ending.signal.aborted;
  /** How many deliveries may be pending now. */
  const allowed = (): number => (paused || stopped() ? 0 : maxInFlight);

  const open = async (signal: AbortSignal): Promise<void> => {
    const opened = await openSessionOn(link, { clock: environment.clock, queue, onDelivery, onClosed }, signal);
    session = opened;
    await abortable(balance(), signal);
    if (opened.closed) throw opened.lost.reason;
  };

  const upkeep = createUpkeep({ ...options, ending: ending.signal, isUp: () => session !== undefined, open });

  /** Makes the grants agree with what is allowed; resolves when they do. One at a time. */
  let balancing: Promise<void> | undefined;
  let again = false;
  const balance = (): Promise<void> => {
    again = true;
    balancing ??= balanceAll();
    return balancing;
  };
  const balanceAll = async (): Promise<void> => {
    do {
      again = false;
      // It fails with its channel only, and that is handled where the channel closes.
      await balanceGrants().catch(() => undefined);
    } while (again);
    // Not in a later turn: what is asked for from now on must begin anew.
    balancing = undefined;
  };
  const balanceGrants = async (): Promise<void> => {
    const present = session;
    if (present === undefined) return;
    if (present.granted > allowed()) await present.endGrants();
    // It came while less was allowed for a moment.
    else present.giveBackHeld();
    const uncounted = pending - present.counted;
    const room = allowed() - present.granted - uncounted;
    // Each grant is a consumer more: few large ones, rather than one for every delivery that ends.
    if (room > 0 && (uncounted === 0 || room >= present.granted)) await present.grant(room);
  };

  const onDelivery = (from: Session, grant: Grant, delivered: ConsumeMessage): void => {
    const { deliveryTag } = delivered.fields;
    if (pending >= allowed()) {
      from.hold(deliveryTag);
      return;
    }
    // The first delivery can come before the answer to our asking for it.
    upkeep.up();
    pending++;
    from.began(grant);
    received(options.receive, delivered, from.lost).then(
      (settlement) => onSettled(from, grant, deliveryTag, settlement),
      () => onSettled(from, grant, deliveryTag, "release"),
    );
  };

  const onSettled = (from: Session, grant: Grant, deliveryTag: number, settlement: Settlement): void => {
    pending--;
    from.finished(grant);
    if (settlement === "accept") from.settlements.accept(deliveryTag);
    else from.settlements.release(deliveryTag);
    if (from === session) upkeep.worked();
    if (stopped()) endWhenSettled();
    else if (session !== undefined && session.granted < allowed()) void balance();
  };

  const onClosed = (closed: Session): void => {
    if (session !== closed) return;
    session = undefined;
    if (stopped()) endWhenSettled();
    else upkeep.down(closed);
  };

  const endWhenSettled = (): void => {
    if (session === undefined) options.onEnded();
    else if (session.settlements.open === 0 && balancing === undefined)
      void session.close(new AbortController().signal);
  };

  const close = async (signal: AbortSignal): Promise<void> => {
    ending.abort(closedError());
    await session?.close(signal);
    options.onEnded();
  };

  return {
    start: ({ signal }) => upkeep.start(signal),
    close: ({ signal }) => close(signal),
    consumption: {
      pause() {
        paused = true;
        void balance();
      },
      resume() {
        paused = false;
        void balance();
      },
      resize(newMaxInFlight) {
        maxInFlight = newMaxInFlight;
        void balance();
      },
      async stop() {
        ending.abort(closedError());
        const patience = new AbortController();
        const ended = balance().then(endWhenSettled);
        await Promise.race([ended, sleep(clock, stopPatienceMs, patience.signal).catch(() => undefined)]);
        patience.abort();
      },
    },
  };
}

/** The contract forbids `receive` to throw; here it would close the channel. */
export function received(receive: Receive, delivered: ConsumeMessage, lost: AbortSignal): Promise<Settlement> {
  const { message, deliveryCount, defect } = decodeMessage(delivered);
  const delivery: Delivery = { message, deliveryCount, defect, lost };
  try {
    return receive(delivery);
  } catch {
    return Promise.resolve("release");
  }
}
