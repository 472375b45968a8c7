/**
 * The leases of what was received from one queue: renewed in time, and lost when their time is over.
 *
 * One timer serves all of them. A lease's end is counted from before the request that gave it was sent: it is never
 * believed to last longer than it does.
 */
import type { Timer, TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay } from "@posthorn/core/transport";
import { isRefusedAccess } from "./asking.ts";
import type { ReceivedMessage, RequestFailure } from "./aws.ts";
import type { Reach } from "./reach.ts";
import type { Outcome } from "./outcomes.ts";
import { errorOf, isDone, isFinal, outcomeOfEach } from "./outcomes.ts";
import { createTens } from "./tens.ts";

/**
 * `pending`: in somebody's hands. `accepted`: to be deleted. `released`: to be given back. `over`: neither is possible or
 * necessary any more.
 */
export type LeaseState = "pending" | "accepted" | "released" | "over";

/** What was received, without its body, and how long it is ours. */
export class Lease {
  readonly receiptHandle: string;
  readonly groupId: string | undefined;
  /** Rises in the order of arrival. */
  readonly number: number;
  /** By the monotonic clock. */
  endsAt: number;
  renewAt: number;
  state: LeaseState = "pending";
  /** A renewal is on its way. */
  renewing = false;
  /** A deletion is on its way. */
  deleting = false;
  /** A deletion was sent and not answered. */
  perhapsDeleted = false;
  /** In a row: renewals that came to nothing. */
  renewalFailures = 0;
  /** Tries to delete it, or to give it back, that came to nothing. */
  failures = 0;
  /** To be called when the renewal that is on its way is over. */
  afterRenewal: (() => void) | undefined;
  #lost: AbortController | undefined;
  #reason: Error | undefined;

  constructor({ receiptHandle, groupId }: ReceivedMessage, number: number, endsAt: number, renewAt: number) {
    this.receiptHandle = receiptHandle;
    this.groupId = groupId;
    this.number = number;
    this.endsAt = endsAt;
    this.renewAt = renewAt;
  }

  /** Fires when somebody else may have the message. Made when it is first looked at. */
  get lost(): AbortSignal {
    this.#lost ??= new AbortController();
    if (this.#reason !== undefined) this.#lost.abort(this.#reason);
    return this.#lost.signal;
  }

  lose(reason: Error): void {
    this.#reason ??= reason;
    this.#lost?.abort(this.#reason);
  }
}

export interface LeasesOptions {
  readonly reach: Pick<Reach, "aws" | "ready">;
  readonly environment: TransportEnvironment;
  readonly visibilitySeconds: number;
  /** The queue's. */
  readonly url: () => string;
  readonly ending: AbortSignal;
  /** It is kept no longer, and what was done about its message is void. */
  readonly onLost: (lease: Lease, reason: Error) => void;
  /** The account may not renew. It is tried again while the lease lasts. */
  readonly onRefused: (refusal: RequestFailure) => void;
}

export interface Leases {
  /** Those that are kept. */
  readonly held: ReadonlySet<Lease>;
  /** Of the newest lease that was granted. */
  readonly lastNumber: number;
  /**
   * What has just been received.
   *
   * @param askedAt when the request was sent, by the monotonic clock
   * @param answeredBy when SQS must have answered it
   */
  grant(received: ReceivedMessage, askedAt: number, answeredBy: number): Lease;
  /** Keeps it from now on. */
  keep(lease: Lease): void;
  /** Keeps it no longer. */
  drop(lease: Lease): void;
  lose(lease: Lease, reason: Error): void;
}

/** After a renewal that came to nothing. */
const retryBackoff = { initialMs: 200, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;

export function createLeases(options: LeasesOptions): Leases {
  const { reach, environment, visibilitySeconds, url, ending } = options;
  const { clock } = environment;
  const visibilityMs = visibilitySeconds * 1_000;
  const renewAfterMs = visibilityMs / 3;
  /** What is due so soon goes with what is due now. */
  const gatherMs = visibilityMs / 12;
  const held = new Set<Lease>();
  let lastNumber = 0;
  let timer: Timer | undefined;
  let timerAt = Infinity;

  function wakeAt(at: number): void {
    if (at >= timerAt) return;
    timer?.cancel();
    timerAt = at;
    // A timer may come a little before its time.
    timer = clock.setTimeout(look, Math.max(1, at - clock.monotonic()), { unref: true });
  }

  function look(): void {
    timerAt = Infinity;
    const now = clock.monotonic();
    let next = Infinity;
    for (const lease of held) {
      if (lease.endsAt <= now) {
        // Whether it was deleted in time is seen when that is answered.
        if (!lease.deleting) lose(lease, expired());
        continue;
      }
      if (lease.renewAt <= now + gatherMs) {
        lease.renewAt = Infinity;
        renewals.add(lease);
      }
      next = Math.min(next, lease.endsAt, lease.renewAt);
    }
    wakeAt(next);
  }

  const renewals = createTens<Lease>(async (leases) => {
    await reach.ready(ending).catch(() => undefined);
    const due = leases.filter((lease) => held.has(lease) && lease.endsAt > clock.monotonic());
    if (ending.aborted || due.length === 0) return;
    for (const lease of due) lease.renewing = true;
    const askedAt = clock.monotonic();
    const entries = due.map(({ receiptHandle }) => ({ receiptHandle, visibilitySeconds }));
    const renewing = reach.aws.sqs.changeVisibility(url(), entries, ending);
    for (const [lease, outcome] of await outcomeOfEach(due, renewing)) {
      lease.renewing = false;
      lease.afterRenewal?.();
      if (held.has(lease)) onRenewed(lease, outcome, askedAt);
    }
  });

  function onRenewed(lease: Lease, outcome: Outcome, askedAt: number): void {
    if (isDone(outcome)) {
      lease.endsAt = askedAt + visibilityMs;
      lease.renewAt = askedAt + renewAfterMs;
      lease.renewalFailures = 0;
    } else if (isFinal(outcome) && !lease.deleting) {
      lose(lease, errorOf(outcome));
      return;
    } else {
      lease.renewAt = clock.monotonic() + backoffDelay(retryBackoff, ++lease.renewalFailures, environment.random());
      if (isRefusedAccess(outcome)) options.onRefused(outcome);
    }
    wakeAt(Math.min(lease.endsAt, lease.renewAt));
  }

  function lose(lease: Lease, reason: Error): void {
    if (!held.delete(lease)) return;
    lease.lose(reason);
    options.onLost(lease, reason);
  }

  return {
    held,
    get lastNumber() {
      return lastNumber;
    },

    grant(received, askedAt, answeredBy) {
      const now = clock.monotonic();
      // Nobody knows when, in a long poll, SQS has begun to count: what waited long is renewed soon, and then it is known.
      const isFresh = now - askedAt <= renewAfterMs;
      const since = isFresh ? askedAt : Math.min(now, answeredBy);
      const renewAt = isFresh ? askedAt + renewAfterMs : now + Math.min(1_000, renewAfterMs / 2);
      return new Lease(received, ++lastNumber, since + visibilityMs, renewAt);
    },

    keep(lease) {
      held.add(lease);
      wakeAt(Math.min(lease.endsAt, lease.renewAt));
    },

    drop(lease) {
      held.delete(lease);
    },

    lose,
  };
}

export function expired(): Error {
  return new Error("The message's visibility timeout has passed, and could not be extended.");
}
