/** A group's members and how far it has come in each of its partitions: a consumer group, as Kafka has them. */
import type { Clock, Depth, Settlement, Timer } from "@posthorn/core/transport";
import { shareOut } from "@posthorn/core/transport";
import { Place } from "./place.ts";
import { Slot } from "./slot.ts";
import type { LogLease } from "./log-lease.ts";
import type { Partition, PartitionedLog } from "./partition.ts";
import type { BrokerSource, Member, Membership, StoredRecord, Walk } from "./source.ts";
import { createWalk } from "./walk.ts";

export interface ConsumerGroupSettings {
  readonly clock: Clock;
  /** How long a member may be silent before its partitions go to others. */
  readonly leaseMs: number;
}

export interface ConsumerGroup extends BrokerSource {
  /** There are new records in its logs. */
  onAppended(): void;
}

/** Partitions that have one owner together. */
type Bundle = readonly Slot[];

/**
 * @param ordered keeps a key with one member, whichever of its logs it is in; and what is released brings back what was taken of its key after it
 * @param shared partitions of the channel, which other groups read too; empty for dead letters
 * @param inlet the log that this group alone reads
 */
export function createConsumerGroup(
  name: string,
  ordered: boolean,
  shared: readonly Partition[],
  inlet: PartitionedLog,
  settings: ConsumerGroupSettings,
): ConsumerGroup {
  const { clock } = settings;
  const open = (partition: Partition): Slot => new Slot(partition, settle);
  const sharedSlots = shared.map(open);
  const inletSlots = inlet.partitions.map(open);
  const slots = [...sharedSlots, ...inletSlots];
  // Both logs have the same number of partitions, so a key has the same number in both.
  const logs: readonly (readonly Bundle[])[] = ordered
    ? [sharedSlots.map((slot, index) => [slot, ...inletSlots.slice(index, index + 1)])]
    : [sharedSlots.map((slot) => [slot]), inletSlots.map((slot) => [slot])];
  const places = new Set<Place>();
  let watch: Timer | undefined;

  /** Shares each log on its own, so that nobody gets only retries. What a leaving member still works on stays with it. */
  function rebalance(): void {
    const members = [...places].filter((place) => !place.draining);
    const lost: LogLease[] = [];
    for (const log of logs) {
      const movable = log.filter((bundle) => ownerOf(bundle)?.draining !== true || !bundle.some((slot) => slot.busy));
      const owners = shareOut(movable.map(ownerOf), members);
      movable.forEach((bundle, index) => {
        if (ownerOf(bundle) === owners[index]) return;
        for (const slot of bundle) lost.push(...slot.moveTo(owners[index]));
      });
    }
    for (const place of places) place.slots = slots.filter((slot) => slot.owner === place);
    for (const lease of lost) lease.place.member.onLost(lease);
    wake();
  }

  function wake(): void {
    for (const place of places) place.member.onReady();
  }

  function settle(lease: LogLease, settlement: Settlement, forget: boolean): void {
    const { slot, place } = lease;
    const followers = ordered && settlement === "release" ? slot.followers(lease) : [];
    if (settlement === "accept") slot.accept(lease, forget);
    else for (const each of [lease, ...followers]) slot.release(each);
    for (const each of followers) place.member.onLost(each);
    if (place.draining && !slot.busy) rebalance();
    else if (settlement === "release") place.member.onReady();
  }

  function remove(place: Place): void {
    place.active = false;
    places.delete(place);
    // Its leases die with it and it is not told: whoever removes it does that.
    for (const slot of slots) if (slot.owner === place) slot.moveTo(undefined);
    rebalance();
    if (places.size === 0) stopWatching();
  }

  function watchMembers(): void {
    if (watch !== undefined || places.size === 0) return;
    const first = Math.min(...[...places].map((place) => place.lastSeen));
    watch = clock.setTimeout(
      () => {
        watch = undefined;
        const silent = [...places].filter((place) => place.lastSeen + settings.leaseMs <= clock.now());
        for (const place of silent) remove(place);
        for (const place of silent) place.member.onEnded("expired");
        watchMembers();
      },
      Math.max(0, first + settings.leaseMs - clock.now()),
      { unref: true },
    );
  }

  function stopWatching(): void {
    watch?.cancel();
    watch = undefined;
  }

  function join(member: Member): Membership {
    const place = new Place(member, clock.now());
    places.add(place);
    rebalance();
    watchMembers();
    return {
      get active() {
        return place.active;
      },
      take: () => place.take(),
      heartbeat() {
        place.lastSeen = clock.now();
      },
      drain() {
        if (!place.active) return;
        place.draining = true;
        rebalance();
      },
      leave() {
        if (place.active) remove(place);
      },
    };
  }

  function depth(): Depth {
    let ready = 0;
    let inFlight = 0;
    let oldest = Infinity;
    for (const slot of slots) {
      ready += slot.ready;
      inFlight += slot.inFlight;
      for (const [, record] of slot.waiting(1)) oldest = Math.min(oldest, record.time);
    }
    return { ready, inFlight, oldestAgeMs: ready === 0 ? undefined : Math.max(0, clock.now() - oldest) };
  }

  /** The oldest that wait: where they are. */
  function oldest(limit: number): { slot: Slot; offset: number; record: StoredRecord }[] {
    return slots
      .flatMap((slot) => slot.waiting(limit).map(([offset, record]) => ({ slot, offset, record })))
      .sort((one, other) => one.record.sequence - other.record.sequence)
      .slice(0, limit);
  }

  const walk = (limit: number): Walk =>
    createWalk(
      oldest(limit).map(({ slot, offset }) => ({ slot, offset })),
      {
        hide: ({ slot, offset }) => slot.hide(offset),
        show({ slot, offset }, remove) {
          slot.show(offset, remove);
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
    onAppended: wake,
    append(record) {
      const refused = inlet.append(record);
      if (refused === undefined) wake();
      return refused;
    },
    join,
    revoke() {
      const lost = slots.flatMap((slot) => slot.moveTo(slot.owner));
      for (const lease of lost) lease.place.member.onLost(lease);
      wake();
    },
    depth,
    browse: (limit) => oldest(limit).map(({ record }) => record),
    walk,
    purge: () => slots.reduce((count, slot) => count + slot.purge(), 0),
    destroy() {
      stopWatching();
      const told = [...places];
      places.clear();
      for (const slot of slots) slot.close();
      for (const place of told) place.active = false;
      for (const place of told) place.member.onEnded("deleted");
    },
  };
}

function ownerOf(bundle: Bundle): Place | undefined {
  return bundle[0]?.owner;
}
