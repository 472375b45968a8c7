import assert from "node:assert/strict";
import { inspect } from "node:util";
import type { Bus, BusEvent, BusOptions, ChannelInfo, Queue, Topic, Transport } from "@posthorn/core";
import { createBus, queue, topic } from "@posthorn/core";
import type { Abortable, Topology } from "@posthorn/core/transport";
import type { Bounds, ContractHarness, Faults, NativeBroker, Place } from "./harness.ts";
import type { Reaction, Recorder } from "./recorder.ts";
import { createRecorder } from "./recorder.ts";
import type { EventuallyOptions } from "./waiting.ts";
import { createPulse, eventually, within } from "./waiting.ts";

/** What one case has of the world: everything that it makes here is closed when it ends, however it ends. */
export interface World {
  readonly harness: ContractHarness;
  readonly native: NativeBroker;
  readonly bounds: Bounds;
  /** @throws AssertionError when the harness has none: a transport is not proved without them */
  readonly faults: Faults;

  /** A name that is this case's own. */
  name(suffix?: string): string;
  queue(suffix?: string): Queue<false>;
  topic(suffix?: string): Topic<false>;
  orderedQueue(suffix?: string): Queue<true>;
  orderedTopic(suffix?: string): Topic<true>;

  /** A bus on a transport of its own, with quick retries. Its events are kept. */
  bus(service: string, options?: Partial<BusOptions>): Bus;
  events(bus: Bus): readonly BusEvent[];
  /** Resolves when the bus has told of `count` events of that name. */
  event<Name extends BusEvent["name"]>(
    bus: Bus,
    name: Name,
    count?: number,
    withinMs?: number,
  ): Promise<readonly Extract<BusEvent, { name: Name }>[]>;
  /** Lets events of level `error` with this name pass. Any other one fails the case. */
  tolerate(...names: readonly BusEvent["name"][]): void;

  /** A transport without a bus, connected, and the topology applied. */
  transport(topology: Topology, transport?: Transport): Promise<Transport>;
  /** For calls that wait: fires when the case is over. */
  readonly waiting: Abortable;

  recorder<Data>(react?: Reaction<Data>): Recorder<Data>;
  /** Holds handlers up until it is opened; opens by itself when the case is over. */
  gate(): Gate;
  eventually<T>(
    what: string,
    condition: () => T | Promise<T>,
    options?: Partial<EventuallyOptions>,
  ): Promise<Exclude<T, undefined | false>>;
  within<T>(what: string, promise: Promise<T>, withinMs?: number): Promise<T>;

  /** How many messages wait at a place while consumers hold `held` others of it. */
  waitingBeside(place: Place, held: number): Promise<number>;
  /**
   * Closes the buses and resolves when nothing waits at any of the places: whatever had been sent there was settled, and
   * nothing can come after it any more.
   */
  closeAndFindEmpty(buses: readonly Bus[], places: readonly Place[]): Promise<void>;
  /** Resolves when nothing waits at any of the places and the buses have nothing in hand. */
  drained(buses: readonly Bus[], places: readonly Place[], withinMs?: number): Promise<void>;
  /** To be done when the case is over and its buses are closed, the last first. */
  defer(cleanup: () => unknown): void;
}

export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

/** A world, and how it ends. */
export interface OpenWorld {
  readonly world: World;
  /** Closes everything. Resolves to what was wrong: what did not close, and errors that buses told of and the case did not expect. */
  readonly end: () => Promise<readonly string[]>;
}

const quickRetry = { attempts: 3, backoff: { initialMs: 20, maxMs: 100, jitter: 0 } } as const;

