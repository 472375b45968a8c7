/** Looks after one queue while it is consumed: finds it, makes it again when it is gone, and waits while SQS cannot be asked. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import { RequestFailure } from "./aws.ts";
import { awsError, classOf } from "./errors.ts";
import type { Reach } from "./reach.ts";

export interface UpkeepOptions {
  readonly reach: Pick<Reach, "ready">;
  readonly environment: TransportEnvironment;
  readonly ending: AbortSignal;
  /** In words, such as `the queue of "orders"`. */
  readonly what: string;
  /** Looks for the queue, anew when it was found before. @throws UNROUTABLE */
  readonly find: (signal: AbortSignal) => Promise<void>;
  /** Makes it exist again, where it is ours to make; false where it is not. */
  readonly restore: (signal: AbortSignal) => Promise<boolean>;
  /** It is gone, with all that was in it. */
  readonly onLost: (error: Error) => void;
  readonly onRestored: () => void;
  readonly onFailed: (detail: string, error: unknown) => void;
}

export interface Upkeep {
  /** It was gone, and has not answered since. */
  readonly lost: boolean;
  /** @throws UNROUTABLE, ABORTED; ACCESS_REFUSED and others, when SQS says no */
  start(signal: AbortSignal): Promise<void>;
  /** A request of this queue has failed. Resolves when it may be asked again; never rejects. */
  recover(error: unknown): Promise<void>;
  /** It answers. */
  worked(): void;
}

const retryBackoff = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;
/** What passes by itself most times is told when it has come so often in a row. */
const toldAfter = 5;

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { reach, environment, ending, what } = options;
  /** In a row. */
  let failures = 0;
  let missing = 0;
  let told = false;
  let lost = false;

  const pause = (failure: number, signal: AbortSignal): Promise<void> =>
    sleep(environment.clock, backoffDelay(retryBackoff, failure, environment.random()), signal);

  function tell(detail: string, error: unknown): void {
    if (told || ending.aborted) return;
    told = true;
    options.onFailed(detail, error);
  }

  async function recover(error: unknown): Promise<void> {
    failures++;
    if (error instanceof RequestFailure && isMissing(error)) await makeAgain(error);
    else if (!isPassing(error) || (isAnswer(error) && failures >= toldAfter)) {
      tell(`Nothing can be received from ${what}`, error instanceof RequestFailure ? awsError(error, what) : error);
    }
    await pause(failures, ending);
    await reach.ready(ending);
  }

  async function makeAgain(error: RequestFailure): Promise<void> {
    // One that was just made is not known everywhere at once.
    if (++missing === 1) return;
    const unroutable = awsError(error, what);
    if (!lost) {
      lost = true;
      options.onLost(unroutable);
    }
    try {
      if (!(await options.restore(ending))) tell(`There is no ${what}, and it is not ours to make`, unroutable);
      await options.find(ending);
    } catch (failure) {
      if (!isPassing(failure) && !isPosthornError(failure, "UNROUTABLE"))
        tell(`There is no ${what}, and it cannot be made`, failure);
    }
  }

  /** @returns whether it may be looked for again */
  async function restored(error: unknown, signal: AbortSignal): Promise<boolean> {
    if (!isPosthornError(error, "UNROUTABLE")) return isPassing(error);
    try {
      return await options.restore(signal);
    } catch (failure) {
      if (isPassing(failure)) return true;
      throw failure instanceof RequestFailure ? awsError(failure, what) : failure;
    }
  }

  async function start(signal: AbortSignal): Promise<void> {
    for (let failure = 1; ; failure++) {
      await reach.ready(signal);
      try {
        await options.find(signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!(await restored(error, signal))) throw error instanceof RequestFailure ? awsError(error, what) : error;
      }
      if (failure > 1) await pause(failure, signal);
    }
  }

  return {
    get lost() {
      return lost;
    },
    start: (signal) => abortable(start(signal), signal),
    recover: (failure) => recover(failure).catch(() => undefined),
    worked() {
      failures = 0;
      missing = 0;
      told = false;
      if (!lost) return;
      lost = false;
      options.onRestored();
    },
  };
}

function isMissing({ code, httpStatus }: RequestFailure): boolean {
  return classOf(code, httpStatus) === "missing";
}

function isAnswer(error: unknown): boolean {
  return error instanceof RequestFailure && error.httpStatus !== undefined;
}

/** Whether the same may work later, without anybody's doing anything. */
function isPassing(error: unknown): boolean {
  const known = error instanceof RequestFailure ? awsError(error, "a queue") : error;
  return isPosthornError(known) && known.retryable;
}
