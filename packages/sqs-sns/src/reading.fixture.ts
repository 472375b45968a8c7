/** What reads a queue needs beside it: a reach that tests cut and mend, places, and deliveries that wait to be settled. */
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock, sampleMessage } from "@posthorn/core/testing";
import type { Address, ChannelInfo, Delivery, Message, Settlement } from "@posthorn/core/transport";
import { abortable, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import type { Aws, SendEntry } from "./aws.ts";
import type { FakeAws } from "./aws.fixture.ts";
import { createFakeAws } from "./aws.fixture.ts";
import type { FakeQueue } from "./queue.fixture.ts";
import { unroutable } from "./errors.ts";
import type { Intake, IntakeOptions } from "./intake.ts";
import { createIntake } from "./intake.ts";
import { readOptions } from "./options.ts";
import type { Places } from "./places.ts";
import type { Reach } from "./reach.ts";
import { createReader } from "./reader.ts";
import { encodeMessage, fifoIds } from "./wire.ts";

export const never: AbortSignal = new AbortController().signal;

export interface FakeReach extends Reach {
  readonly cut: () => void;
  readonly mend: () => void;
}

export function createFakeReach(aws: Aws): FakeReach {
  let outage = new AbortController();
  let up = Promise.withResolvers<void>();
  up.resolve();
  return {
    aws,
    closed: false,
    get connected() {
      return !outage.signal.aborted;
    },
    get outage() {
      return outage.signal;
    },
    start: async () => undefined,
    ready: (signal) => abortable(up.promise, signal),
    close: () => undefined,
    cut() {
      up = Promise.withResolvers<void>();
      outage.abort(new Error("There is an outage."));
    },
    mend() {
      outage = new AbortController();
      up.resolve();
    },
  };
}

/** Where things are: an inlet in `orders`, its delay queue in `delayed`, its dead letters in `dead`; FIFO where it is ordered. */
export function createFakePlaces(aws: FakeAws): Places {
  const urlOf = async (name: string, signal: AbortSignal): Promise<string> => {
    const url = await aws.sqs.queueUrl(name, signal);
    if (url === undefined) throw unroutable(`queue ${JSON.stringify(name)}`);
    return url;
  };
  const nameOf = (address: Address): string => {
    if (address.kind === "reply") throw new Error("There are no replies.");
    return (address.kind === "dead-letters" ? "dead" : "orders") + (address.channel.ordered ? ".fifo" : "");
  };
  return {
    find: async (address, signal) => {
      const name = nameOf(address);
      return { kind: "queue", url: await urlOf(name, signal), fifo: name.endsWith(".fifo") };
    },
    delayQueue: (_, signal) => urlOf("delayed", signal),
    forget: () => undefined,
    learn: () => undefined,
  };
}

/** A delivery that waits to be settled. */
export interface Held {
  readonly id: string;
  readonly delivery: Delivery;
  readonly settle: (settlement: Settlement) => void;
}

export interface Reading {
  readonly clock: VirtualClock;
  readonly aws: FakeAws;
  readonly reach: FakeReach;
  readonly queue: FakeQueue;
  readonly intake: Intake;
  /** Not settled yet. */
  readonly held: Held[];
  /** Everything that was received, by id. */
  readonly got: string[];
  readonly told: string[];
  readonly ended: () => number;
  /** Requests of a kind so far, such as `receive orders`. */
  readonly asked: (request: string) => number;
  readonly send: (...messages: readonly (string | Partial<Message>)[]) => void;
  readonly settle: (settlement: Settlement, count?: number) => void;
  /** Ids of what is on the queue, oldest first. */
  readonly left: () => readonly string[];
  readonly start: () => Promise<void>;
}

export function message(changes: Partial<Message>): Message {
  return sampleMessage({ id: "1", type: "placed", ...changes });
}

export interface ReadingOptions extends Partial<
  Pick<IntakeOptions, "openReader" | "maxInFlight" | "paused" | "restore" | "receive">
> {
  readonly ordered?: boolean;
  readonly deadLetters?: boolean;
  readonly settings?: Readonly<Record<string, unknown>>;
}

export async function createReading(options: ReadingOptions = {}): Promise<Reading> {
  const { ordered = false, deadLetters = false } = options;
  const clock = createVirtualClock();
  const aws = createFakeAws(clock);
  const reach = createFakeReach(aws);
  const channel: ChannelInfo = { kind: "queue", name: "orders", ordered };
  const suffix = ordered ? ".fifo" : "";
  const fifo: Record<string, string> = ordered ? { FifoQueue: "true" } : {};
  const name = `${deadLetters ? "dead" : "orders"}${suffix}`;
  await aws.sqs.createQueue(name, fifo, {}, never);
  if (ordered) await aws.sqs.createQueue("delayed", {}, {}, never);
  const held: Held[] = [];
  const got: string[] = [];
  const told: string[] = [];
  let ended = 0;
  const intake = createIntake({
    reach,
    places: createFakePlaces(aws),
    settings: readOptions({ region: "eu-west-1", ...options.settings }),
    environment: { clock, random: () => 0 },
    openReader: options.openReader ?? createReader,
    source: deadLetters ? deadLetterAddress(channel, "orders") : inletAddress(channel, "orders"),
    receive: (delivery) => {
      got.push(delivery.message.id);
      if (options.receive !== undefined) return options.receive(delivery);
      return new Promise((resolve) => {
        const one: Held = {
          id: delivery.message.id,
          delivery,
          settle(settlement) {
            held.splice(held.indexOf(one), 1);
            resolve(settlement);
          },
        };
        held.push(one);
      });
    },
    maxInFlight: options.maxInFlight ?? 100,
    paused: options.paused ?? false,
    restore: options.restore ?? (async () => false),
    onLost: () => told.push("lost"),
    onRestored: () => told.push("restored"),
    onFailed: (detail) => told.push(detail),
    onEnded: () => ended++,
  });
  return {
    clock,
    aws,
    reach,
    get queue() {
      return aws.queue(name);
    },
    intake,
    held,
    got,
    told,
    ended: () => ended,
    asked: (request) => aws.asked.filter((each) => each === request || each.startsWith(`${request} `)).length,
    send(...messages) {
      for (const each of messages) {
        const one = message(typeof each === "string" ? { id: each } : each);
        const entry: SendEntry = {
          ...encodeMessage(one),
          ...(ordered ? fifoIds(one, false, String(Math.random())) : {}),
        };
        aws.queue(name).accept(entry);
      }
    },
    settle(settlement, count = held.length) {
      for (const one of held.slice(0, count)) one.settle(settlement);
    },
    left: () => aws.queue(name).messages.map(({ attributes }) => idIn(attributes)),
    async start() {
      await intake.start(never);
      await clock.advance(0);
    },
  };
}

function idIn(attributes: Readonly<Record<string, unknown>>): string {
  const { id } = JSON.parse(String(attributes["posthorn"])) as { id: string };
  return id;
}
