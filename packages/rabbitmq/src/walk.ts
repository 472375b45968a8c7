/** Going once through the messages of a queue. */
import { createNotice } from "@posthorn/core/transport";
import type { Clock, Visit, WalkOptions } from "@posthorn/core/transport";
import type { Channel, ConsumeMessage } from "amqplib";
import { decodeMessage } from "./decode.ts";
import type { Fetched } from "./pages.ts";
import { createPages } from "./pages.ts";

/** What came of it. */
export interface Walked {
  readonly visited: number;
  /** A visit said that it was the last. */
  readonly stopped: boolean;
  /** The error of a visit that failed. */
  readonly failure: { readonly error: unknown } | undefined;
}

/**
 * What is kept stays unacknowledged until the end. Before RabbitMQ 4.3 that counts as a delivery, so that walking through an
 * inlet again and again wears its messages out; a dead-letter queue has no limit.
 *
 * When the signal fires it gives everything back, and resolves.
 *
 * @param count how many messages wait
 * @throws what the broker says; when the channel is closed
 */
export async function walkQueue(
  channel: Channel,
  queue: string,
  count: number,
  visit: Visit,
  { limit, maxPending, signal }: WalkOptions,
  clock: Clock,
): Promise<Walked> {
  const pages = createPages(channel, queue, count, clock);
  const changed = createNotice();
  let over = signal.aborted;
  let visited = 0;
  let pending = 0;
  let stopped = false;
  let failure: Walked["failure"];

  const giveUp = (): void => {
    over = true;
    changed.notify();
  };
  const goingOn = (): boolean => visited < limit && failure === undefined && !stopped && !over;
  const settle = async ({ message, remove }: Fetched): Promise<void> => {
    try {
      const verdict = await visitOne(visit, message);
      if (verdict === "stop") stopped = true;
      if (verdict === "remove" && !over) remove();
    } catch (error) {
      failure ??= { error };
    }
    pending--;
    changed.notify();
  };

  signal.addEventListener("abort", giveUp, { once: true });
  channel.once("close", giveUp);
  try {
    while (goingOn()) {
      if (pending >= maxPending) {
        await changed.next;
        continue;
      }
      const fetched = await pages.next();
      if (fetched === undefined) break;
      if (!goingOn()) break;
      visited++;
      pending++;
      void settle(fetched);
    }
    while (pending > 0 && !over) await changed.next;
    // A removal from here on would be of what is given back.
    over = true;
    await pages.giveBack();
    return { visited, stopped, failure };
  } finally {
    over = true;
    signal.removeEventListener("abort", giveUp);
    channel.off("close", giveUp);
  }
}

/** The contract does not forbid a visit to throw at once. */
async function visitOne(visit: Visit, message: ConsumeMessage): ReturnType<Visit> {
  return visit(decodeMessage(message).message);
}
