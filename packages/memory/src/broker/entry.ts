import type { Lane } from "./lanes.ts";
import type { Linked } from "./linked-list.ts";
import type { QueueLease } from "./queue-lease.ts";
import type { StoredRecord } from "./source.ts";

/** A message in a queue, whether it waits or is in somebody's hands. */
export class Entry implements Linked<Entry> {
  readonly record: StoredRecord;
  /** Its place: ascending in the order of acceptance. */
  readonly place: number;
  deliveries = 0;
  losses = 0;
  /** Its key's, on an ordered queue. */
  lane: Lane | undefined;
  lease: QueueLease | undefined;
  /** In nobody's hands. */
  waiting = false;
  /** Waits, but an administrator looks at it. */
  visited = false;
  previous: Entry | undefined;
  next: Entry | undefined;

  constructor(record: StoredRecord, place: number) {
    this.record = record;
    this.place = place;
  }
}
