import { LogLease } from "./log-lease.ts";
import type { Settle } from "./log-lease.ts";
import type { Cursor, Partition } from "./partition.ts";
import type { Place } from "./place.ts";
import type { StoredRecord } from "./source.ts";

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
  /** Waiting, and being looked at by an administrator. Nothing overtakes them. */
  readonly #visited = new Set<number>();

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
    const again = this.#released[0];
    const offset = again ?? this.#nextOffset();
    const record = this.#partition.at(offset);
    if (record === undefined || this.#visited.has(offset)) return undefined;
    if (again === undefined) this.#position = offset + 1;
    else this.#released.shift();
    const lease = new LogLease(record, offset, this, place, this.#settleLease);
    this.#leases.set(offset, lease);
    return lease;
  }

  /** @param forget keeps it from being committed until the next one is */
  accept(lease: LogLease, forget: boolean): void {
    this.#end(lease);
    this.#settled.add(lease.offset);
    if (!forget) this.#commit();
  }

  release(lease: LogLease): void {
    this.#end(lease);
    const after = this.#released.findIndex((offset) => offset > lease.offset);
    this.#released.splice(after < 0 ? this.#released.length : after, 0, lease.offset);
  }

  /** What was taken of the same key after it. */
  followers({ record, offset }: LogLease): readonly LogLease[] {
    if (record.key === undefined) return [];
    return [...this.#leases.values()].filter((other) => other.offset > offset && other.record.key === record.key);
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

  /** The oldest records that wait, with their offsets. */
  waiting(limit: number): readonly (readonly [offset: number, record: StoredRecord])[] {
    const found: (readonly [number, StoredRecord])[] = [];
    for (let offset = this.committed; offset < this.#partition.end && found.length < limit; offset++) {
      const record = this.#waits(offset) ? this.#partition.at(offset) : undefined;
      if (record !== undefined) found.push([offset, record]);
    }
    return found;
  }

  /** Keeps what waits from being taken; `undefined` when it waits no more. */
  hide(offset: number): StoredRecord | undefined {
    const record = this.#waits(offset) && !this.#visited.has(offset) ? this.#partition.at(offset) : undefined;
    if (record !== undefined) this.#visited.add(offset);
    return record;
  }

  /** Ends what `hide` began. */
  show(offset: number, remove: boolean): void {
    if (!this.#visited.delete(offset) || !remove) return;
    this.#remove(offset);
    this.#commit();
  }

  /** @returns how many records that were */
  purge(): number {
    const before = this.ready;
    for (let offset = this.committed; offset < this.#partition.end; offset++) {
      if (this.#waits(offset) && !this.#visited.has(offset)) this.#remove(offset);
    }
    const count = before - this.ready;
    this.#commit();
    return count;
  }

  close(): void {
    this.moveTo(undefined);
    this.#visited.clear();
    this.#partition.detach(this);
  }

  /** Neither done nor in anybody's hands. */
  #waits(offset: number): boolean {
    return offset >= this.committed && !this.#settled.has(offset) && !this.#leases.has(offset);
  }

  #end(lease: LogLease): void {
    lease.held = false;
    this.#leases.delete(lease.offset);
  }

  #remove(offset: number): void {
    this.#settled.add(offset);
    this.#purged.add(offset);
    const index = this.#released.indexOf(offset);
    if (index >= 0) this.#released.splice(index, 1);
  }

  /** The first that this owner has not had, or the partition's end. */
  #nextOffset(): number {
    this.#position = Math.max(this.#position, this.committed);
    while (this.#settled.has(this.#position)) this.#position++;
    return this.#position;
  }

  #commit(): void {
    const before = this.committed;
    while (this.#settled.delete(this.committed)) this.#purged.delete(this.committed++);
    if (this.committed > before) this.#partition.trim();
  }
}
