/**
 * A queue: every message is leased, settled and given back on its own, as on RabbitMQ and SQS.
 *
 * An ordered one gives the messages of a key in the order of their acceptance, and while a member holds one of them, further ones to
 * that member only; with a message that comes back comes all of its key that was taken after it. So does a FIFO queue of SQS.
 */
import type { Clock, Depth, Settlement, Timer } from "@posthorn/core/transport";
import { createBacklog } from "./backlog.ts";
import { Entry } from "./entry.ts";
import type { Faults } from "./faults.ts";
import { QueueLease } from "./queue-lease.ts";
import type { BrokerSource, Lease, Member, Membership, Refusal, StoredRecord, Walk } from "./source.ts";
import { createWalk } from "./walk.ts";

export interface QueueSettings {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly leaseMs: number;
  /** Most messages it holds, leased ones included. */
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** How often a message may be lost by its consumers before it is dead-lettered. */
  readonly deliveryLimit: number;
  /** Deliver in no order, but that of the keys on an ordered queue. */
  readonly shuffle: boolean;
}

export interface Queue extends BrokerSource {
  /** Why it could not take the record now. */
  refusal(record: StoredRecord): Refusal | undefined;
}

/** @param exhausted takes a record whose consumers lost it too often; false where it cannot, and the record stays */
export function createQueue(
  name: string,
  ordered: boolean,
  settings: QueueSettings,
  exhausted?: (record: StoredRecord) => boolean,
): Queue {
  const { clock, faults } = settings;
  const backlog = createBacklog(ordered, (end) => faults.pick(end));
  /** By expiry, since all leases are equally long and a renewed one moves to the end. */
  const leases = new Set<QueueLease>();
  const members: Member[] = [];
  const places = new Map<Member, { active: boolean }>();
  let appended = 0;
  let bytes = 0;
  let turn = 0;
  let expiry: Timer | undefined;

  /** Every member is asked, each time beginning with another: they share what comes. */
  function wake(): void {
    turn++;
    for (let index = 0; index < members.length; index++) members[(turn + index) % members.length]?.onReady();
  }

  /** @returns what came back with it, which its members do not know yet */
  function giveBack(given: readonly QueueLease[], lost: boolean): readonly QueueLease[] {
    const followers = ordered ? followersOf(given) : [];
    if (lost) for (const lease of given) lease.entry.losses++;
    const back = [...given, ...followers].sort((one, other) => one.entry.place - other.entry.place);
    for (const lease of back) {
      lease.held = false;
      leases.delete(lease);
      lease.entry.lease = undefined;
    }
    const kept = lost ? back.filter(({ entry }) => !bury(entry)) : back;
    for (const { entry } of kept.toReversed()) backlog.putBack(entry);
    if (back.length > 0) wake();
    return followers;
  }

  function followersOf(given: readonly QueueLease[]): readonly QueueLease[] {
    const followers = new Set<QueueLease>();
    for (const { entry } of given) {
      for (const { lease } of backlog.followers(entry)) if (lease !== undefined) followers.add(lease);
    }
    for (const lease of given) followers.delete(lease);
    return [...followers];
  }

  /** Dead-letters what was lost too often. */
  function bury(entry: Entry): boolean {
    if (entry.losses < settings.deliveryLimit || exhausted?.(entry.record) !== true) return false;
    bytes -= entry.record.bytes.byteLength;
    backlog.settled(entry);
    return true;
  }

  function takeBack(over: readonly QueueLease[]): void {
    const followers = giveBack(over, true);
    for (const lease of over) lease.member.onLost(lease);
    for (const lease of followers) lease.member.onLost(lease);
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
    takeBack(over);
  }

  function stopWatching(): void {
    expiry?.cancel();
    expiry = undefined;
  }

  function take(member: Member): Lease | undefined {
    const entry = backlog.take(member, settings.shuffle || faults.happens("reorder"));
    if (entry === undefined) return undefined;
    entry.deliveries++;
    const lease = new QueueLease(entry, member, clock.now() + settings.leaseMs, settle);
    entry.lease = lease;
    leases.add(lease);
    watchExpiry();
    return lease;
  }

  function settle(lease: QueueLease, settlement: Settlement): void {
    if (settlement === "release") {
      for (const follower of giveBack([lease], false)) follower.member.onLost(follower);
      return;
    }
    lease.held = false;
    leases.delete(lease);
    bytes -= lease.record.bytes.byteLength;
    if (backlog.settled(lease.entry)) wake();
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
    if (backlog.size + leases.size >= settings.maxMessages)
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
      backlog.add(new Entry(record, appended++));
      bytes += record.bytes.byteLength;
    }
    wake();
    return undefined;
  }

  function depth(): Depth {
    let oldest = Infinity;
    for (const entry of backlog) oldest = Math.min(oldest, entry.record.time);
    return {
      ready: backlog.size,
      inFlight: leases.size,
      oldestAgeMs: backlog.size === 0 ? undefined : Math.max(0, clock.now() - oldest),
    };
  }

  function remove(entry: Entry): void {
    backlog.remove(entry);
    bytes -= entry.record.bytes.byteLength;
  }

  function oldest(limit: number): Entry[] {
    return Array.from(backlog)
      .sort((one, other) => one.place - other.place)
      .slice(0, limit);
  }

  const walk = (limit: number): Walk =>
    createWalk(
      oldest(limit),
      {
        hide(entry) {
          if (!entry.waiting || entry.visited) return undefined;
          backlog.setVisited(entry, true);
          return entry.record;
        },
        show(entry, toRemove) {
          if (!entry.waiting) return;
          backlog.setVisited(entry, false);
          if (toRemove) remove(entry);
          wake();
        },
      },
      settings,
    );

  return {
    name,
    get members() {
      return places.size;
    },
    refusal,
    append,
    join,
    revoke: () => takeBack([...leases]),
    depth,
    browse: (limit) => oldest(limit).map((entry) => entry.record),
    walk,
    purge() {
      const before = backlog.size;
      for (const entry of backlog) if (!entry.visited) remove(entry);
      return before - backlog.size;
    },
    destroy() {
      stopWatching();
      const told = [...places.keys()];
      for (const place of places.values()) place.active = false;
      for (const lease of leases) lease.held = false;
      places.clear();
      members.length = 0;
      leases.clear();
      for (const entry of backlog) remove(entry);
      for (const member of told) member.onEnded("deleted");
    },
  };
}
