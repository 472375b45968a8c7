/** Sending much in few requests. */
import { batchSize } from "./tens.ts";

/**
 * Cuts into batches, in order: each of at most ten, and of at most `maxBytes` in all. One that is larger by itself is a batch of
 * its own.
 */
export function cutBatches<Entry extends { readonly bytes: number }>(
  entries: readonly Entry[],
  maxBytes: number,
): Entry[][] {
  const batches: Entry[][] = [];
  let batch: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (batch.length === 0 || batch.length === batchSize || bytes + entry.bytes > maxBytes) {
      batches.push((batch = []));
      bytes = 0;
    }
    batch.push(entry);
    bytes += entry.bytes;
  }
  return batches;
}

/**
 * Does the work for every item, in order, for at most `atATime` of them at a time.
 *
 * @param work never rejects
 */
export async function forEachAtMost<Item>(
  items: readonly Item[],
  atATime: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    // All of them take from the same iterator.
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
}
