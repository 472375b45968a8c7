/** Random work under random accidents, and what its history must show. The same seed gives the same run. */
import type { Consumption, Delivery, Transport } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { seededRandom } from "./broker/random.ts";
import { message, never, ordersInlet, orderTopology, toOrders } from "./client.fixture.ts";
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

const leaseMs = 1_000;

export async function runAccidents(personality: "queue" | "log", seed: number, faulty: boolean): Promise<Run> {
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
  const handling = new Map<string, Set<{ readonly delivery: Delivery; readonly actor: Actor }>>();
  const actors: Actor[] = [];
  const sending: Promise<void>[] = [];
  const givenUp = new AbortController();
  let sent = 0;
  let deliveries = 0;

  async function open(): Promise<Actor> {
    const actor: Actor = { transport: memory({ broker }), intakes: [], state: "sound" };
    actors.push(actor);
    const connecting = actor.transport.connect({ signal: never, report: () => undefined });
    connecting.then(() => actor.transport.provision(orderTopology, "apply", { signal: never })).catch(() => undefined);
    await clock.advance(20);
    return actor;
  }

  async function handle(delivery: Delivery, actor: Actor): Promise<void> {
    const { id } = delivery.message;
    deliveries++;
    seen.add(id);
    if (actor.state === "dead") problems.add("a dead client received");
    const others = handling.get(id) ?? new Set();
    handling.set(id, others);
    const owned = [...others].some((other) => other.actor.state === "sound" && !other.delivery.lost.aborted);
    if (owned && !faulty) problems.add("a message had two owners");
    const entry = { delivery, actor };
    others.add(entry);
    if (random() < 0.5) await new Promise<void>((resolve) => clock.setTimeout(resolve, pick(3 * leaseMs)));
    others.delete(entry);
  }

  function consume(actor: Actor): void {
    const maxInFlight = 1 + pick(5);
    let pending = 0;
    let intake: Intake | undefined;
    const receive = async (delivery: Delivery): Promise<"accept" | "release"> => {
      if (++pending > maxInFlight) problems.add("more in flight than allowed");
      if (intake?.stopped === true) problems.add("a stopped intake received");
      await handle(delivery, actor);
      pending--;
      return random() < 0.8 ? "accept" : "release";
    };
    const keep = (consumption: Consumption): number => actor.intakes.push((intake = { consumption, stopped: false }));
    actor.transport.consume(ordersInlet, receive, { signal: givenUp.signal, maxInFlight }).then(keep, () => undefined);
  }

  async function send(actor: Actor): Promise<void> {
    const ids = Array.from({ length: 1 + pick(5) }, () => String(sent++));
    const batch = ids.map((id) => ({
      address: toOrders,
      message: message(id, random() < 0.5 ? { key: `k${pick(5)}` } : {}),
    }));
    const receipts = await actor.transport.dispatch(batch, { signal: givenUp.signal });
    receipts.forEach((receipt, index) => {
      if (receipt.accepted) accepted.add(ids[index] ?? "");
      else if (!["UNKNOWN_OUTCOME", "CONNECTION_LOST"].includes(receipt.error.code)) problems.add(receipt.error.code);
    });
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
  if (ready !== 0 || inFlight !== 0) problems.add(`${ready} ready and ${inFlight} in flight are left`);
  for (const actor of actors) await actor.transport.close({ signal: never });
  await clock.advance(10 * leaseMs);
  if (broker.clients + broker.consumers > 0) problems.add("clients or consumers are left");
  if (clock.pending > 0) problems.add("timers are left");
  return { problems: [...problems], accepted: accepted.size, deliveries };
}
