/** What both personalities implement, and all that the rest of the broker and the client know of them. */
import type { ChannelInfo, Depth, Settlement } from "@posthorn/core/transport";

/** A message on its way to the broker: bytes, and the little that routing needs. The broker never looks into the bytes. */
export interface Packet {
  readonly type: string;
  readonly key: string | undefined;
  readonly bytes: Uint8Array;
}

/** A message as the broker keeps it. */
export interface StoredRecord extends Packet {
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
  /** Takes everything back from its members, who keep their places. */
  revoke(): void;
  /** Removes what waits; returns how many records. */
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
