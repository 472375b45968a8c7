/** A queue: every message is leased, settled and given back on its own, as on RabbitMQ and SQS. */
import type { Clock, Depth, Settlement, Timer } from "@posthorn/core/transport";
import { createDeque } from "./deque.ts";
import type { Faults } from "./faults.ts";
import type { BrokerSource, Lease, Member, Membership, Refusal, StoredRecord } from "./source.ts";

export interface QueueSettings {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly leaseMs: number;
  /** Most messages it holds, leased ones included. */
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** How often a message may be lost by its consumers before it is dead-lettered. */
  readonly deliveryLimit: number;
  /** Deliver in no order. */
  readonly shuffle: boolean;
}

export interface Queue extends BrokerSource {
  /** Why it could not take the record now. */
  refusal(record: StoredRecord): Refusal | undefined;
}

interface Entry {
  readonly record: StoredRecord;
  deliveries: number;
  losses: number;
}

/** A class, because its instances are told from foreign leases by it, and one is made for every delivery. */
class QueueLease implements Lease {
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

/** @param exhausted takes a record whose consumers lost it too often; false where it cannot, and the record stays */
export function createQueue(
  name: string,
  settings: QueueSettings,
  exhausted?: (record: StoredRecord) => boolean,
): Queue {
  const { clock, faults } = settings;
  const ready = createDeque<Entry>();
  /** By expiry, since all leases are equally long and a renewed one moves to the end. */
  const leases = new Set<QueueLease>();
  const members: Member[] = [];
  const places = new Map<Member, { active: boolean }>();
  let bytes = 0;
  let turn = 0;
  let expiry: Timer | undefined;

  /** Every member is asked, each time beginning with another: they share what comes. */
  function wake(): void {
    turn++;
    for (let index = 0; index < members.length; index++) members[(turn + index) % members.length]?.onReady();
  }

  /** To the front, in the order in which they were delivered. */
  function giveBack(back: readonly QueueLease[], lost: boolean): void {
    for (const lease of back.toReversed()) {
      lease.held = false;
      leases.delete(lease);
      const { entry, record } = lease;
      const exceeded = lost && ++entry.losses >= settings.deliveryLimit;
      if (exceeded && exhausted?.(record) === true) bytes -= record.bytes.byteLength;
      else ready.pushFront(entry);
    }
    if (back.length > 0) wake();
  }

  function watchExpiry(): void {
    const [first] = leases;
    if (expiry !== undefined || first === undefined) return;
    expiry = clock.setTimeout(
      () => {
        expiry = undefined;
        expire();
        watchExpiry();
      },
      Math.max(0, first.expiresAt - clock.now()),
      { unref: true },
    );
  }

  function expire(): void {
    const now = clock.now();
    const over: QueueLease[] = [];
    for (const lease of leases) {
      if (lease.expiresAt > now) break;
      over.push(lease);
    }
    giveBack(over, true);
    for (const lease of over) lease.member.onLost(lease);
  }

  function revoke(): void {
    const over = [...leases];
    giveBack(over, true);
    for (const lease of over) lease.member.onLost(lease);
  }

  function stopWatching(): void {
    expiry?.cancel();
    expiry = undefined;
  }

  function take(member: Member): Lease | undefined {
    const anywhere = settings.shuffle || faults.happens("reorder");
    const entry = anywhere && ready.size > 1 ? ready.takeSwapped(faults.pick(ready.size)) : ready.takeFront();
    if (entry === undefined) return undefined;
    entry.deliveries++;
    const lease = new QueueLease(entry, member, clock.now() + settings.leaseMs, settle);
    leases.add(lease);
    watchExpiry();
    return lease;
  }

  function settle(lease: QueueLease, settlement: Settlement): void {
    if (settlement === "release") {
      giveBack([lease], false);
      return;
    }
    lease.held = false;
    leases.delete(lease);
    bytes -= lease.record.bytes.byteLength;
  }

  function renew(member: Member, held: Iterable<Lease>): void {
    const expiresAt = clock.now() + settings.leaseMs;
    for (const lease of held) {
      if (!(lease instanceof QueueLease) || !lease.held || lease.member !== member) continue;
      lease.expiresAt = expiresAt;
      leases.delete(lease);
      leases.add(lease);
    }
  }

  function join(member: Member): Membership {
    const place = { active: true };
    let draining = false;
    members.push(member);
    places.set(member, place);
    const stepBack = (): void => {
      const index = members.indexOf(member);
      if (index >= 0) members.splice(index, 1);
    };
    return {
      get active() {
        return place.active;
      },
      take: () => (place.active && !draining ? take(member) : undefined),
      heartbeat: (held) => renew(member, held),
      drain() {
        draining = true;
        stepBack();
      },
      leave() {
        if (!place.active) return;
        place.active = false;
        places.delete(member);
        stepBack();
        giveBack(
          [...leases].filter((lease) => lease.member === member),
          true,
        );
        if (leases.size === 0) stopWatching();
      },
    };
  }

  function refusal(record: StoredRecord): Refusal | undefined {
    if (ready.size + leases.size >= settings.maxMessages)
      return {
        reason: "full",
        detail: `The queue "${name}" holds ${settings.maxMessages} messages, its limit (maxMessages).`,
      };
    if (bytes + record.bytes.byteLength > settings.maxBytes)
      return {
        reason: "full",
        detail: `The queue "${name}" holds ${bytes} bytes; its limit is ${settings.maxBytes} (maxBytes).`,
      };
    return undefined;
  }

  function append(record: StoredRecord): Refusal | undefined {
    const refused = refusal(record);
    if (refused !== undefined) return refused;
    const copies = faults.happens("duplicate") ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      ready.pushBack({ record, deliveries: 0, losses: 0 });
      bytes += record.bytes.byteLength;
    }
    wake();
    return undefined;
  }

  function depth(): Depth {
    let oldest = Infinity;
    for (const entry of ready) oldest = Math.min(oldest, entry.record.time);
    return {
      ready: ready.size,
      inFlight: leases.size,
      oldestAgeMs: ready.size === 0 ? undefined : Math.max(0, clock.now() - oldest),
    };
  }

  return {
    name,
    get members() {
      return places.size;
    },
    refusal,
    append,
    join,
    revoke,
    depth,
    browse: (limit) =>
      Array.from(ready, (entry) => entry.record)
        .sort((one, other) => one.sequence - other.sequence)
        .slice(0, limit),
    purge() {
      const count = ready.size;
      for (const entry of ready) bytes -= entry.record.bytes.byteLength;
      ready.clear();
      return count;
    },
    destroy() {
      stopWatching();
      const told = [...places.keys()];
      for (const place of places.values()) place.active = false;
      for (const lease of leases) lease.held = false;
      places.clear();
      members.length = 0;
      leases.clear();
      ready.clear();
      for (const member of told) member.onEnded("deleted");
    },
  };
}
