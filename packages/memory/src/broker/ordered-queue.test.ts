/** An ordered queue against a model of it: random members do random things. The same seed gives the same run. */
import { expect, test } from "vitest";
import { createVirtualClock } from "@posthorn/core/testing";
import { createFaults, noFaults } from "./faults.ts";
import { createQueue } from "./queue.ts";
import { seededRandom } from "./random.ts";
import type { Lease, Member, Membership, StoredRecord, Visited, Walk } from "./source.ts";

const leaseMs = 1_000;

interface Actor extends Member {
  readonly membership: Membership;
  readonly held: Set<Lease>;
  draining: boolean;
}

/** @returns what must not have happened, in words */
async function run(seed: number, shuffle: boolean): Promise<readonly string[]> {
  const random = seededRandom(seed);
  const pick = (end: number): number => Math.floor(random() * end);
  const oneOf = <Item>(items: Iterable<Item>): Item | undefined => {
    const all = [...items];
    return all[pick(all.length)];
  };
  const clock = createVirtualClock();
  const faults = createFaults({ ...noFaults, seed, reorder: 0.2 });
  const settings = { clock, faults, leaseMs, maxMessages: 1e6, maxBytes: 1e6, deliveryLimit: 1e6, shuffle };
  const queue = createQueue("q", true, settings);

  const problems: string[] = [];
  const actors = new Set<Actor>();
  const walks = new Map<Walk, Set<Visited>>();
  /** Not yet accepted or removed, in the order of acceptance. */
  const open: StoredRecord[] = [];
  let sequence = 0;

  const holders = (record: StoredRecord): Actor[] =>
    [...actors].filter((actor) => [...actor.held].some((lease) => lease.record === record));
  const isVisited = (record: StoredRecord): boolean =>
    [...walks.values()].some((pending) => [...pending].some((visited) => visited.record === record));
  const done = (record: StoredRecord): void => {
    const index = open.indexOf(record);
    if (index < 0) problems.push(`${record.sequence} was done twice`);
    else open.splice(index, 1);
  };

  function append(): void {
    const key = random() < 0.85 ? `k${pick(4)}` : undefined;
    const record = { type: "t", key, bytes: new Uint8Array(1), sequence: ++sequence, time: 0 };
    open.push(record);
    queue.append(record);
  }

  function join(): void {
    const held = new Set<Lease>();
    const actor: Actor = {
      held,
      draining: false,
      onReady: () => undefined,
      onLost(lease) {
        if (!held.delete(lease)) problems.push("lost what it did not hold");
        if (lease.held) problems.push("lost what is held");
      },
      onEnded: () => problems.push("ended"),
      get membership() {
        return membership;
      },
    };
    const membership = queue.join(actor);
    actors.add(actor);
  }

  function take(actor: Actor): void {
    const lease = actor.membership.take();
    if (lease === undefined) {
      if (!actor.draining && takeable(actor)) problems.push("got nothing where something waits");
      return;
    }
    const { record } = lease;
    if (actor.draining) problems.push("took while draining");
    if (!open.includes(record) || holders(record).length > 0 || isVisited(record))
      problems.push("took what is not there");
    if (record.key !== undefined) {
      const before = open.filter((other) => other.key === record.key && other.sequence < record.sequence);
      if (before.some((other) => holders(other).length === 0)) problems.push(`${record.sequence} overtook`);
      if (before.some((other) => holders(other).some((holder) => holder !== actor)))
        problems.push("a key has two members");
    }
    actor.held.add(lease);
  }

  /** Whether the model has something for that member. */
  function takeable(actor: Actor): boolean {
    return open.some((record) => {
      if (holders(record).length > 0 || isVisited(record)) return false;
      const ofKey = record.key === undefined ? [] : open.filter((other) => other.key === record.key);
      const free = ofKey.every((other) => holders(other).every((holder) => holder === actor));
      return free && ofKey.every((other) => other.sequence >= record.sequence || holders(other).length > 0);
    });
  }

  function settle(actor: Actor, settlement: "accept" | "release"): void {
    const lease = oneOf(actor.held);
    if (lease === undefined) return;
    if (!lease.held) problems.push("holds what is not held");
    const forget = random() < 0.1;
    if (!forget) {
      actor.held.delete(lease);
      if (settlement === "accept") done(lease.record);
    }
    lease.settle(settlement, forget);
  }

  function leave(actor: Actor): void {
    actors.delete(actor);
    actor.membership.leave();
  }

  function visit(): void {
    const walk = random() < 0.3 || walks.size === 0 ? queue.walk(1 + pick(20)) : oneOf(walks.keys());
    if (walk === undefined) return;
    const pending = walks.get(walk) ?? new Set();
    walks.set(walk, pending);
    const visited = walk.next();
    if (visited === undefined) return;
    if (holders(visited.record).length > 0 || isVisited(visited.record)) problems.push("visited what does not wait");
    pending.add(visited);
  }

  function endVisit(): void {
    const [walk, pending] = oneOf(walks) ?? [];
    if (walk === undefined || pending === undefined) return;
    const visited = oneOf(pending);
    if (visited === undefined || !walk.open) {
      walk.end();
      walks.delete(walk);
      return;
    }
    const remove = random() < 0.3;
    pending.delete(visited);
    if (remove) done(visited.record);
    visited.end(remove);
  }

  async function pass(): Promise<void> {
    for (const actor of actors) if (random() < 0.8) actor.membership.heartbeat(actor.held);
    for (const walk of walks.keys()) if (random() < 0.8) walk.heartbeat();
    await clock.advance(pick(leaseMs));
    // Nobody is told that a walk ran out.
    for (const walk of walks.keys()) if (!walk.open) walks.delete(walk);
  }

  for (let step = 0; step < 600; step++) {
    const actor = oneOf(actors);
    const chance = random();
    if (chance < 0.25) append();
    else if (chance < 0.29 || actor === undefined) join();
    else if (chance < 0.55) take(actor);
    else if (chance < 0.72) settle(actor, "accept");
    else if (chance < 0.8) settle(actor, "release");
    else if (chance < 0.82) leave(actor);
    else if (chance < 0.83) {
      actor.draining = true;
      actor.membership.drain();
    } else if (chance < 0.9) visit();
    else if (chance < 0.97) endVisit();
    else if (chance < 0.98) queue.revoke();
    else await pass();
    const held = [...actors].reduce((sum, each) => sum + each.held.size, 0);
    const depth = queue.depth();
    if (depth.ready !== open.length - held || depth.inFlight !== held) problems.push("depth is wrong");
  }

  for (const actor of actors) leave(actor);
  for (const walk of walks.keys()) walk.end();
  walks.clear();
  join();
  const [last] = actors;
  while (last !== undefined && open.length > 0 && problems.length === 0) {
    take(last);
    for (const lease of last.held) {
      last.held.delete(lease);
      done(lease.record);
      lease.settle("accept", false);
    }
  }
  const { ready, inFlight } = queue.depth();
  if (ready !== 0 || inFlight !== 0) problems.push("something is left");
  last?.membership.leave();
  await clock.advance(10 * leaseMs);
  if (clock.pending > 0) problems.push("timers are left");
  return problems;
}

test.each([false, true])(
  "delivers every key in order to one member at a time, and everything once, whatever its members do (shuffle %s)",
  async (shuffle) => {
    for (let seed = 1; seed <= 40; seed++)
      expect({ seed, problems: await run(seed, shuffle) }).toEqual({ seed, problems: [] });
  },
);
