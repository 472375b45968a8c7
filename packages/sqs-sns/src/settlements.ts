/** Carries settlements out: what was accepted is deleted, what was released is given back, ten to a request. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, createNotice, sleep } from "@posthorn/core/transport";
import { isRefusedAccess } from "./asking.ts";
import type { RequestFailure } from "./aws.ts";
import type { Lease, Leases } from "./leases.ts";
import { expired } from "./leases.ts";
import type { Outcome } from "./outcomes.ts";
import { errorOf, isDone, isFinal, isUnknown, outcomeOfEach } from "./outcomes.ts";
import type { Reach } from "./reach.ts";
import { createTens } from "./tens.ts";

export interface SettlementsOptions {
  readonly reach: Pick<Reach, "aws" | "ready">;
  readonly environment: TransportEnvironment;
  readonly leases: Leases;
  /** The queue's. */
  readonly url: () => string;
  readonly ending: AbortSignal;
  /** One more is carried out, or given up. */
  readonly onSettled: () => void;
  /** What was accepted was not deleted, and comes again. */
  readonly onGivenUp: (reason: unknown) => void;
  /** The account may not do it. It is tried again while the lease lasts: the permission may come. */
  readonly onRefused: (refusal: RequestFailure) => void;
}

export interface Settlements {
  /** Those that are not carried out. */
  readonly open: number;
  /** Its lease is kept until it is deleted. */
  accept(lease: Lease): void;
  /** Its lease is renewed no more. */
  release(lease: Lease): void;
  /** Its lease was lost: what was to be done is void. */
  lost(lease: Lease, reason: unknown): void;
  /** Resolves when none is open. @throws ABORTED */
  flush(signal: AbortSignal): Promise<void>;
}

const retryBackoff = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 } as const;

export function createSettlements(options: SettlementsOptions): Settlements {
  const { reach, environment, leases, url, ending } = options;
  const { clock } = environment;
  const settled = createNotice();
  let open = 0;

  function begin(lease: Lease, state: "accepted" | "released"): void {
    lease.state = state;
    open++;
  }

  function end(lease: Lease): void {
    if (lease.state === "over") return;
    lease.state = "over";
    leases.drop(lease);
    open--;
    settled.notify();
    options.onSettled();
  }

  function giveUp(lease: Lease, reason: unknown): void {
    const told = lease.state === "accepted" && !lease.perhapsDeleted && !ending.aborted;
    end(lease);
    if (told) options.onGivenUp(reason);
  }

  const ready = (): Promise<void> => reach.ready(ending).catch(() => undefined);
  const lasts = (lease: Lease): boolean => lease.state !== "over" && lease.endsAt > clock.monotonic();

  const deletions = createTens<Lease>(async (batch) => {
    await ready();
    const due = batch.filter(lasts);
    // A renewal that is on its way must not bring back what nobody will delete.
    for (const lease of batch) if (!due.includes(lease)) leases.lose(lease, expired());
    if (ending.aborted || due.length === 0) return;
    for (const lease of due) lease.deleting = true;
    const handles = due.map(({ receiptHandle }) => receiptHandle);
    const again: Lease[] = [];
    for (const [lease, outcome] of await outcomeOfEach(due, reach.aws.sqs.delete(url(), handles, ending))) {
      lease.deleting = false;
      if (!onDeleted(lease, outcome)) again.push(lease);
    }
    later(again, (lease) => deletions.add(lease));
  });

  /** @returns whether that was the end of it */
  function onDeleted(lease: Lease, outcome: Outcome): boolean {
    if (lease.state === "over") return true;
    if (isDone(outcome)) end(lease);
    // It was repeated and finds nothing any more, or somebody has taken the message back: no more than a lost lease.
    else if (isFinal(outcome)) end(lease);
    else {
      lease.perhapsDeleted ||= isUnknown(outcome);
      if (isRefusedAccess(outcome)) options.onRefused(outcome);
      if (lasts(lease)) return false;
      giveUp(lease, errorOf(outcome));
    }
    return true;
  }

  const givingBack = createTens<Lease>(async (batch) => {
    await ready();
    const due = batch.filter(lasts);
    // What has run out meanwhile is back by itself.
    for (const lease of batch) if (!due.includes(lease)) end(lease);
    if (ending.aborted || due.length === 0) return;
    const entries = due.map(({ receiptHandle }) => ({ receiptHandle, visibilitySeconds: 0 }));
    const again: Lease[] = [];
    for (const [lease, outcome] of await outcomeOfEach(due, reach.aws.sqs.changeVisibility(url(), entries, ending))) {
      // One that was perhaps carried out is not repeated: somebody else may have the message by now.
      if (isDone(outcome) || isFinal(outcome) || isUnknown(outcome)) end(lease);
      else again.push(lease);
      if (isRefusedAccess(outcome)) options.onRefused(outcome);
    }
    later(again, (lease) => givingBack.add(lease));
  });

  function later(again: readonly Lease[], add: (lease: Lease) => void): void {
    const [first] = again;
    if (first === undefined) return;
    for (const lease of again) lease.failures++;
    const waitMs = backoffDelay(retryBackoff, first.failures, environment.random());
    sleep(clock, waitMs, ending).then(
      () => again.forEach(add),
      () => undefined,
    );
  }

  return {
    get open() {
      return open;
    },

    accept(lease) {
      begin(lease, "accepted");
      deletions.add(lease);
    },

    release(lease) {
      leases.drop(lease);
      begin(lease, "released");
      // A renewal that overtakes the giving back would hide the message again.
      if (lease.renewing) lease.afterRenewal = () => givingBack.add(lease);
      else givingBack.add(lease);
    },

    lost(lease, reason) {
      if (lease.state === "pending") lease.state = "over";
      else giveUp(lease, reason);
    },

    async flush(signal) {
      while (open > 0) await abortable(settled.next, signal);
    },
  };
}
