import type { Message, Receipt } from "@posthorn/core/transport";

/** The messages of one dispatch, and what is known of each. */
export interface Batch {
  readonly messages: readonly Message[];
  readonly receipts: (Receipt | undefined)[];
  /** How many have been given to the channel, or refused before. */
  tried: number;
  /** How many have been sent and are not confirmed. */
  unconfirmed: number;
  /** Called when that falls to 0. */
  settled: () => void;
}

/**
 * What was published on one channel and is not confirmed, by delivery tag. The broker counts tags from 1 in the order of
 * publishing. Bounded by the dispatches under way.
 */
export interface Confirms {
  readonly size: number;
  /** Whether the broker has confirmed anything on this channel. */
  readonly confirmedAny: boolean;
  published(batch: Batch, index: number, routingKey: string): void;
  settle(tag: number, multiple: boolean, receipt: Receipt): void;
  /** Gives a receipt to the oldest message of this id and routing key, which the broker confirms afterwards all the same. */
  returned(id: string, routingKey: string, receipt: Receipt): void;
  /** The channel is gone: every message gets a receipt, and nothing is known any more. */
  fail(receiptFor: (message: Message, isLast: boolean) => Receipt): void;
}

/** Settled entries are removed from the front when there are this many. */
const compactAt = 4_096;

export function createConfirms(): Confirms {
  let batches: (Batch | undefined)[] = [];
  let indexes: number[] = [];
  let routingKeys: string[] = [];
  /** The tag of the first element, and the position of the first that is not confirmed. */
  let firstTag = 1;
  let head = 0;
  let size = 0;
  let confirmedAny = false;

  const settleAt = (position: number, receipt: Receipt): void => {
    const batch = batches[position];
    const index = indexes[position];
    if (batch === undefined || index === undefined) return;
    batches[position] = undefined;
    size--;
    batch.receipts[index] ??= receipt;
    if (--batch.unconfirmed === 0) batch.settled();
  };

  const advance = (): void => {
    while (head < batches.length && batches[head] === undefined) head++;
    if (head < compactAt && head < batches.length) return;
    batches.splice(0, head);
    indexes.splice(0, head);
    routingKeys.splice(0, head);
    firstTag += head;
    head = 0;
  };

  return {
    get size() {
      return size;
    },
    get confirmedAny() {
      return confirmedAny;
    },
    published(batch, index, routingKey) {
      batches.push(batch);
      indexes.push(index);
      routingKeys.push(routingKey);
      batch.unconfirmed++;
      size++;
    },
    settle(tag, multiple, receipt) {
      confirmedAny = true;
      const position = tag - firstTag;
      if (multiple) for (let earlier = head; earlier < position; earlier++) settleAt(earlier, receipt);
      settleAt(position, receipt);
      advance();
    },
    returned(id, routingKey, receipt) {
      for (let position = head; position < batches.length; position++) {
        const batch = batches[position];
        const index = indexes[position];
        if (batch === undefined || index === undefined || routingKeys[position] !== routingKey) continue;
        if (batch.receipts[index] !== undefined || batch.messages[index]?.id !== id) continue;
        batch.receipts[index] = receipt;
        return;
      }
    },
    fail(receiptFor) {
      for (let position = head; position < batches.length; position++) {
        const message = batches[position]?.messages[indexes[position] ?? 0];
        if (message !== undefined) settleAt(position, receiptFor(message, position === batches.length - 1));
      }
      batches = [];
      indexes = [];
      routingKeys = [];
    },
  };
}