export function openWorld(harness: ContractHarness, caseId: string): OpenWorld {
  const { bounds, native } = harness;
  const pulse = createPulse();
  const prefix = harness.uniqueName(caseId);
  const over = new AbortController();
  const eventsOf = new Map<Bus, BusEvent[]>();
  const tolerated = new Set<BusEvent["name"]>();
  const troubles: string[] = [];
  const gates: (() => void)[] = [];
  const closers: (() => Promise<void>)[] = [];
  const cleanups: (() => unknown)[] = [];

  const wait: World["eventually"] = (what, condition, options) =>
    eventually(pulse, what, condition, { withinMs: bounds.patienceMs, ...options });
  const name = (suffix?: string): string => (suffix === undefined ? prefix : `${prefix}-${suffix}`);

  function bus(service: string, options: Partial<BusOptions> = {}): Bus {
    const events: BusEvent[] = [];
    const made = createBus({
      service,
      transport: options.transport ?? harness.openTransport(),
      retry: quickRetry,
      ...options,
      observe(event) {
        events.push(event);
        if ("level" in event && event.level === "error" && !tolerated.has(event.name))
          troubles.push(`the bus of ${service} told of an error: ${describeEvent(event)}`);
        options.observe?.(event);
        pulse.beat();
      },
    });
    eventsOf.set(made, events);
    closers.push(() => made.close({ timeoutMs: bounds.patienceMs }));
    return made;
  }

  function eventsTold(bus: Bus): readonly BusEvent[] {
    return eventsOf.get(bus) ?? assert.fail("This bus was not made by this world.");
  }

  async function transport(topology: Topology, given = harness.openTransport()): Promise<Transport> {
    closers.push(() => given.close({ signal: AbortSignal.timeout(bounds.patienceMs) }));
    const options = { signal: over.signal };
    await given.connect({ ...options, report: () => pulse.beat() });
    assert.deepEqual(await given.provision(topology, "apply", options), [], "everything can be applied");
    return given;
  }

  const world: World = {
    harness,
    native,
    bounds,
    get faults() {
      return (
        harness.faults ??
        assert.fail(`The harness of ${harness.name} has no faults, and a transport is not proved without them.`)
      );
    },
    name,
    queue: (suffix) => queue(name(suffix)),
    topic: (suffix) => topic(name(suffix)),
    orderedQueue: (suffix) => queue(name(suffix), { ordered: true }),
    orderedTopic: (suffix) => topic(name(suffix), { ordered: true }),
    bus,
    events: eventsTold,
    async event(bus, name, count = 1, withinMs) {
      const told = (): BusEvent[] => eventsTold(bus).filter((event) => event.name === name);
      await wait(`${count} of the event ${name}`, () => told().length >= count, {
        ...(withinMs === undefined ? {} : { withinMs }),
        seen: () => eventsTold(bus).slice(-20).map(describeEvent),
      });
      return told() as Extract<BusEvent, { name: typeof name }>[];
    },
    tolerate: (...names) => names.forEach((each) => tolerated.add(each)),
    transport,
    waiting: { signal: over.signal },
    recorder: (react) => createRecorder(pulse, bounds.patienceMs, react),
    gate() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gates.push(resolve);
      return { opened: promise, open: resolve };
    },
    eventually: wait,
    within: (what, promise, withinMs = bounds.patienceMs) => within(withinMs, what, promise),
    async waitingBeside(place, held) {
      const ready = await native.ready(place);
      return native.countsHeld ? ready - held : ready;
    },
    async closeAndFindEmpty(buses, places) {
      await Promise.all(buses.map((each) => each.close({ timeoutMs: bounds.patienceMs })));
      for (const place of places) {
        const left = await wait(`a look at ${describePlace(place)}`, () => native.ready(place));
        if (left > 0)
          await wait(`${describePlace(place)} to be empty`, async () => (await native.ready(place)) === 0, {
            seen: () => `${left} messages at first`,
          });
      }
    },
    async drained(buses, places, withinMs = bounds.patienceMs) {
      for (const place of places) {
        await wait(
          `${describePlace(place)} to be drained`,
          async () =>
            (await native.ready(place)) === 0 &&
            ((await native.inFlight(place)) ?? 0) === 0 &&
            buses.every((each) => each.health().handling === 0),
          { withinMs },
        );
      }
    },
    defer: (cleanup) => void cleanups.push(cleanup),
  };

  return {
    world,
    async end() {
      over.abort(new Error("the case is over"));
      for (const open of gates) open();
      const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
        await within(3 * bounds.patienceMs, what, work()).catch((error: unknown) =>
          troubles.push(`at the end of the case: ${String(error)}`),
        );
      };
      await Promise.all(closers.map((close) => attempt("a bus or transport to close", close)));
      for (const cleanup of cleanups.toReversed()) await attempt("the case to tidy up", async () => cleanup());
      await attempt("what the case made to be removed", async () => harness.removeAll?.(prefix));
      return troubles;
    },
  };
}

/** The one group of a queue, or the given group of a topic. */
export function inlet(channel: ChannelInfo, group: string = channel.name): Place {
  return { kind: "inlet", channel, group };
}

/** The dead letters of the same. */
export function deadLetters(channel: ChannelInfo, group: string = channel.name): Place {
  return { kind: "dead-letters", channel, group };
}

function describePlace({ kind, channel, group }: Place): string {
  return `the ${kind} of ${group} at ${channel.kind} ${channel.name}`;
}

function describeEvent(event: BusEvent): string {
  const detail =
    "detail" in event
      ? event.detail
      : "reason" in event
        ? event.reason
        : "message" in event
          ? `attempt ${event.message.attempt}`
          : "";
  const error = "error" in event && event.error !== undefined ? ` (${inspect(event.error, { depth: 1 })})` : "";
  return `${event.name} ${detail}${error}`.trim();
}
