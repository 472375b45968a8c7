/** A partition as a broker keeps it, as far as producers can tell, for tests. */
import type { ProduceBatch } from "./client.ts";
import { errorCodes } from "./errors.ts";

interface KnownProducer {
  epoch: number;
  lastSequence: number;
  /** The latest, of this epoch. */
  batches: { readonly first: number; readonly last: number }[];
}

const sequenceMask = 0x7fff_ffff;
const knownBatches = 5;

export class PartitionLog {
  /** The values of what was appended. */
  readonly values: string[] = [];
  readonly #producers = new Map<bigint, KnownProducer>();

  /**
   * Source: `ProducerAppendInfo` and `ProducerStateEntry` in `org.apache.kafka.storage.internals.log`.
   *
   * @returns the protocol's error code
   */
  append({ producerId, producerEpoch, firstSequence, records }: ProduceBatch): number {
    const last = (firstSequence + records.length - 1) & sequenceMask;
    const known = this.#producers.get(producerId);
    if (known !== undefined) {
      if (producerEpoch < known.epoch) return errorCodes.INVALID_PRODUCER_EPOCH;
      const isNewEpoch = producerEpoch > known.epoch;
      if (!isNewEpoch && known.batches.some((batch) => batch.first === firstSequence && batch.last === last)) return 0;
      const expected = isNewEpoch ? 0 : (known.lastSequence + 1) & sequenceMask;
      if (firstSequence !== expected) return errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER;
    }
    const batches = known?.epoch === producerEpoch ? known.batches : [];
    batches.push({ first: firstSequence, last });
    this.#producers.set(producerId, {
      epoch: producerEpoch,
      lastSequence: last,
      batches: batches.slice(-knownBatches),
    });
    for (const { value } of records) this.values.push(value === null ? "" : Buffer.from(value).toString());
    return 0;
  }

  /** As after the loss of all that is known of producers, and of records. */
  forget(): void {
    for (const known of this.#producers.values()) {
      known.batches = [];
      known.lastSequence = 12_345;
    }
  }
}
