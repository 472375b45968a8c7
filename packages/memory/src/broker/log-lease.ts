import type { Settlement } from "@posthorn/core/transport";
import type { Place } from "./place.ts";
import type { Slot } from "./slot.ts";
import type { Lease, StoredRecord } from "./source.ts";

export type Settle = (lease: LogLease, settlement: Settlement, forget: boolean) => void;

/** A record of a partition in the hands of the partition's owner. */
export class LogLease implements Lease {
  readonly record: StoredRecord;
  readonly offset: number;
  readonly slot: Slot;
  readonly place: Place;
  /** A log counts nothing. */
  readonly deliveryCount = undefined;
  held = true;
  readonly #settle: Settle;

  constructor(record: StoredRecord, offset: number, slot: Slot, place: Place, settle: Settle) {
    this.record = record;
    this.offset = offset;
    this.slot = slot;
    this.place = place;
    this.#settle = settle;
  }

  settle(settlement: Settlement, forget: boolean): void {
    if (this.held) this.#settle(this, settlement, forget);
  }
}
