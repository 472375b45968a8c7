/** What both personalities implement, and all that the rest of the broker and the client know of them. */
import type { ChannelInfo, Depth, Settlement } from "@posthorn/core/transport";

/** A message on its way to the broker: bytes, and the little that routing needs. The broker never looks into the bytes. */
export interface Packet {
  readonly type: string;
  readonly key: string | undefined;
  /** Milliseconds since the Unix epoch: until then it waits on the broker. `undefined` where it may go at once. */
  readonly notBefore: number | undefined;
  readonly bytes: Uint8Array;
}

/** A message as the broker keeps it at a source. */
export interface StoredRecord {
  readonly type: string;
  readonly key: string | undefined;
  readonly bytes: Uint8Array;
  /** Unique and ascending on its broker. */
  readonly sequence: number;
  /** When it was stored, in milliseconds since the Unix epoch. */
  readonly time: number;
}

/** Why the broker did not take a message. */
export interface Refusal {
  readonly reason: "missing" | "full";
  readonly detail: string;
}

/** A channel's messages on their way to its groups. */
export interface ChannelStore {
  readonly info: ChannelInfo;
  readonly groups: ReadonlyMap<string, BrokerSource>;
  /** Stores the record for every group, or, where one has no room, for none. */
  publish(record: StoredRecord): Refusal | undefined;
  /** @param exhausted takes a record that was lost too often; false where it cannot */
  addGroup(group: string, name: string, exhausted: (record: StoredRecord) => boolean): BrokerSource;
  removeGroup(group: string): void;
  /** Types that the group does not receive yet; empty where the broker does not filter. */
  missingTypes(group: string, types: readonly string[]): readonly string[];
  addTypes(group: string, types: readonly string[]): void;
}

/** What can be consumed: a group's messages, or its dead letters. */
export interface BrokerSource {
  readonly name: string;
  readonly members: number;
  /** Stores the record for this source alone. */
  append(record: StoredRecord): Refusal | undefined;
  join(member: Member): Membership;
  depth(): Depth;
  /** The oldest records that wait, left where they are. */
  browse(limit: number): readonly StoredRecord[];
  /** Begins a walk through what waits now, at most `limit`, oldest first. */
  walk(limit: number): Walk;
  /** Takes everything back from its members, who keep their places. */
  revoke(): void;
  /** Removes what waits and nobody visits; returns how many records. */
  purge(): number;
  /** Ends it and tells its members. */
  destroy(): void;
}

/** A consumer as the broker knows it. Called when the broker's state is whole again, so it may call back at once. */
export interface Member {
  /** There may be something to take. */
  onReady(): void;
  /** The lease is over before it was settled; somebody else gets the record. */
  onLost(lease: Lease): void;
  /** The membership is over: the source was deleted, or no heartbeat came in time. Its leases are void. */
  onEnded(reason: "deleted" | "expired"): void;
}

/** A consumer's place at a source. */
export interface Membership {
  /** False once it has ended in any way. */
  readonly active: boolean;
  /** The next record for this member, leased to it. */
  take(): Lease | undefined;
  /** Tells that the consumer lives and still works on these. */
  heartbeat(leases: Iterable<Lease>): void;
  /** Takes nothing more; what it has may still be settled. */
  drain(): void;
  /** Ends it; its leases are given back. The member is not told. */
  leave(): void;
}

/** A record in a consumer's hands. */
export interface Lease {
  readonly record: StoredRecord;
  /** How often the record has been delivered, this time included; `undefined` where nobody counts. */
  readonly deliveryCount: number | undefined;
  /** Until it is settled or lost. */
  readonly held: boolean;
  /** Does nothing when it is not held. `forget` loses what makes the settlement permanent. */
  settle(settlement: Settlement, forget: boolean): void;
}

/** A way through what waits at a source. What is visited is delivered to nobody, and nothing of its key overtakes it. */
export interface Walk {
  /** False once it has ended in any way. */
  readonly open: boolean;
  /** The next record that waits still, and that nobody else visits. */
  next(): Visited | undefined;
  /** Tells that the walker lives. */
  heartbeat(): void;
  /** Ends it: what is still visited is kept. */
  end(): void;
}

/** A record that is being looked at. */
export interface Visited {
  readonly record: StoredRecord;
  /** Ends the visit: the record stays in its place, or is gone for good. Does nothing when it has ended, or the walk has. */
  end(remove: boolean): void;
}
