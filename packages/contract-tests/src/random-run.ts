/**
 * A random run: messages of all kinds are sent, handled, failed and delayed by chance, while things break by chance. The same seed
 * makes the same plan; what then happens is left to time, and written down for {@link violationsOf}.
 */
import type { Bus, Handler, QueueContract, RetryPolicy, TopicContract } from "@posthorn/core";
import { isPosthornError } from "@posthorn/core";
import { sleep, systemClock } from "@posthorn/core/transport";
import type { Keyed } from "./contracts.ts";
import { keyedHappenedOn, numbers } from "./contracts.ts";
import { durably } from "./durable.ts";
import type { Link } from "./harness.ts";
import type { Fault, Handling, History, Publish } from "./history.ts";
import { keyedRollCall } from "./roll-call.ts";
import { anything } from "./schema.ts";
import type { Chance } from "./seeded.ts";
import { seededChance } from "./seeded.ts";
import type { World } from "./world.ts";

const maxAttempts = 4;
const keyCount = 6;
/** What is sent at least, and, while faults go on, at most: of each key to the topic, and to the queue. */
const perKey = { least: 14, most: 100 };
const commands = { least: 60, most: 400 };
/** How long whoever sends waits between two messages, at most. */
const mostPauseMs = 60;
/** Longest delay of a message. */
const mostDelayMs = 1_500;

/** Of the topic, which is ordered, and of the queue, which is not. */
export interface RandomRun {
  readonly seed: number;
  readonly event: TopicContract<Keyed, Keyed>;
  readonly command: QueueContract<Keyed, Keyed>;
  readonly services: readonly string[];
  /** Starts whoever sends and whoever handles. */
  start(): Promise<void>;
  /** Sends while it breaks things, one after the other, and mends them. Resolves when all is mended, and the outcome of everything there. */
  run(): Promise<void>;
  /** The buses that run now. */
  buses(): readonly Bus[];
  /** The messages that were accepted and have not yet ended everywhere. */
  unfinished(): readonly string[];
  /** Without what is among the dead letters. */
  history(channel: "topic" | "queue"): Omit<History, "deaths">;
}

interface Instance {
  readonly service: string;
  readonly name: string;
  readonly bus: Bus;
  readonly link: Link;
}

/** What a message's attempt comes to: the same for the same seed, whoever makes it. */
function fate(seed: number, id: string, group: string, attempt: number): "handled" | "failed" {
  let hash = seed;
  for (const character of `${id} ${group}`) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  const luck = seededChance(hash).next();
  // Of twenty-five messages one always fails, and four do once or twice.
  if (luck < 0.04) return "failed";
  return luck < 0.2 && attempt <= (luck < 0.1 ? 2 : 1) ? "failed" : "handled";
}

