/** Random work under random accidents, and what its history must show. The same seed gives the same run. */
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import type { ChannelInfo, Consumption, Delivery, Topology, Transport } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { seededRandom } from "./broker/random.ts";
import { message, never, orders } from "./client.fixture.ts";
import { createMemoryBroker, memory } from "./index.ts";
import type { Path } from "./index.ts";

export interface Run {
  /** What must not have happened, in words. */
  readonly problems: readonly string[];
  readonly accepted: number;
  readonly deliveries: number;
}

interface Actor {
  readonly transport: Transport;
  readonly intakes: Intake[];
  /** `deaf` and the like mean that it cannot know yet that it lost a lease. */
  state: "sound" | "unaware" | "dead";
}

interface Intake {
  readonly consumption: Consumption;
  stopped: boolean;
}

interface Handling {
  readonly delivery: Delivery;
  readonly actor: Actor;
  readonly intake: IntakeMark;
}

/** Stands for a consumption before it has begun. */
interface IntakeMark {
  readonly maxInFlight: number;
}

const leaseMs = 1_000;

export async function runAccidents(
  personality: "queue" | "log",
  seed: number,
  { faulty = false, ordered = false }: { readonly faulty?: boolean; readonly ordered?: boolean } = {},
): Promise<Run> {
  const channel: ChannelInfo = { ...orders, ordered };
  const topology: Topology = { channels: [channel], groups: [{ channel, name: channel.name, types: [] }] };
  const inlet = inletAddress(channel, channel.name);
  const random = seededRandom(seed);
  const pick = (end: number): number => Math.floor(random() * end);
  const oneOf = <Item>(items: readonly Item[]): Item | undefined => items[pick(items.length)];
  const clock = createVirtualClock();
  const faults = faulty
    ? { seed, duplicate: 0.02, reorder: 0.1, dropSettlement: 0.05, dropConfirm: 0.02, cut: 0.02 }
    : { seed };
  const shuffle = random() < 0.5;
  const broker = createMemoryBroker({
    clock,
    personality,
    leaseMs,
    partitions: 1 + pick(4),
    shuffle,
    deliveryLimit: 1e6,
    faults,
  });

  const problems = new Set<string>();
  const accepted = new Set<string>();
  const seen = new Set<string>();
  /** By message, and on an ordered channel by key. */
  const handling = new Map<string, Set<Handling>>();
  const actors: Actor[] = [];
  const sending: Promise<void>[] = [];
  const givenUp = new AbortController();
  let sent = 0;
  let deliveries = 0;

  async function open(): Promise<Actor> {
    const actor: Actor = { transport: memory({ broker }), intakes: [], state: "sound" };
    actors.push(actor);
    const connecting = actor.transport.connect({ signal: never, report: () => undefined });
    connecting.then(() => actor.transport.provision(topology, "apply", { signal: never })).catch(() => undefined);
    await clock.advance(20);
    return actor;
  }

  function handlingOf(name: string): Set<Handling> {
    const found = handling.get(name) ?? new Set();
    handling.set(name, found);
    return found;
  }

  /** Whether somebody has it who cannot but know that it is his. */
  const owned = ({ actor, delivery }: Handling): boolean => actor.state === "sound" && !delivery.lost.aborted;

  async function handle(mine: Handling): Promise<void> {
    const { id, key, notBefore = 0 } = mine.delivery.message;
    deliveries++;
    seen.add(id);
    if (mine.actor.state === "dead") problems.add("a dead client received");
    if (clock.now() < notBefore) problems.add("a message was early");
    const ofMessage = handlingOf(id);
    const ofKey = handlingOf(`key ${ordered ? (key ?? id) : id}`);
    if (!faulty && [...ofMessage].some(owned)) problems.add("a message had two owners");
    if (!faulty && [...ofKey].some((other) => owned(other) && other.intake !== mine.intake))
      problems.add("a key had two owners");
    ofMessage.add(mine);
    ofKey.add(mine);
    if (random() < 0.5) await new Promise<void>((resolve) => clock.setTimeout(resolve, pick(3 * leaseMs)));
    ofMessage.delete(mine);
    ofKey.delete(mine);
  }

  function consume(actor: Actor): void {
    const mark: IntakeMark = { maxInFlight: 1 + pick(5) };
    let pending = 0;
    let intake: Intake | undefined;
    const receive = async (delivery: Delivery): Promise<"accept" | "release"> => {
      if (++pending > mark.maxInFlight) problems.add("more in flight than allowed");
      if (intake?.stopped === true) problems.add("a stopped intake received");
      await handle({ delivery, actor, intake: mark });
      pending--;
      return random() < 0.8 ? "accept" : "release";
    };
    const options = { signal: givenUp.signal, maxInFlight: mark.maxInFlight };
    const keep = (consumption: Consumption): number => actor.intakes.push((intake = { consumption, stopped: false }));
    actor.transport.consume(inlet, receive, options).then(keep, () => undefined);
  }

  async function send(actor: Actor): Promise<void> {
    const ids = Array.from({ length: 1 + pick(5) }, () => String(sent++));
    const address = random() < 0.8 ? channelAddress(channel) : inlet;
    const batch = ids.map((id) => ({
      address,
      message: message(id, {
        key: random() < 0.5 ? `k${pick(5)}` : undefined,
        notBefore: random() < 0.1 ? clock.now() + pick(10 * leaseMs) : undefined,
      }),
    }));
    const receipts = await actor.transport.dispatch(batch, { signal: givenUp.signal });
    receipts.forEach((receipt, index) => {
      if (receipt.accepted) accepted.add(ids[index] ?? "");
      else if (!["UNKNOWN_OUTCOME", "CONNECTION_LOST"].includes(receipt.error.code)) problems.add(receipt.error.code);
    });
  }

  async function walk({ transport }: Actor): Promise<void> {
    const visit = async (): Promise<"keep"> => {
      if (random() < 0.5) await new Promise<void>((resolve) => clock.setTimeout(resolve, pick(leaseMs)));
      return "keep";
    };
    await transport.admin
      .walk(inlet, visit, { signal: givenUp.signal, limit: 1 + pick(10), maxPending: 1 + pick(3) })
      .catch(() => undefined);
  }

  function stop(intake: Intake | undefined): void {
    if (intake === undefined) return;
    intake.stopped = true;
    void intake.consumption.stop();
  }

  const accidents: readonly ((actor: Actor) => void)[] = [
    (actor) => {
      broker.crash(actor.transport);
      actor.state = "dead";
    },
    (actor) => {
      for (const intake of actor.intakes) stop(intake);
      void actor.transport.close({ signal: never });
    },
    (actor) => {
      broker.freeze(actor.transport);
      actor.state = "unaware";
    },
    (actor) => {
      const path = oneOf<Path>(["down", "stalled", "deaf"]) ?? "down";
      broker.setPath(actor.transport, path);
      actor.state = "unaware";
    },
    (actor) => mend(actor),
    (actor) => mend(actor),
    (actor) => broker.cutConnections(random() < 0.5 ? actor.transport : undefined),
    () => broker.stop(),
    () => broker.start(),
    () => broker.start(),
    () => broker.block(),
    () => broker.unblock(),
    () => broker.breakConsumers("orders"),
    (actor) => stop(oneOf(actor.intakes)),
    (actor) => oneOf(actor.intakes)?.consumption.pause(),
    (actor) => void walk(actor),
    (actor) => oneOf(actor.intakes)?.consumption.resume(),
  ];

  function mend(actor: Actor): void {
    if (actor.state === "dead") return;
    broker.thaw(actor.transport);
    broker.setPath(actor.transport, "open");
    actor.state = "sound";
  }

  const living = (): Actor[] =>
    actors.filter((actor) => actor.state !== "dead" && actor.transport.health().status !== "closed");

  await open();
  for (let step = 0; step < 120; step++) {
    const actor = oneOf(living()) ?? (await open());
    const chance = random();
    if (chance < 0.4) sending.push(send(actor));
    else if (chance < 0.5) consume(actor);
    else if (chance < 0.53) await open();
    else if (chance < 0.75) oneOf(accidents)?.(actor);
    else await clock.advance(pick(leaseMs));
  }

  // All is well again: now everything has to arrive.
  broker.start();
  broker.unblock();
  broker.heal();
  for (const actor of actors) {
    mend(actor);
    for (const intake of actor.intakes) intake.consumption.resume();
  }
  consume(await open());
  await clock.advance(100 * leaseMs);
  givenUp.abort();
  await Promise.all(sending);
  await clock.advance(100 * leaseMs);

  for (const id of accepted) if (!seen.has(id)) problems.add(`${id} was accepted and never delivered`);
  const { ready, inFlight } = broker.depth("orders");
  if (broker.delayed > 0) problems.add(`${broker.delayed} are still delayed`);
  if (ready !== 0 || inFlight !== 0) problems.add(`${ready} ready and ${inFlight} in flight are left`);
  for (const actor of actors) await actor.transport.close({ signal: never });
  await clock.advance(10 * leaseMs);
  if (broker.clients + broker.consumers > 0) problems.add("clients or consumers are left");
  if (clock.pending > 0) problems.add("timers are left");
  return { problems: [...problems], accepted: accepted.size, deliveries };
}
