/**
 * Messages that a walk keeps from others: what it has received is out of their sight until it is removed or given back.
 *
 * They come in pages of ten, which are renewed and given back in one request each, and of which nothing is kept but the handles. The longer a
 * page is held, the longer it is asked for: so a long walk through many does little else than walk, and if this process dies, they are back
 * after at most as long again as they were held, and 15 minutes.
 */
import type { Backoff, Timer, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, createNotice, sleep } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import type { ReceivedMessage } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { awsError, classOf, isAnswered } from "./errors.ts";
import type { Outcome } from "./outcomes.ts";
import { isDone, isFinal, isUnknown, outcomesOf } from "./outcomes.ts";
import type { Reach } from "./reach.ts";
import { createTens } from "./tens.ts";

export interface HoldOptions {
  readonly reach: Pick<Reach, "aws" | "ready">;
  readonly asking: Asking;
  readonly environment: TransportEnvironment;
  /** The queue's. */
  readonly url: string;
  /** What errors call it. */
  readonly what: string;
  /** How long a page is asked for at first. */
  readonly visibilitySeconds: number;
  /** Some of them may be with others now. */
  readonly onLost: (reason: Error) => void;
}

export interface Received {
  readonly count: number;
  /** Those that were not held before, nor removed. */
  readonly fresh: readonly ReceivedMessage[];
}

export interface Hold {
  /** How many are gone from the queue. */
  readonly removed: number;
  /**
   * Holds what it receives, also when nobody waits for it any more; then until the end. Waits while too many removals are under way.
   *
   * @throws RequestFailure; ABORTED
   */
  receive(maxMessages: number, waitSeconds: number, signal: AbortSignal): Promise<Received>;
  /** By the id that SQS gave. */
  remove(messageId: string): void;
  /** Resolves when no removal is under way. @throws why one was not possible */
  settled(): Promise<void>;
  /** Gives everything back that is not being removed. Resolves when that has happened, or its time is over. Called once, at the end. */
  release(): Promise<void>;
}

const leastSeconds = 3;
const longestSeconds = 900;
/** SQS lets nobody have a message for longer than 12 hours. */
const longestHeldMs = 43_200_000;
const backoff: Backoff = { initialMs: 100, maxMs: 5_000 };
/** Removals, each of one message. */
const mostRemovals = 1_000;
/** Those that came back although they were removed, as may happen on standard queues, are removed again. */
const mostRemembered = 10_000;
/** Pages that are given back at a time, and that are renewed. */
const mostGivenBack = 8;
const mostRenewals = 16;

/** What came in one answer. */
interface Page {
  /** By the message's id. */
  readonly handles: Map<string, string>;
  readonly receivedAt: number;
  visibilitySeconds: number;
  endsAt: number;
  renewAt: number;
  failures: number;
}