export function createRandomRun(world: World, seed: number): RandomRun {
  const chance = seededChance(seed);
  const { bounds, faults, harness } = world;
  const { settlement, durable, delayedDelivery } = harness.capabilities;
  /**
   * How long after a fault its consequences may still show: who was cut off learns it late, and where a group shares partitions it takes them
   * back from whoever is silent for a lease.
   */
  const aftermathMs = settlement === "prefix" ? Math.max(500, bounds.leaseMs) : 500;
  const event = keyedHappenedOn(world.orderedTopic("events"));
  const command = world.queue("commands").command("work", { schema: anything<Keyed>(), key: ({ key }) => key });
  const services = ["alpha", "beta"];
  const instances: Instance[] = [];
  const publishes: (Publish & { readonly channel: string })[] = [];
  const handlings: (Handling & { readonly channel: string })[] = [];
  const broken: Fault[] = [];
  const dead = new Set<string>();
  const eventCall = keyedRollCall(world);
  const commandCall = keyedRollCall(world);
  let publisher: Instance | undefined;
  let count = 0;

  const pause = (ms: number): Promise<void> => sleep(systemClock, ms, world.waiting.signal);

  const handlerOf = (channel: string, group: string, instance: string): Handler<Keyed> => {
    const pauses = seededChance(seed + count);
    return async (message, { attempt, signal }) => {
      const startedAt = Date.now();
      const note = (outcome: Handling["outcome"]): void => {
        const body = JSON.stringify(message.data);
        const endedAt = Date.now();
        const ending = signal.aborted ? "void" : outcome;
        handlings.push({
          channel,
          id: message.id,
          group,
          instance,
          attempt,
          body,
          startedAt,
          endedAt,
          outcome: ending,
        });
      };
      // Some take long enough for a fault to fall into their handling.
      const pauseMs = pauses.chance(0.1) ? pauses.between(30, 200) : pauses.between(0, 4);
      if (pauseMs > 2) await pause(pauseMs);
      const outcome = fate(seed, message.id, group, attempt);
      note(outcome);
      if (outcome === "failed") throw new Error(`attempt ${attempt} was to fail`);
    };
  };

  const join = async (service: string): Promise<void> => {
    const name = `${service}-${++count}`;
    const link = await faults.openLink();
    world.defer(() => link.close());
    const bus = world.bus(service, {
      transport: link.openTransport(),
      concurrency: chance.between(1, 8),
      observe: (told) => {
        if (told.name === "message.dead-lettered") dead.add(`${told.message.id} ${told.message.group}`);
      },
    });
    const inProcess: RetryPolicy = { attempts: maxAttempts, backoff: { initialMs: 20, maxMs: 60 } };
    bus.subscribe(event, eventCall.answering(name, handlerOf("topic", service, name)), { retry: inProcess });
    if (service === services[0])
      bus.handle(command, commandCall.answering(name, handlerOf("queue", command.channel.name, name)), {
        retry: delayedDelivery ? durably(maxAttempts, 100) : inProcess,
      });
    await bus.start({ timeoutMs: 2 * bounds.resumeMs });
    const sender = senderOf();
    await eventCall.complete((call) => sender.publish(event, call));
    await commandCall.complete((call) => sender.send(command, call));
    instances.push({ service, name, bus, link });
  };

  const leave = async (instance: Instance, timeoutMs: number): Promise<void> => {
    instances.splice(instances.indexOf(instance), 1);
    await instance.bus.close({ timeoutMs });
    await instance.link.close();
  };

  const senderOf = (): Bus => {
    if (publisher === undefined) throw new Error("Nobody can send before the run has started.");
    return publisher.bus;
  };

  /** Sends one message, and notes what its sender learns. */
  const sendOne = async (plan: Chance, channel: "topic" | "queue", key: string, seq: number): Promise<void> => {
    const id = `${channel}-${key}-${seq}`;
    const delays = delayedDelivery && plan.chance(channel === "queue" ? 0.3 : 0.05);
    const notBefore = delays ? new Date(Date.now() + plan.between(0, mostDelayMs)) : undefined;
    const timeoutMs = plan.chance(0.1) ? plan.between(1, 200) : 2 * bounds.resumeMs;
    const options = { id, timeoutMs, ...(notBefore === undefined ? {} : { notBefore }) };
    const invokedAt = Date.now();
    const data = { key, seq };
    const bus = senderOf();
    const sent = channel === "topic" ? bus.publish(event, data, options) : bus.send(command, data, options);
    const outcome = await sent.then(
      () => "acked" as const,
      (error: unknown) => (isPosthornError(error, "PUBLISH_TIMEOUT") ? ("failed" as const) : ("unknown" as const)),
    );
    publishes.push({
      channel,
      id,
      key,
      seq,
      body: JSON.stringify(data),
      notBefore: notBefore?.getTime(),
      invokedAt,
      endedAt: Date.now(),
      outcome,
    });
  };

  /** Every bus has a connection, and its consumers. */
  const healed = (): Promise<unknown> =>
    world.eventually(
      "everything to be connected again",
      () => [...instances, publisher].every((each) => each?.bus.health().transport.status === "connected"),
      { withinMs: 2 * bounds.resumeMs, seen: () => instances.map(({ name, bus }) => [name, bus.health()]) },
    );

  const breaking = async (
    what: string,
    instance: Instance | undefined,
    work: () => Promise<unknown>,
  ): Promise<void> => {
    const from = Date.now();
    await work();
    await healed();
    const fault = { what, from, to: Date.now() + aftermathMs };
    const own = settlement === "message" && instance !== undefined && instance !== publisher;
    broken.push(own ? { ...fault, instance: instance.name } : fault);
  };

  const breakOne = async (): Promise<void> => {
    const victim = chance.pick(instances);
    const linked = publisher !== undefined && chance.chance(0.3) ? publisher : victim;
    const shortMs = chance.between(50, 400);
    const place = chance.chance(0.5)
      ? ({ kind: "inlet", channel: event.channel, group: victim.service } as const)
      : ({ kind: "inlet", channel: command.channel, group: command.channel.name } as const);
    const held = async (begin: () => Promise<void>): Promise<void> => {
      await begin();
      await pause(shortMs);
      await linked.link.restore();
    };
    const kinds: readonly [string, Instance | undefined, () => Promise<unknown>][] = [
      [`the link of ${linked.name} was cut`, linked, () => linked.link.cut()],
      [`the link of ${linked.name} was down`, linked, () => held(() => linked.link.down())],
      [`the link of ${linked.name} stood still`, linked, () => held(() => linked.link.stall())],
      [`the link of ${linked.name} was deaf`, linked, () => held(() => linked.link.swallowAnswers())],
      ["all connections were closed", undefined, () => faults.closeConnections()],
      [`the consumers of ${place.group} were broken`, undefined, () => faults.breakConsumers(place)],
      [`${victim.name} was ended in mid-work`, victim, () => leave(victim, 0).then(() => join(victim.service))],
    ];
    await breaking(...chance.pick(kinds));
  };

  /** No fault where settlements are each on their own. */
  const change = async (): Promise<void> => {
    const leaver = chance.pick(instances);
    const work = (): Promise<unknown> => join(leaver.service).then(() => leave(leaver, 2 * bounds.resumeMs));
    if (settlement === "prefix") await breaking(`${leaver.name} left, and another one came`, undefined, work);
    else await work();
  };

  const restart = (): Promise<void> =>
    breaking("the broker was killed and started", undefined, async () => {
      await faults.killBroker();
      await faults.startBroker();
    });

  const breakThings = async (): Promise<void> => {
    for (const round of numbers(4)) {
      await pause(chance.between(20, 250));
      if (round === 1) await change();
      else if (round === 3 && durable && seed % 4 === 3) await restart();
      else await breakOne();
    }
  };

  return {
    seed,
    event,
    command,
    services,
    async start() {
      const link = await faults.openLink();
      world.defer(() => link.close());
      const bus = world.bus("shop", { transport: link.openTransport() });
      bus.declare(event, command);
      await bus.start();
      publisher = { service: "shop", name: "the publisher", bus, link };
      for (const service of services) await Promise.all([join(service), join(service)]);
    },
    async run() {
      let breaking = true;
      const goesOn = (count: number, { least, most }: typeof perKey): boolean =>
        count < least || (breaking && count < most);
      const sending = numbers(keyCount).map(async (n) => {
        const plan = seededChance(seed * 1_000 + n);
        for (let seq = 0; goesOn(seq, perKey); seq++) {
          await sendOne(plan, "topic", `key-${n}`, seq);
          await pause(plan.between(0, 2 * mostPauseMs));
        }
      });
      const plan = seededChance(seed * 1_000 + 999);
      const commanding = async (): Promise<void> => {
        const sent: Promise<void>[] = [];
        for (let n = 0; goesOn(n, commands); n++) {
          sent.push(sendOne(plan, "queue", `key-${n % 3}`, n));
          await pause(plan.between(0, mostPauseMs / 2));
        }
        await Promise.all(sent);
      };
      const breakingThings = breakThings().finally(() => (breaking = false));
      await Promise.all([...sending, commanding(), breakingThings]);
    },
    buses: () => instances.map(({ bus }) => bus),
    unfinished() {
      const ended = new Set(dead);
      for (const { id, group, outcome } of handlings) if (outcome === "handled") ended.add(`${id} ${group}`);
      return publishes
        .filter(({ outcome }) => outcome === "acked")
        .flatMap(({ id, channel }) =>
          (channel === "topic" ? services : [command.channel.name]).map((group) => `${id} ${group}`),
        )
        .filter((one) => !ended.has(one));
    },
    history: (channel) => ({
      groups: channel === "topic" ? services : [command.channel.name],
      ordered: channel === "topic",
      settlement,
      maxAttempts,
      publishes: publishes.filter((publish) => publish.channel === channel),
      handlings: handlings.filter((handling) => handling.channel === channel),
      faults: broken,
    }),
  };
}
