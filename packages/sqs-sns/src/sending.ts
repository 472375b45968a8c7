/** Sends to one queue or topic, in requests of ten, until it is known of every message whether it was accepted. */
import type { Message, PosthornError, Receipt, TransportEnvironment } from "@posthorn/core/transport";
import { abortedError, backoffDelay, failed, isPosthornError, sleep } from "@posthorn/core/transport";
import type { EntryResult, SendEntry } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { cutBatches, forEachAtMost } from "./batches.ts";
import { awsError, classOf, notSent, unknownOutcome } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { Place } from "./places.ts";
import type { Reach } from "./reach.ts";
import { receiptOf, refused } from "./receipts.ts";

/** A message that is ready to be sent. */
export interface Parcel {
  /** Its place in the call. */
  readonly index: number;
  readonly message: Message;
  /** Without its delay, which depends on when it is sent. */
  readonly entry: SendEntry;
  readonly bytes: number;
}

export interface Destination {
  /** Such as `queue "orders"`. */
  readonly what: string;
  /** Most requests at a time. */
  readonly atATime: number;
  /** Most bytes of a request; a message that is larger goes alone. */
  readonly maxBatchBytes: number;
  /** Single messages can be delayed there. */
  readonly delays: boolean;
  find(signal: AbortSignal): Promise<Place>;
  /** It is not where it was. */
  forget(): void;
}

/** Gives every parcel its receipt, and never rejects. */
export type SendAll = (
  destination: Destination,
  parcels: readonly Parcel[],
  signal: AbortSignal,
  settle: (parcel: Parcel, receipt: Receipt) => void,
) => Promise<void>;

export interface SendingOptions {
  readonly reach: Pick<Reach, "aws" | "ready" | "closed">;
  readonly settings: Pick<Settings, "longestDelayMs">;
  readonly environment: TransportEnvironment;
  /** Sends are throttled or not answered, while other requests may be. `undefined` when one is answered again. */
  readonly onBlocked: (reason: string | undefined) => void;
}

/** What a call knows of its destination. */
interface Trip extends Destination {
  readonly signal: AbortSignal;
  /** Since when AWS says that it does not exist; monotonic milliseconds. */
  missingSince: number | undefined;
  /** It does not exist. */
  unroutable: PosthornError | undefined;
  /** Why the last try came to nothing. */
  trouble: unknown;
}

/** What is known of a batch after one try: a receipt for each, or that it is to be sent again, as it is or each by itself. */
type Outcome = readonly Receipt[] | "again" | "apart";

const backoff = { initialMs: 100, maxMs: 1_000 } as const;
/** A queue that was just made is not known to all of SQS for a moment. */
const missingGraceMs = 2_000;

/** In whole seconds, as SQS has it: core holds what comes less than a second early, and sends on what is beyond the longest delay. */
export function delaySecondsOf({ notBefore }: Message, now: number, longestDelayMs: number): number {
  const delayMs = notBefore === undefined ? 0 : Math.min(notBefore - now, longestDelayMs);
  return delayMs >= 1_000 ? Math.floor(delayMs / 1_000) : 0;
}

