import type { Settlement } from "@posthorn/core/transport";
import type { Cursor, Partition } from "./partition.ts";
import type { Place } from "./place.ts";
import type { Lease, StoredRecord } from "./source.ts";

type Settle = (lease: LogLease, settlement: Settlement, forget: boolean) => void;

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

/**
 * One partition as one group sees it.
 *
 * Below `committed` everything is done, for good. Above it the group knows what is done and what is under way only as long
 * as the partition has the same owner: the next one begins again at `committed`.
 */
export class Slot implements Cursor {
  owner: Place | undefined;
  committed: number;
  readonly #partition: Partition;
  readonly #settleLease: Settle;
  /** The next offset that was never taken by this owner. */
  #position: number;
  /** Done, behind a gap. */
  readonly #settled = new Set<number>();
  /** Purged, behind a gap: done whoever the owner is. */
  readonly #purged = new Set<number>();
  /** Released, to be taken again, ascending. */
  readonly #released: number[] = [];
  readonly #leases = new Map<number, LogLease>();

  constructor(partition: Partition, settle: Settle) {
    this.#partition = partition;
    this.#settleLease = settle;
    this.committed = partition.end;
    this.#position = partition.end;
    partition.attach(this);
  }

  get busy(): boolean {
    return this.#leases.size > 0;
  }

  get inFlight(): number {
    return this.#leases.size;
  }

  /** How many records wait. */
  get ready(): number {
    return this.#partition.end - this.committed - this.#settled.size - this.#leases.size;
  }

  take(place: Place): LogLease | undefined {
    const offset = this.#released.shift() ?? this.#nextOffset();
    const record = offset === undefined ? undefined : this.#partition.at(offset);
    if (offset === undefined || record === undefined) return undefined;
    const lease = new LogLease(record, offset, this, place, this.#settleLease);
    this.#leases.set(offset, lease);
    return lease;
  }

  /** @param forget keeps it from being committed until the next one is */
  settle(lease: LogLease, settlement: Settlement, forget: boolean): void {
    lease.held = false;
    this.#leases.delete(lease.offset);
    if (settlement === "release") {
      const after = this.#released.findIndex((offset) => offset > lease.offset);
      this.#released.splice(after < 0 ? this.#released.length : after, 0, lease.offset);
      return;
    }
    this.#settled.add(lease.offset);
    if (!forget) this.#commit();
  }

  /** @returns the leases that died with the old owner's turn */
  moveTo(owner: Place | undefined): readonly LogLease[] {
    const lost = [...this.#leases.values()];
    for (const lease of lost) lease.held = false;
    this.#leases.clear();
    this.#released.length = 0;
    this.#settled.clear();
    for (const offset of this.#purged) this.#settled.add(offset);
    this.#position = this.committed;
    this.owner = owner;
    return lost;
  }

  /** The oldest records that wait. */
  waiting(limit: number): readonly StoredRecord[] {
    const found: StoredRecord[] = [];
    for (let offset = this.committed; offset < this.#partition.end && found.length < limit; offset++) {
      if (this.#settled.has(offset) || this.#leases.has(offset)) continue;
      const record = this.#partition.at(offset);
      if (record !== undefined) found.push(record);
    }
    return found;
  }

  /** @returns how many records that were */
  purge(): number {
    const count = this.ready;
    for (let offset = this.committed; offset < this.#partition.end; offset++) {
      if (this.#settled.has(offset) || this.#leases.has(offset)) continue;
      this.#settled.add(offset);
      this.#purged.add(offset);
    }
    this.#released.length = 0;
    this.#commit();
    return count;
  }

  close(): void {
    this.moveTo(undefined);
    this.#partition.detach(this);
  }

  #nextOffset(): number | undefined {
    this.#position = Math.max(this.#position, this.committed);
    while (this.#position < this.#partition.end) {
      const offset = this.#position++;
      if (!this.#settled.has(offset)) return offset;
    }
    return undefined;
  }

  #commit(): void {
    const before = this.committed;
    while (this.#settled.delete(this.committed)) this.#purged.delete(this.committed++);
    if (this.committed > before) this.#partition.trim();
  }
}
