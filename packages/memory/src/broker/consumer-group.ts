/** A group's members and how far it has come in each of its partitions: a consumer group, as Kafka has them. */
import type { Clock, Depth, Settlement, Timer } from "@posthorn/core/transport";
import { assign } from "./assignment.ts";
import { Place } from "./place.ts";
import { Slot } from "./slot.ts";
import type { LogLease } from "./slot.ts";
import type { Partition, PartitionedLog } from "./partition.ts";
import type { BrokerSource, Member, Membership, StoredRecord } from "./source.ts";

export interface ConsumerGroupSettings {
  readonly clock: Clock;
  /** How long a member may be silent before its partitions go to others. */
  readonly leaseMs: number;
}

export interface ConsumerGroup extends BrokerSource {
  /** There are new records in its logs. */
  onAppended(): void;
}

/**
 * @param shared partitions of the channel, which other groups read too; empty for dead letters
 * @param inlet the log that this group alone reads
 */
export function createConsumerGroup(
  name: string,
  shared: readonly Partition[],
  inlet: PartitionedLog,
  settings: ConsumerGroupSettings,
): ConsumerGroup {
  const { clock } = settings;
  const open = (partition: Partition): Slot => new Slot(partition, settle);
  const sharedSlots = shared.map(open);
  const inletSlots = inlet.partitions.map(open);
  const slots = [...sharedSlots, ...inletSlots];
  const places = new Set<Place>();
  let watch: Timer | undefined;

  /** Shares each log on its own, so that nobody gets only retries. What a leaving member still works on stays with it. */
  function rebalance(): void {
    const members = [...places].filter((place) => !place.draining);
    const lost: LogLease[] = [];
    for (const log of [sharedSlots, inletSlots]) {
      const movable = log.filter((slot) => slot.owner?.draining !== true || !slot.busy);
      const owners = assign(
        movable.map((slot) => slot.owner),
        members,
      );
      movable.forEach((slot, index) => {
        if (slot.owner !== owners[index]) lost.push(...slot.moveTo(owners[index]));
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
    slot.settle(lease, settlement, forget);
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
      for (const record of slot.waiting(1)) oldest = Math.min(oldest, record.time);
    }
    return { ready, inFlight, oldestAgeMs: ready === 0 ? undefined : Math.max(0, clock.now() - oldest) };
  }

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
    browse: (limit): readonly StoredRecord[] =>
      slots
        .flatMap((slot) => slot.waiting(limit))
        .sort((one, other) => one.sequence - other.sequence)
        .slice(0, limit),
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
