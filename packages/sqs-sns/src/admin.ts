/** A look at, and a hand in, what waits in a queue. */
import type {
  DeadLetterAddress,
  InletAddress,
  TransportAdmin,
  TransportEnvironment,
  Verdict,
  Visit,
  WaitingMessages,
  WalkOptions,
} from "@posthorn/core/transport";
import { abortable, abortedError, PosthornError, walkThrough } from "@posthorn/core/transport";
import { createAsking, isMissing } from "./asking.ts";
import { RequestFailure } from "./aws.ts";
import { awsError, closedError, isAnswered } from "./errors.ts";
import type { Hold } from "./hold.ts";
import { createHold } from "./hold.ts";
import { namesOf } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Place, Places } from "./places.ts";
import type { Reach } from "./reach.ts";
import { countOf, waitingInQueue } from "./waiting.ts";

export interface AdminOptions {
  readonly reach: Pick<Reach, "aws" | "ready" | "outage" | "closed">;
  readonly places: Pick<Places, "find" | "forget">;
  readonly environment: TransportEnvironment;
  readonly settings: Pick<Settings, "prefix" | "visibilitySeconds">;
}

export interface Admin extends TransportAdmin {
  /** Resolves when the walks that were cut off have given back what they held, as far as that is possible. */
  settled(): Promise<void>;
}

type Source = InletAddress | DeadLetterAddress;
type Queue = Extract<Place, { readonly kind: "queue" }>;

/** So many receive at a time when a queue is purged. */
const mostReceivers = 8;

/**
 * **Depth.** What can be received now, by SQS's estimate, which may lag behind by a minute. What waits for its time, in the queue or
 * in the delay queue of an ordered inlet, is not counted, nor is it purged or walked through. What a walk holds counts as in flight. How old
 * the oldest message is SQS tells nobody but CloudWatch.
 *
 * **Walks.** SQS shows a message by handing it out. So a walk hides from others what it has come to, until its end; every walk is
 * exclusive. Messages come about in their order from standard queues. From FIFO queues those of a key do, at most the first ten of a
 * key, and none of a key of which somebody else has one: the rest appears when these are removed, or not in this walk. Of dead
 * letters each that Posthorn sent is a key of its own. A walk can hold 120,000 messages, for 12 hours.
 */
export function createAdmin({ reach, places, environment, settings }: AdminOptions): Admin {
  const { clock } = environment;
  const names = namesOf(settings);
  const asking = createAsking(reach, environment);
  /** Walks that were cut off, and have not yet given back what they held. */
  const ending = new Set<Promise<void>>();

  /** @param work its signal fires when the caller gives up, and in an outage: then nobody waits for it any more */
  async function administer<Result>(
    source: Source,
    { signal }: { readonly signal: AbortSignal },
    work: (queue: Queue, end: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    let outage: AbortSignal | undefined;
    try {
      if (signal.aborted) throw abortedError(signal);
      await abortable(reach.ready(signal), signal);
      ({ outage } = reach);
      const end = AbortSignal.any([signal, outage]);
      const place = await places.find(source, end);
      if (place.kind !== "queue") throw new TypeError("There are queues behind inlets and dead letters.");
      return await abortable(work(place, end), end);
    } catch (error) {
      if (signal.aborted) throw abortedError(signal);
      if (reach.closed) throw closedError();
      const isCut = error instanceof RequestFailure && !isAnswered(error);
      if (isCut || outage?.aborted === true) throw connectionLost(whatIs(source), error);
      if (isMissing(error)) places.forget(source);
      throw error instanceof RequestFailure ? awsError(error, whatIs(source)) : error;
    }
  }

  /** Whatever happens to the work, what it did not remove is given back; only who has given it up does not wait for that. */
  async function holding<Result>(
    source: Source,
    { url, fifo }: Queue,
    limit: number,
    end: AbortSignal,
    work: (waiting: WaitingMessages, end: AbortSignal, hold: Hold) => Promise<Result>,
  ): Promise<Result> {
    const lost = new AbortController();
    const onLost = (reason: Error): void => lost.abort(connectionLost(whatIs(source), reason));
    const { visibilitySeconds } = settings;
    const hold = createHold({ reach, asking, environment, url, what: whatIs(source), visibilitySeconds, onLost });
    const signal = AbortSignal.any([end, lost.signal]);
    const over = Promise.withResolvers<void>();
    // From then on nobody else waits for it.
    const onEnd = (): void => void ending.add(over.promise);
    end.addEventListener("abort", onEnd, { once: true });
    try {
      const waiting = await waitingInQueue({ asking, hold, clock, url, fifo, limit, signal });
      return await work(waiting, signal, hold);
    } catch (error) {
      throw lost.signal.aborted ? lost.signal.reason : error;
    } finally {
      await hold.release();
      end.removeEventListener("abort", onEnd);
      ending.delete(over.promise);
      over.resolve();
    }
  }

  return {
    depth: (source, options) =>
      administer(source, options, async ({ url }, end) => {
        const count = await countOf(asking, url, end);
        return { ready: count.ready, inFlight: count.inFlight, oldestAgeMs: undefined };
      }),

    walk: (source: Source, visit: Visit, options: WalkOptions) =>
      administer(source, options, (queue, end) =>
        holding(source, queue, options.limit, end, (waiting, signal) => walkThrough(waiting, visit, options, signal)),
      ),

    purge: (source, options) =>
      administer(source, options, (queue, end) =>
        holding(source, queue, Infinity, end, async (waiting, signal, hold) => {
          await drain(waiting, signal);
          return hold.removed;
        }),
      ),

    async settled() {
      while (ending.size > 0) await Promise.all(ending);
    },
  };

  function whatIs({ kind, channel, group }: Source): string {
    const name = kind === "inlet" ? names.queue(channel, group) : names.deadLetters(channel, group);
    return `queue ${JSON.stringify(name)}`;
  }
}

/** SQS's own way may be gone once a minute, and does not count. */
async function drain(waiting: WaitingMessages, signal: AbortSignal): Promise<void> {
  const remove = async (): Promise<Verdict> => "remove";
  const bounds = { limit: Infinity, maxPending: 1 };
  const failed = new AbortController();
  const end = AbortSignal.any([signal, failed.signal]);
  // When one fails the others may wait for what it leaves behind.
  const shared: WaitingMessages = {
    next: () => abortable(waiting.next(), end),
    finish: () => waiting.finish(),
  };
  const work = async (): Promise<void> => {
    try {
      await walkThrough(shared, remove, bounds, end);
    } catch (error) {
      failed.abort(error);
    }
  };
  await Promise.all(Array.from({ length: mostReceivers }, work));
  end.throwIfAborted();
}

function connectionLost(what: string, cause: unknown): PosthornError {
  return new PosthornError("CONNECTION_LOST", `SQS could not be reached any more while ${what} was gone through.`, {
    cause,
  });
}
