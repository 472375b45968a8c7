/**
 * What waits in a queue, as far as SQS shows it: one receives until nothing comes any more, and holds what came.
 *
 * A message that was sent after the walk began is none of it. The clocks of this computer and of SQS may differ, so messages are taken
 * by their number as well: at least as many as SQS says were there.
 */
import type { Clock, Message, WaitingMessage, WaitingMessages } from "@posthorn/core/transport";
import { abortable, createNotice } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import { isRefusedAccess } from "./asking.ts";
import type { ReceivedMessage } from "./aws.ts";
import { decodeMessage } from "./decode.ts";
import type { Hold } from "./hold.ts";

export interface QueueOptions {
  readonly asking: Asking;
  readonly hold: Pick<Hold, "receive" | "remove" | "settled" | "removed">;
  readonly clock: Clock;
  readonly url: string;
  readonly fifo: boolean;
  /** Most that are taken. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

/** Most that SQS gives at once. */
const pageSize = 10;
/** With such a wait SQS asks all of its servers; without one only some, so that an empty answer says little. */
const sureSeconds = 1;
/** After so many pages in a row with nothing but what came later, nothing older is believed to be left. */
const mostLatePages = 3;

export interface Count {
  readonly ready: number;
  readonly inFlight: number;
}

/** By SQS's estimate. @throws RequestFailure; ABORTED */
export async function countOf(asking: Asking, url: string, signal: AbortSignal): Promise<Count> {
  const attributes = await asking.whileAnswered(({ sqs }) => sqs.queueAttributes(url, signal), signal);
  return {
    ready: Number(attributes["ApproximateNumberOfMessages"] ?? 0),
    inFlight: Number(attributes["ApproximateNumberOfMessagesNotVisible"] ?? 0),
  };
}

/** `next` may be called by several at the same time. */
export async function waitingInQueue(options: QueueOptions): Promise<WaitingMessages> {
  const { asking, hold, clock, url, fifo, limit, signal } = options;
  const beganAt = clock.now();
  /** 0 also where the account may not see it. */
  const expected = await readyOrUnknown(0);
  const settledOne = createNotice();
  const page: ReceivedMessage[] = [];
  /** Those that were given out, or are in the page. */
  let taken = 0;
  let unsettled = 0;
  let latePages = 0;
  let over = false;

  async function readyOrUnknown(unknown: number): Promise<number> {
    try {
      return (await countOf(asking, url, signal)).ready;
    } catch (error) {
      if (isRefusedAccess(error)) return unknown;
      throw error;
    }
  }

  /** @returns whether anything came */
  async function takePage(waitSeconds: number): Promise<boolean> {
    const { count, fresh } = await hold.receive(Math.min(pageSize, limit - taken), waitSeconds, signal);
    if (count === 0) return false;
    let isLate = true;
    // Of a message group they come in their order.
    for (const message of fifo ? fresh : fresh.toSorted((one, other) => one.sentAt - other.sentAt)) {
      if (message.sentAt > beganAt && taken >= expected) continue;
      isLate = false;
      taken++;
      page.push(message);
    }
    latePages = isLate ? latePages + 1 : 0;
    if (latePages === mostLatePages) over = true;
    return true;
  }

  /** @returns whether there was anything more to be taken */
  async function takeMore(): Promise<boolean> {
    if (taken < expected) return takePage(sureSeconds);
    if (await takePage(0)) return true;
    // Both say that there is no more, and there was what SQS had said: then it need not be asked for long.
    if (expected > 0 && (await readyOrUnknown(1)) === 0) return false;
    return takePage(sureSeconds);
  }

  /** SQS shows nothing of a message group while some of it is held. When that is gone there may be more. */
  async function isUncovered(removedBefore: number): Promise<boolean> {
    if (!fifo) return false;
    while (unsettled > 0) await abortable(settledOne.next, signal);
    await abortable(hold.settled(), signal);
    return hold.removed > removedBefore;
  }

  function give({ messageId }: ReceivedMessage, message: Message): WaitingMessage {
    unsettled++;
    return {
      message,
      settle(remove) {
        unsettled--;
        if (remove) hold.remove(messageId);
        settledOne.notify();
      },
    };
  }

  return {
    async next() {
      for (;;) {
        const received = page.shift();
        if (received !== undefined) return give(received, decodeMessage(received).message);
        if (over || taken >= limit) return undefined;
        const removedBefore = hold.removed;
        if (!(await takeMore()) && !(await isUncovered(removedBefore))) over = true;
      }
    },
    finish: () => hold.settled(),
  };
}
