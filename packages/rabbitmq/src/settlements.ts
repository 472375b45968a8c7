import type { Clock } from "@posthorn/core/transport";

/** What is told to the broker. Both throw when the channel is gone. */
export interface Acknowledger {
  /** @param upTo also everything older that is still open */
  ack(tag: number, upTo: boolean): void;
  giveBack(tag: number): void;
}

/** The open deliveries of one channel, and how their settlements travel: runs from the oldest on in one frame, the rest singly. */
export interface Settlements {
  /** Deliveries that are not settled. */
  readonly open: number;
  add(tag: number): void;
  accept(tag: number): void;
  release(tag: number): void;
  /** So many were told in a short time, the last of them so lately, that the broker may not have taken all of them in. */
  readonly bursting: boolean;
  /** Sends what is gathered. */
  flush(): void;
  /** The channel is gone: whatever is open or gathered is void. */
  discard(): void;
}

/** So many acceptances are sent without waiting for the turn of the event loop to end. */
const mostGathered = 128;

/**
 * A second settlement of a tag, or one of an old channel, would make the broker close the channel and return everything
 * in flight; here it does nothing.
 */
/** A queue takes 32 settlements of a channel at once; we see ours earlier than it does. */
const burstSize = 16;
/** How long the broker is given to write those it keeps back. */
export const settleGraceMs = 250;

export function createSettlements(acknowledger: Acknowledger, clock: Pick<Clock, "monotonic">): Settlements {
  /** Tag → accepted and not yet told. In the order of the tags, which rise. Bounded by the prefetch of the channel's consumers. */
  const deliveries = new Map<number, boolean>();
  let gathered: number[] = [];
  let open = 0;
  let scheduled = false;
  let discarded = false;
  /** Told since the last pause of `settleGraceMs`. */
  let toldLately = 0;
  let toldAt = Number.NEGATIVE_INFINITY;

  const isLately = (): boolean => clock.monotonic() - toldAt < settleGraceMs;

  const discard = (): void => {
    discarded = true;
    deliveries.clear();
    gathered = [];
    open = 0;
  };

  const tell = (work: () => void): void => {
    if (!isLately()) toldLately = 0;
    toldAt = clock.monotonic();
    try {
      work();
    } catch {
      // The channel went away; its close event follows, and the broker delivers again.
      discard();
    }
  };

  const flush = (): void => {
    if (gathered.length === 0) return;
    const accepted = gathered;
    gathered = [];
    tell(() => {
      const reached = ackFromOldest();
      for (const tag of accepted) {
        if (tag <= reached) continue;
        acknowledger.ack(tag, false);
        toldLately++;
        deliveries.delete(tag);
      }
    });
  };

  /** @returns the highest tag of the unbroken run of acceptances, 0 when there is none */
  const ackFromOldest = (): number => {
    let reached = 0;
    let length = 0;
    for (const [tag, accepted] of deliveries) {
      if (!accepted) break;
      reached = tag;
      length++;
      deliveries.delete(tag);
    }
    if (length > 0) {
      acknowledger.ack(reached, length > 1);
      toldLately++;
    }
    return reached;
  };

  const onTurn = (): void => {
    scheduled = false;
    flush();
  };

  return {
    get open() {
      return open;
    },
    add(tag) {
      if (discarded) return;
      deliveries.set(tag, false);
      open++;
    },
    accept(tag) {
      if (deliveries.get(tag) !== false) return;
      deliveries.set(tag, true);
      open--;
      gathered.push(tag);
      if (gathered.length >= mostGathered) flush();
      else if (!scheduled) {
        scheduled = true;
        setImmediate(onTurn);
      }
    },
    release(tag) {
      if (deliveries.get(tag) !== false) return;
      deliveries.delete(tag);
      open--;
      tell(() => {
        acknowledger.giveBack(tag);
        toldLately++;
      });
    },
    get bursting() {
      return toldLately > burstSize && isLately();
    },
    flush,
    discard,
  };
}
