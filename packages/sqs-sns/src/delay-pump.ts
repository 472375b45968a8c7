/**
 * Moves what waits for its time beside a FIFO queue, which cannot delay single messages.
 *
 * It waits on the group's delay queue, for as long as that can delay it, again and again; and when it is due it goes to the FIFO
 * queue. The copy is there before the original is deleted: a crash between the two gives a duplicate at most.
 */
import type { InletAddress, Settlement } from "@posthorn/core/transport";
import { abortable, backoffDelay, createNotice, isPosthornError, sleep } from "@posthorn/core/transport";
import type { EntryResult, ReceivedMessage, SendEntry } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { cutBatches } from "./batches.ts";
import { decodeMessage } from "./decode.ts";
import { awsError } from "./errors.ts";
import type { Lease } from "./leases.ts";
import type { Settings } from "./options.ts";
import type { Outcome } from "./outcomes.ts";
import { errorOf, isDone, isFinal, outcomeOfEach } from "./outcomes.ts";
import type { Places } from "./places.ts";
import type { OpenReader, Reader, ReaderOptions } from "./reader.ts";
import { createTens } from "./tens.ts";
import { bytesOf, fifoIds } from "./wire.ts";

export interface DelayPumpOptions extends Omit<ReaderOptions, "fifo" | "find" | "receive" | "maxInFlight"> {
  readonly places: Pick<Places, "find" | "delayQueue" | "forget">;
  readonly settings: Pick<Settings, "visibilitySeconds" | "waitSeconds" | "maxMessageBytes" | "longestDelayMs">;
  /** The group's. */
  readonly inlet: InletAddress;
  readonly openReader: OpenReader;
}

/** Most messages that are here at a time. */
const mostHeld = 200;
/** What is due so soon waits here. */
const holdMs = 1_000;
const retryBackoff = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;

interface Move {
  readonly entry: SendEntry;
  readonly bytes: number;
  /** Then somebody else moves it. */
  readonly lost: AbortSignal;
  /** Only the first call counts; `undefined` where it was lost before it was sent. */
  readonly done: (outcome: Outcome | undefined) => void;
}

export function createDelayPump(options: DelayPumpOptions): Reader {
  const { reach, environment, settings, places, inlet, what } = options;
  const { clock } = environment;
  const ending = new AbortController();
  /** Nothing more is sent then. */
  const closing = new AbortController();
  /** Requests that carry moves. */
  let sending = 0;
  const sent = createNotice();

  async function move(received: ReceivedMessage, { lost }: Pick<Lease, "lost">): Promise<Settlement> {
    const { message } = decodeMessage(received);
    const { body, attributes } = received;
    const over = AbortSignal.any([lost, closing.signal]);
    try {
      for (let failure = 0; !closing.signal.aborted;) {
        const leftMs = (message.notBefore ?? 0) - clock.now();
        if (leftMs > 0 && leftMs < holdMs) {
          await sleep(clock, leftMs, over);
          continue;
        }
        const outcome = await new Promise<Outcome | undefined>((done) => {
          const rest = { bytes: bytesOf(received), lost, done };
          if (leftMs > 0) delaying.add({ entry: { body, attributes, delaySeconds: delaySeconds(leftMs) }, ...rest });
          // It may come here again, alike in all but this: SQS must not take the one for a repetition of the other.
          else joining.add({ entry: { body, attributes, ...fifoIds(message, false, received.messageId) }, ...rest });
        });
        lost.throwIfAborted();
        if (isDone(outcome)) return "accept";
        if (outcome !== undefined) tell(outcome);
        await sleep(clock, backoffDelay(retryBackoff, ++failure, environment.random()), over);
      }
    } catch (error) {
      // Whoever has the message now moves it.
      if (!over.aborted) throw error;
    }
    return "release";
  }

  function delaySeconds(leftMs: number): number {
    return Math.floor(Math.min(leftMs, settings.longestDelayMs) / 1_000);
  }

  let told = false;

  function tell(outcome: Outcome): void {
    // What passes, or is made again, is told by whoever looks after the queues.
    const error = outcome instanceof RequestFailure ? awsError(outcome, what) : errorOf(outcome);
    const passes = isPosthornError(error) ? error.retryable || error.code === "UNROUTABLE" : !isFinal(outcome);
    if (told || passes) return;
    told = true;
    options.onFailed(`What waits in ${what} cannot be moved on`, error);
  }

  const delaying = createTens<Move>((moves) => sendAll(moves, () => places.delayQueue(inlet, ending.signal)));
  const joining = createTens<Move>((moves) =>
    sendAll(moves, async () => {
      const place = await places.find(inlet, ending.signal);
      return place.kind === "queue" ? place.url : "";
    }),
  );

  async function sendAll(moves: readonly Move[], find: () => Promise<string>): Promise<void> {
    for (const batch of cutBatches(moves, settings.maxMessageBytes)) {
      await reach.ready(ending.signal).catch(() => undefined);
      const due = closing.signal.aborted ? [] : batch.filter(({ lost }) => !lost.aborted);
      const outcomes = due.length === 0 ? [] : await outcomeOfEach(due, send(due, find));
      for (const [{ done }, outcome] of outcomes) done(outcome);
      for (const { done } of batch) done(undefined);
      if (outcomes.every(([, outcome]) => isDone(outcome))) told = false;
    }
  }

  async function send(moves: readonly Move[], find: () => Promise<string>): Promise<readonly EntryResult[]> {
    sending++;
    try {
      const url = await find();
      const entries = moves.map(({ entry }) => entry);
      return await reach.aws.sqs.send(url, entries, ending.signal);
    } finally {
      sending--;
      sent.notify();
    }
  }

  const reader = options.openReader({
    ...options,
    fifo: false,
    maxInFlight: mostHeld,
    find(signal, again) {
      if (again) places.forget(inlet);
      return places.delayQueue(inlet, signal);
    },
    receive: move,
    onEnded() {
      const reason = new Error("The consumption has ended.");
      closing.abort(reason);
      ending.abort(reason);
      options.onEnded();
    },
  });

  return {
    get restoring() {
      return reader.restoring;
    },
    start: (signal) => reader.start(signal),
    pause: () => reader.pause(),
    resume: () => reader.resume(),
    resize: (maxInFlight) => reader.resize(maxInFlight),
    stop: () => reader.stop(),
    async close(signal) {
      closing.abort(new Error("The consumption is closed."));
      await reader.stop();
      // What is given back while its copy is on its way is there twice.
      while (sending > 0 && !signal.aborted) await abortable(sent.next, signal).catch(() => undefined);
      await reader.close(signal);
    },
  };
}