export function createHold(options: HoldOptions): Hold {
  const { reach, asking, environment, url, what, onLost } = options;
  const { clock } = environment;
  const firstSeconds = Math.max(leastSeconds, options.visibilitySeconds);
  const ending = new AbortController();
  const changed = createNotice();
  const pages = new Set<Page>();
  const pageOf = new Map<string, Page>();
  const receiving = new Set<Promise<void>>();
  const removing = new Set<string>();
  const removedIds = new Set<string>();
  let removed = 0;
  let released = false;
  /** Renewals under way. */
  let renewing = 0;
  let failure: { readonly error: Error } | undefined;
  let timer: Timer | undefined;

  const pause = (failures: number): Promise<void> =>
    sleep(clock, backoffDelay(backoff, failures, environment.random()), ending.signal).catch(() => undefined);

  function drop(id: string): void {
    const page = pageOf.get(id);
    pageOf.delete(id);
    page?.handles.delete(id);
    if (page?.handles.size === 0) pages.delete(page);
  }

  function hold(messages: readonly ReceivedMessage[], askedAt: number): Received {
    const count = messages.length;
    if (count === 0) return { count, fresh: [] };
    const fresh = messages.filter(({ messageId }) => !pageOf.has(messageId));
    for (const { messageId } of messages) drop(messageId);
    const lastsMs = firstSeconds * 1_000;
    const page: Page = {
      handles: new Map(messages.map(({ messageId, receiptHandle }) => [messageId, receiptHandle])),
      receivedAt: askedAt,
      visibilitySeconds: firstSeconds,
      endsAt: askedAt + lastsMs,
      renewAt: askedAt + lastsMs / 3,
      failures: 0,
    };
    pages.add(page);
    for (const { messageId } of messages) pageOf.set(messageId, page);
    schedule();
    for (const { messageId } of fresh) if (removedIds.has(messageId)) remove(messageId);
    return { count, fresh: fresh.filter(({ messageId }) => !removedIds.has(messageId)) };
  }

  function schedule(): void {
    timer?.cancel();
    if (released || pages.size === 0) return;
    let next = Infinity;
    const mayRenew = renewing < mostRenewals;
    for (const { endsAt, renewAt } of pages) next = Math.min(next, endsAt, mayRenew ? renewAt : Infinity);
    timer = clock.setTimeout(look, Math.max(1, next - clock.monotonic()), { unref: true });
  }

  function look(): void {
    const now = clock.monotonic();
    for (const page of pages) {
      if (page.endsAt <= now)
        lose(page, new Error("Messages were out of others' sight no longer: that was not renewed."));
      else if (page.renewAt <= now && renewing < mostRenewals) {
        page.renewAt = Infinity;
        void renew(page);
      }
    }
    schedule();
  }

  function lose(page: Page, reason: Error): void {
    pages.delete(page);
    for (const id of page.handles.keys()) pageOf.delete(id);
    onLost(reason);
  }

  async function renew(page: Page): Promise<void> {
    const askedAt = clock.monotonic();
    const leftSeconds = Math.floor((page.receivedAt + longestHeldMs - askedAt) / 1_000) - 60;
    const longer = Math.min(page.visibilitySeconds * 2, Math.max(longestSeconds, firstSeconds), leftSeconds);
    // Then it ends when it ends.
    if (askedAt + longer * 1_000 <= page.endsAt) return;
    const held = [...page.handles];
    renewing++;
    const outcomes = await change(held, longer);
    renewing--;
    changed.notify();
    if (!pages.has(page) || released) {
      schedule();
      return;
    }
    const final = held.findIndex(([id], index) => page.handles.has(id) && !removing.has(id) && isLost(outcomes[index]));
    if (final >= 0) {
      lose(page, new Error("Messages that were out of others' sight are so no longer: SQS refuses to renew that."));
    } else if (held.every(([id], index) => !page.handles.has(id) || removing.has(id) || isDone(outcomes[index]))) {
      page.visibilitySeconds = longer;
      page.endsAt = askedAt + longer * 1_000;
      page.renewAt = askedAt + (longer * 1_000) / 3;
      page.failures = 0;
    } else page.renewAt = clock.monotonic() + backoffDelay(backoff, ++page.failures, environment.random());
    schedule();
  }

  function change(
    held: readonly (readonly [string, string])[],
    visibilitySeconds: number,
  ): Promise<readonly Outcome[]> {
    const entries = held.map(([, receiptHandle]) => ({ receiptHandle, visibilitySeconds }));
    return outcomesOf(reach.aws.sqs.changeVisibility(url, entries, ending.signal), entries.length);
  }

  function remove(id: string): void {
    if (removing.has(id)) return;
    removing.add(id);
    removals.add(id);
  }

  const removals = createTens<string>(async (ids) => {
    /** It is not known whether they were deleted. */
    const perhaps = new Set<string>();
    let left = ids;
    for (let failures = 1; left.length > 0; failures++) {
      if (failures > 1) await pause(failures);
      await reach.ready(ending.signal).catch(() => undefined);
      const isHeld = (id: string): boolean => (pageOf.get(id)?.endsAt ?? 0) > clock.monotonic();
      for (const id of left) if (ending.signal.aborted || !isHeld(id)) over(id, new Error("A removal came too late."));
      left = left.filter((id) => removing.has(id));
      if (left.length === 0) return;
      const handles = left.map((id) => pageOf.get(id)?.handles.get(id) ?? "");
      const outcomes = await outcomesOf(reach.aws.sqs.delete(url, handles, ending.signal), left.length);
      left.forEach((id, index) => {
        const outcome = outcomes[index];
        if (outcome === undefined) return;
        if (isUnknown(outcome)) perhaps.add(id);
        if (isDone(outcome) || (perhaps.has(id) && isStale(outcome))) over(id);
        else if (isRefused(outcome))
          over(id, "ok" in outcome && !outcome.ok ? awsError(outcome, what) : (outcome as Error));
      });
      left = left.filter((id) => removing.has(id));
    }
  });

  /** @param reason why it was not removed */
  function over(id: string, reason?: Error): void {
    removing.delete(id);
    if (reason === undefined) {
      drop(id);
      if (!removedIds.has(id)) removed++;
      removedIds.add(id);
      const [oldest] = removedIds;
      if (removedIds.size > mostRemembered && oldest !== undefined) removedIds.delete(oldest);
    } else failure ??= { error: reason };
    changed.notify();
  }

  async function giveBack(page: Page): Promise<void> {
    const late = new AbortController();
    const lateTimer = clock.setTimeout(() => late.abort(), page.endsAt - clock.monotonic(), { unref: true });
    for (let failures = 0; !late.signal.aborted; failures++) {
      if (failures > 0) await abortable(pause(failures), late.signal).catch(() => undefined);
      if (
        !(await reach.ready(late.signal).then(
          () => true,
          () => false,
        ))
      )
        break;
      const held = [...page.handles].filter(([id]) => !removing.has(id));
      if (held.length === 0) break;
      const outcomes = await change(held, 0);
      held.forEach(([id], index) => {
        const outcome = outcomes[index];
        if (isDone(outcome) || (outcome !== undefined && isFinal(outcome))) drop(id);
      });
    }
    lateTimer.cancel();
  }

  return {
    get removed() {
      return removed;
    },

    async receive(maxMessages, waitSeconds, signal) {
      while (removing.size >= mostRemovals) await abortable(changed.next, signal);
      return asking.whileAnswered(({ sqs }) => {
        const askedAt = clock.monotonic();
        const request = { maxMessages, waitSeconds, visibilitySeconds: firstSeconds };
        const received = sqs.receive(url, request, ending.signal).then((messages) => hold(messages, askedAt));
        const done = received.then(
          () => undefined,
          () => undefined,
        );
        receiving.add(done);
        void done.finally(() => receiving.delete(done));
        return received;
      }, signal);
    },

    remove,

    async settled() {
      while (removing.size > 0) await changed.next;
      if (failure !== undefined) throw failure.error;
    },

    async release() {
      released = true;
      timer?.cancel();
      // One that overtakes the giving back would hide the messages again.
      while (renewing > 0) await changed.next;
      const rest = async (): Promise<void> => {
        const all = pages.values();
        await Promise.all(
          Array.from({ length: mostGivenBack }, async () => {
            for (const page of all) await giveBack(page);
          }),
        );
      };
      await rest();
      if (receiving.size > 0) {
        await Promise.all(receiving);
        await rest();
      }
      while (removing.size > 0) await changed.next;
      ending.abort();
    },
  };
}

/** Whoever has the message now, it is not this one. */
function isLost(outcome: Outcome | undefined): boolean {
  return outcome !== undefined && isFinal(outcome);
}

/** It will not be removed by being asked for again. */
function isRefused(outcome: Outcome): boolean {
  if (isFinal(outcome)) return true;
  if (!(outcome instanceof RequestFailure) || !isAnswered(outcome)) return false;
  const kind = classOf(outcome.code, outcome.httpStatus);
  return kind === "access" || kind === "authentication" || kind === "fatal";
}

function isStale(outcome: Outcome): boolean {
  return "ok" in outcome && !outcome.ok && (classOf(outcome.code) === "stale" || classOf(outcome.code) === "invalid");
}
