import type { Settlement } from "@posthorn/core/transport";
import type { Entry } from "./entry.ts";
import type { Lease, Member, StoredRecord } from "./source.ts";

/** A message of a queue in a consumer's hands. A class, because its instances are told from foreign leases by it, and one is made for every delivery. */
export class QueueLease implements Lease {
  readonly entry: Entry;
  readonly member: Member;
  readonly deliveryCount: number;
  held = true;
  expiresAt: number;
  readonly #settle: (lease: QueueLease, settlement: Settlement) => void;

  constructor(
    entry: Entry,
    member: Member,
    expiresAt: number,
    settle: (lease: QueueLease, settlement: Settlement) => void,
  ) {
    this.entry = entry;
    this.member = member;
    this.deliveryCount = entry.deliveries;
    this.expiresAt = expiresAt;
    this.#settle = settle;
  }

  get record(): StoredRecord {
    return this.entry.record;
  }

  /** A settlement that is forgotten leaves the lease to run out. */
  settle(settlement: Settlement, forget: boolean): void {
    if (this.held && !forget) this.#settle(this, settlement);
  }
}
