import type { Slot } from "./slot.ts";
import type { Lease, Member } from "./source.ts";

/** A member's place in a consumer group. */
export class Place {
  readonly member: Member;
  /** The partitions it has. */
  slots: readonly Slot[] = [];
  active = true;
  draining = false;
  /** When its last heartbeat came, in milliseconds since the Unix epoch. */
  lastSeen: number;
  #turn = 0;

  constructor(member: Member, now: number) {
    this.member = member;
    this.lastSeen = now;
  }

  /** Its partitions take turns, so that none waits for another. */
  take(): Lease | undefined {
    if (!this.active || this.draining) return undefined;
    for (let tried = 0; tried < this.slots.length; tried++) {
      const lease = this.slots[this.#turn++ % this.slots.length]?.take(this);
      if (lease !== undefined) return lease;
    }
    return undefined;
  }
}
