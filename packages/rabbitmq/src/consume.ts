/** Receiving from one queue until stopped, across every loss of its channel. */
import type {
  Abortable,
  Backoff,
  Consumption,
  Delivery,
  Receive,
  Settlement,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import type { ConsumeMessage } from "amqplib";
import { abortable } from "./abort.ts";
import type { Link } from "./connection.ts";
import { closedError } from "./connection.ts";
import { decodeMessage } from "./decode.ts";
import { operationError, replyCode, replyCodes } from "./errors.ts";
import type { Grant, Session } from "./session.ts";
import { openSession } from "./session.ts";

/** Between tries to consume again while the connection is up. */
const restoreBackoff: Backoff = { initialMs: 100, maxMs: 1_000 };
/** So long `stop` waits for the broker to say that nothing more comes; what comes later is given back all the same. */
const stopPatienceMs = 5_000;

export interface IntakeOptions {
  readonly link: Link;
  readonly environment: TransportEnvironment;
  readonly queue: string;
  readonly receive: Receive;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** Makes the queue exist again, where it is ours to make. */
  readonly restoreQueue: (signal: AbortSignal) => Promise<boolean>;
  readonly onLost: (error: unknown) => void;
  readonly onRestored: () => void;
  /** What keeps it from being restored. */
  readonly onFailed: (error: unknown) => void;
  /** It was stopped and the last delivery is settled. */
  readonly onEnded: () => void;
}

export interface Intake {
  readonly consumption: Consumption;
  /** It has lost its channel and has no new one yet. */
  readonly restoring: boolean;
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
  /** The channel was lost, and nothing has been received on a new one. */
  let lost = false;
  let reopening = false;
  /** The queue may be gone. */
  let missing = false;
  /** Calls of `receive` that have not come back, those of lost channels included. */
  let pending = 0;
  /** Losses of the channel since the last settlement on one. */
  let losses = 0;
  let session: Session | undefined;

  const stopped = (): boolean => ending.signal.aborted;
  /** How many deliveries may be pending now. */
  const allowed = (): number => (paused || stopped() ? 0 : maxInFlight);

  const open = async (signal: AbortSignal): Promise<void> => {
    const connection = await link.ready(signal);
    const opening = openSession({ connection, queue, onDelivery, onClosed });
    const opened = await abortable(opening, signal).catch((error: unknown) => {
      opening.then((late) => late.close(signal)).catch(() => undefined);
      throw error;
    });
    if (opened.closed) throw opened.lost.reason;
    session = opened;
    await abortable(balance(), signal);
    if (opened.closed) throw opened.lost.reason;
  };

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
    restored();
    pending++;
    from.began(grant);
    const { message, deliveryCount, defect } = decodeMessage(delivered);
    received({ message, deliveryCount, defect, lost: from.lost }).then(
      (settlement) => onSettled(from, grant, deliveryTag, settlement),
      () => onSettled(from, grant, deliveryTag, "release"),
    );
  };

  /** The contract forbids `receive` to throw; here it would close the channel. */
  const received = (delivery: Delivery): Promise<Settlement> => {
    try {
      return options.receive(delivery);
    } catch {
      return Promise.resolve("release");
    }
  };

  const onSettled = (from: Session, grant: Grant, deliveryTag: number, settlement: Settlement): void => {
    pending--;
    from.finished(grant);
    if (settlement === "accept") from.settlements.accept(deliveryTag);
    else from.settlements.release(deliveryTag);
    if (from === session) losses = 0;
    if (stopped()) endWhenSettled();
    else if (session !== undefined && session.granted < allowed()) void balance();
  };

  const onClosed = (closed: Session): void => {
    if (session !== closed) return;
    session = undefined;
    missing = closed.cancelled;
    if (stopped()) {
      endWhenSettled();
      return;
    }
    if (!lost) {
      lost = true;
      options.onLost(closed.lost.reason);
    }
    if (!reopening) void restore();
  };

  const restore = async (): Promise<void> => {
    reopening = true;
    while (session === undefined && !stopped()) {
      try {
        // Never at once: the broker tells of a deletion before it has finished it, and fails on who comes too early.
        await sleep(clock, backoffDelay(restoreBackoff, ++losses, environment.random()), ending.signal);
        if (missing) missing = !(await options.restoreQueue(ending.signal));
        await open(ending.signal);
        restored();
      } catch (error) {
        missing ||= isMissing(error);
        // What a lost connection explains needs no word.
        if (!stopped() && isRefusal(error)) options.onFailed(error);
      }
    }
    reopening = false;
  };

  const restored = (): void => {
    if (!lost) return;
    lost = false;
    options.onRestored();
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
    get restoring() {
      return lost && !stopped();
    },
    async start({ signal }) {
      reopening = true;
      for (let failure = 1; session === undefined; failure++) {
        try {
          await open(signal);
        } catch (error) {
          if (isPosthornError(error) && (error.code === "ABORTED" || error.code === "CLOSED")) throw error;
          const reason = isPosthornError(error) ? error.cause : error;
          const made = isMissing(error) && (await options.restoreQueue(signal));
          if (!made && replyCode(reason) !== undefined) throw operationError(reason, `queue ${JSON.stringify(queue)}`);
          await abortable(sleep(clock, backoffDelay(restoreBackoff, failure, environment.random()), signal), signal);
        }
      }
      reopening = false;
      restored();
    },
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

function isMissing(error: unknown): boolean {
  return replyCode(isPosthornError(error) ? error.cause : error) === replyCodes.notFound;
}

/** Whether the broker said no to something that should work. */
function isRefusal(error: unknown): boolean {
  const reason = isPosthornError(error) ? error.cause : error;
  const code = replyCode(reason);
  return code !== undefined && code !== replyCodes.notFound;
}
