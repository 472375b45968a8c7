/** Brings a consumer's channel up, and up again after every loss. */
import type { Backoff, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import type { Link } from "./connection.ts";
import { operationError, replyCode, replyCodes } from "./errors.ts";
import type { Session, SessionOptions } from "./session.ts";
import { openSession } from "./session.ts";

/** Between tries to consume again while the connection is up. */
const restoreBackoff: Backoff = { initialMs: 100, maxMs: 1_000 };

export interface UpkeepOptions {
  readonly environment: TransportEnvironment;
  readonly queue: string;
  /** Fires when nothing more is to be brought up. */
  readonly ending: AbortSignal;
  readonly isUp: () => boolean;
  readonly open: (signal: AbortSignal) => Promise<void>;
  /** Makes the queue exist again, where it is ours to make. */
  readonly restoreQueue: (signal: AbortSignal) => Promise<boolean>;
  readonly onLost: (error: unknown) => void;
  readonly onRestored: () => void;
  /** What keeps it from being restored. */
  readonly onFailed: (error: unknown) => void;
}

export interface Upkeep {
  /**
   * Resolves when it is up for the first time.
   *
   * @throws ABORTED, CLOSED; UNROUTABLE and others, when the broker says no
   */
  start(signal: AbortSignal): Promise<void>;
  /** It went down: begins to bring it up again. */
  down(session: Session): void;
  /** It receives. */
  up(): void;
  /** Something was settled: the next loss is the first again. */
  worked(): void;
}

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { environment, queue, ending } = options;
  const { clock, random } = environment;
  let lost = false;
  let opening = false;
  /** The queue may be gone. */
  let missing = false;
  /** Losses of the channel since the last settlement on one. */
  let losses = 0;

  const restore = async (): Promise<void> => {
    opening = true;
    while (!options.isUp() && !ending.aborted) {
      try {
        // Never at once: the broker tells of a deletion before it has finished it, and fails on who comes too early.
        await sleep(clock, backoffDelay(restoreBackoff, ++losses, random()), ending);
        if (missing) missing = !(await options.restoreQueue(ending));
        await options.open(ending);
        up();
      } catch (error) {
        missing ||= isMissing(error);
        // What a lost connection explains needs no word.
        if (!ending.aborted && isRefusal(error)) options.onFailed(error);
      }
    }
    opening = false;
  };

  const up = (): void => {
    if (!lost) return;
    lost = false;
    options.onRestored();
  };

  return {
    async start(signal) {
      opening = true;
      for (let failure = 1; !options.isUp(); failure++) {
        try {
          await options.open(signal);
        } catch (error) {
          if (isPosthornError(error) && (error.code === "ABORTED" || error.code === "CLOSED")) throw error;
          const reason = reasonOf(error);
          const made = isMissing(error) && (await options.restoreQueue(signal));
          if (!made && replyCode(reason) !== undefined) throw operationError(reason, `queue ${JSON.stringify(queue)}`);
          await abortable(sleep(clock, backoffDelay(restoreBackoff, failure, random()), signal), signal);
        }
      }
      opening = false;
      up();
    },
    down(session) {
      missing = session.cancelled;
      if (!lost) {
        lost = true;
        options.onLost(session.lost.reason);
      }
      if (!opening) void restore();
    },
    up,
    worked() {
      losses = 0;
    },
  };
}

/** A session on the connection there is; when the caller gives up meanwhile it is closed as soon as it comes. */
export async function openSessionOn(
  link: Link,
  options: Omit<SessionOptions, "connection">,
  signal: AbortSignal,
): Promise<Session> {
  const connection = await link.ready(signal);
  const opening = openSession({ ...options, connection });
  const opened = await abortable(opening, signal).catch((error: unknown) => {
    opening.then((late) => late.close(signal)).catch(() => undefined);
    throw error;
  });
  if (opened.closed) throw opened.lost.reason;
  return opened;
}

function reasonOf(error: unknown): unknown {
  return isPosthornError(error) ? error.cause : error;
}

function isMissing(error: unknown): boolean {
  return replyCode(reasonOf(error)) === replyCodes.notFound;
}

/** Whether the broker said no to something that should work. */
function isRefusal(error: unknown): boolean {
  const code = replyCode(reasonOf(error));
  return code !== undefined && code !== replyCodes.notFound;
}
