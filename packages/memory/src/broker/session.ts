/** The broker's end of one client's connection. */
import type { Depth, Settlement, Topology, TopologyChange } from "@posthorn/core/transport";
import type { Catalog, Destination } from "./catalog.ts";
import type { Faults } from "./faults.ts";
import type { BrokerSource, Lease, Member, Membership, Packet, Refusal, Visited, Walk } from "./source.ts";

export interface Posting {
  readonly destination: Destination;
  readonly packet: Packet;
}

/** What the broker says to a batch: for each message why it was refused, if it was; or nothing at all. */
export type Answer = readonly (Refusal | undefined)[] | "silence";

/** What the broker tells a client unasked. */
export interface SessionEvents {
  onClosed(reason: string): void;
  onBlocked(blocked: boolean): void;
}

export interface Session {
  readonly open: boolean;
  /** Why it is not open. */
  readonly closeReason: string;
  readonly blocked: boolean;
  provision(topology: Topology, create: boolean): readonly TopologyChange[];
  publish(batch: readonly Posting[]): Answer;
  /** `undefined` where there is no such source. */
  join(source: string, member: Member): Membership | undefined;
  settle(lease: Lease, settlement: Settlement): void;
  depth(source: string): Depth | undefined;
  /** `undefined` where there is no such source. */
  walk(source: string, limit: number): Walk | undefined;
  endVisit(visited: Visited, remove: boolean): void;
  purge(source: string): number | undefined;
  /** By the client: in good order, it is not told. */
  close(): void;
  /** By the broker: the client is told. */
  cut(reason: string): void;
}

/** What a session needs of its broker. */
export interface SessionHost {
  readonly catalog: Catalog;
  readonly faults: Faults;
  readonly blocked: boolean;
  /** Takes the message, to be delivered when its time has come. */
  accept(destination: Destination, packet: Packet): Refusal | undefined;
  onEnded(session: Session): void;
}

export function createSession(host: SessionHost, events: SessionEvents): Session {
  const { catalog, faults } = host;
  const memberships = new Set<Membership>();
  const walks = new Set<Walk>();
  let open = true;
  let closeReason = "";

  function end(reason: string): void {
    open = false;
    closeReason = reason;
    host.onEnded(session);
    for (const membership of memberships) membership.leave();
    memberships.clear();
    for (const walk of walks) walk.end();
    walks.clear();
  }

  function cut(reason: string): void {
    if (!open) return;
    end(reason);
    events.onClosed(reason);
  }

  const store = (posting: Posting): Refusal | undefined => host.accept(posting.destination, posting.packet);

  function publish(batch: readonly Posting[]): Answer {
    if (faults.happens("cut")) {
      const landed = faults.pick(batch.length + 1);
      for (const posting of batch.slice(0, landed)) store(posting);
      cut("a fault cut the connection while a batch was on its way");
      return "silence";
    }
    const answer = batch.map(store);
    return faults.happens("dropConfirm") ? "silence" : answer;
  }

  function settle(lease: Lease, settlement: Settlement): void {
    if (!open) return;
    if (faults.happens("cut")) {
      if (faults.pick(2) === 1) lease.settle(settlement, false);
      cut("a fault cut the connection while a settlement was on its way");
      return;
    }
    lease.settle(settlement, faults.happens("dropSettlement"));
  }

  function join(name: string, member: Member): Membership | undefined {
    const membership = open ? catalog.source(name)?.join(member) : undefined;
    if (membership === undefined) return undefined;
    memberships.add(membership);
    return {
      get active() {
        return membership.active;
      },
      take: () => membership.take(),
      heartbeat: (leases) => membership.heartbeat(leases),
      drain: () => membership.drain(),
      leave() {
        memberships.delete(membership);
        membership.leave();
      },
    };
  }

  function walk(name: string, limit: number): Walk | undefined {
    const walk = open ? catalog.source(name)?.walk(limit) : undefined;
    if (walk === undefined) return undefined;
    walks.add(walk);
    return {
      get open() {
        return walk.open;
      },
      next: () => walk.next(),
      heartbeat: () => walk.heartbeat(),
      end() {
        walks.delete(walk);
        walk.end();
      },
    };
  }

  function endVisit(visited: Visited, remove: boolean): void {
    if (!open) return;
    if (!faults.happens("cut")) {
      visited.end(remove);
      return;
    }
    if (faults.pick(2) === 1) visited.end(remove);
    cut("a fault cut the connection while an answer to a visit was on its way");
  }

  const source = (name: string): BrokerSource | undefined => catalog.source(name);

  const session: Session = {
    get open() {
      return open;
    },
    get closeReason() {
      return closeReason;
    },
    get blocked() {
      return host.blocked;
    },
    provision: (topology, create) => catalog.provision(topology, create),
    publish,
    join,
    settle,
    depth: (name) => source(name)?.depth(),
    walk,
    endVisit,
    purge: (name) => source(name)?.purge(),
    close() {
      if (open) end("the client closed it");
    },
    cut,
  };
  return session;
}