export function createSending({ reach, settings, environment, onBlocked }: SendingOptions): SendAll {
  const { clock, random } = environment;
  let blocked = false;
  /** When a send was last throttled, or not answered; monotonic milliseconds. */
  let blockedAt = -Infinity;

  /** @param beganAt of the request that tells: one that had begun before the last that was refused says nothing of what came after */
  const setBlocked = (reason: string | undefined, beganAt: number): void => {
    if (reason !== undefined) blockedAt = clock.monotonic();
    else if (beganAt < blockedAt) return;
    if (blocked === (reason !== undefined)) return;
    blocked = !blocked;
    onBlocked(reason);
  };

  const entryOf = ({ message, entry }: Parcel): SendEntry => {
    const delaySeconds = delaySecondsOf(message, clock.now(), settings.longestDelayMs);
    return delaySeconds === 0 ? entry : { body: entry.body, attributes: entry.attributes, delaySeconds };
  };

  const request = (
    { delays, signal }: Trip,
    place: Place,
    parcels: readonly Parcel[],
  ): Promise<readonly EntryResult[]> => {
    const { sqs, sns } = reach.aws;
    const entries = parcels.map((parcel) => (delays ? entryOf(parcel) : parcel.entry));
    return place.kind === "queue" ? sqs.send(place.url, entries, signal) : sns.publish(place.arn, entries, signal);
  };

  const tryBatch = async (trip: Trip, parcels: readonly Parcel[]): Promise<Outcome> => {
    const { signal } = trip;
    if (trip.unroutable !== undefined) return forAll(parcels, trip.unroutable);
    let place: Place;
    try {
      if (signal.aborted) throw abortedError(signal);
      await reach.ready(signal);
      place = await trip.find(signal);
      if (signal.aborted) throw abortedError(signal);
    } catch (error) {
      return afterNothing(trip, parcels, error);
    }
    const beganAt = clock.monotonic();
    try {
      const results = await request(trip, place, parcels);
      trip.missingSince = undefined;
      setBlocked(undefined, beganAt);
      return parcels.map((_, index) => receiptOf(results[index], trip.what));
    } catch (error) {
      return afterRequest(trip, parcels, error, beganAt);
    }
  };

  /** Nothing was sent. */
  const afterNothing = (trip: Trip, parcels: readonly Parcel[], cause: unknown): Outcome => {
    if (trip.signal.aborted || reach.closed) return forAll(parcels, notSent(trip.trouble ?? cause));
    const error = cause instanceof RequestFailure ? awsError(cause, trip.what) : cause;
    if (!isPosthornError(error)) return forAll(parcels, notSent(error));
    trip.trouble = error;
    switch (error.code) {
      case "UNROUTABLE":
        trip.missingSince ??= clock.monotonic();
        if (clock.monotonic() - trip.missingSince < missingGraceMs) return "again";
        trip.unroutable = error;
        return forAll(parcels, error);
      case "CONNECTION_LOST":
      // Of a request that only asks.
      case "UNKNOWN_OUTCOME":
        return "again";
      default:
        return forAll(parcels, error);
    }
  };

  const afterRequest = (trip: Trip, parcels: readonly Parcel[], cause: unknown, beganAt: number): Outcome => {
    if (!(cause instanceof RequestFailure)) {
      setBlocked("sends are not answered", beganAt);
      return forAll(parcels, unknownOutcome(cause));
    }
    setBlocked(classOf(cause.code, cause.httpStatus) === "throttled" ? "sends are throttled" : undefined, beganAt);
    const error = awsError(cause, trip.what);
    if (error.code === "UNROUTABLE") trip.forget();
    if (error.code === "UNROUTABLE" || error.code === "CONNECTION_LOST") return afterNothing(trip, parcels, error);
    if (parcels.length > 1 && isOfItsContent(cause)) return "apart";
    return forAll(parcels, error);
  };

  return (destination, parcels, signal, settle) => {
    const trip: Trip = { ...destination, signal, missingSince: undefined, unroutable: undefined, trouble: undefined };

    const sendBatch = async (batch: readonly Parcel[]): Promise<void> => {
      for (let failure = 1; ; failure++) {
        const outcome = await tryBatch(trip, batch);
        if (outcome === "apart") {
          for (const parcel of batch) await sendBatch([parcel]);
          return;
        }
        if (outcome !== "again") {
          batch.forEach((parcel, index) => settle(parcel, outcome[index] ?? failed(unknownOutcome())));
          return;
        }
        // Its end shows in the next round.
        await sleep(clock, backoffDelay(backoff, failure, random()), signal).catch(() => undefined);
      }
    };

    return forEachAtMost(cutBatches(parcels, trip.maxBatchBytes), trip.atATime, sendBatch);
  };
}

/** One bad message must not fail the others of its request. */
function isOfItsContent({ code, httpStatus }: RequestFailure): boolean {
  const kind = classOf(code, httpStatus);
  return kind === "invalid" || kind === "too-large";
}

function forAll(parcels: readonly Parcel[], error: PosthornError): readonly Receipt[] {
  const receipt = refused(error);
  return parcels.map(() => receipt);
}
