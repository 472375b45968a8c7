/** Going once through messages that wait, for adapters whose brokers can be asked for one after the other. */
import { createNotice } from "./abort.ts";
import type { Message } from "./message.ts";
import type { Verdict, Visit, WalkOptions } from "./transport.ts";

/** Messages that wait, oldest first as far as the broker keeps an order. */
export interface WaitingMessages {
  /** `undefined` when there are no more of those that waited at first. */
  next(): Promise<WaitingMessage | undefined>;
  /** When all are settled that were visited. Resolves when what is to be removed is gone. */
  finish(): Promise<void>;
}

/** Stays where it is until it is settled. */
export interface WaitingMessage {
  readonly message: Message;
  settle(remove: boolean): void;
}

/**
 * Shows them to the visitor, at most `maxPending` at a time.
 *
 * @param end fires when the walk is to end at once: nothing is settled from then on
 * @throws the error of a visit that failed, when the others that are pending have ended; of {@link WaitingMessages}; the reason of `end`
 */
export async function walkThrough(
  waiting: WaitingMessages,
  visit: Visit,
  { limit, maxPending }: Pick<WalkOptions, "limit" | "maxPending">,
  end: AbortSignal,
): Promise<void> {
  const changed = createNotice();
  let visited = 0;
  let pending = 0;
  let stopped = false;
  let failure: { readonly error: unknown } | undefined;

  const onEnd = (): void => changed.notify();
  const goesOn = (): boolean => visited < limit && !stopped && failure === undefined && !end.aborted;
  const fail = (error: unknown): void => void (failure ??= { error });
  const show = async (each: WaitingMessage): Promise<void> => {
    let verdict: Verdict = "keep";
    try {
      verdict = await visit(each.message);
    } catch (error) {
      fail(error);
    }
    pending--;
    if (verdict === "stop") stopped = true;
    if (!end.aborted) each.settle(verdict === "remove");
    changed.notify();
  };

  end.addEventListener("abort", onEnd);
  try {
    while (goesOn()) {
      if (pending >= maxPending) {
        await changed.next;
        continue;
      }
      const next = await waiting.next().catch(fail);
      if (next === undefined || !goesOn()) break;
      visited++;
      pending++;
      void show(next);
    }
    while (pending > 0 && !end.aborted) await changed.next;
    end.throwIfAborted();
    // What was said before a failure counts.
    await waiting.finish().catch(fail);
  } finally {
    end.removeEventListener("abort", onEnd);
  }
  if (failure !== undefined) throw failure.error;
}
