/**
 * Receiving from a group's queue, or its dead letters, until stopped.
 *
 * One message's life: received by a reader, handed out under a lease, and deleted or given back. An ordered group's delay queue is
 * read beside it, and what is due there joins the queue.
 */
import type {
  Consumption,
  DeadLetterAddress,
  Delivery,
  InletAddress,
  Message,
  Receive,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { sleep } from "@posthorn/core/transport";
import { decodeMessage } from "./decode.ts";
import { createDelayPump } from "./delay-pump.ts";
import { describeAddress } from "./describe-address.ts";
import { unroutable } from "./errors.ts";
import type { Lease } from "./leases.ts";
import type { Settings } from "./options.ts";
import type { Places } from "./places.ts";
import type { Reach } from "./reach.ts";
import type { OpenReader, Reader } from "./reader.ts";

export interface IntakeOptions {
  readonly reach: Reach;
  readonly places: Places;
  readonly settings: Settings;
  readonly environment: TransportEnvironment;
  readonly openReader: OpenReader;
  readonly source: InletAddress | DeadLetterAddress;
  readonly receive: Receive;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** Makes the group's queues again where this transport has made them; false where it has not. */
  readonly restore: (signal: AbortSignal) => Promise<boolean>;
  /** A queue is gone. Told once until all are back. */
  readonly onLost: (error: Error) => void;
  readonly onRestored: () => void;
  readonly onFailed: (detail: string, error: unknown) => void;
  /** It was stopped and the last delivery is settled, or it was closed. */
  readonly onEnded: () => void;
}

export interface Intake {
  readonly consumption: Consumption;
  /** A queue is gone, and not back yet. */
  readonly restoring: boolean;
  /** Resolves when it receives. @throws UNROUTABLE */
  start(signal: AbortSignal): Promise<void>;
  /** Carries out what is settled and gives back the rest; gives all up when the signal has fired. */
  close(signal: AbortSignal): Promise<void>;
}

/** What is due so soon waits here, under its lease. */
const holdMs = 1_000;

export function createIntake(options: IntakeOptions): Intake {
  const { places, source, environment } = options;
  const { clock } = environment;
  const { channel } = source;
  let holding = new AbortController();
  const what = describeAddress(source);
  let lost = 0;
  let running = 0;

  const common = {
    ...options,
    onLost(error: Error) {
      if (lost++ === 0) options.onLost(error);
    },
    onRestored() {
      if (--lost === 0) options.onRestored();
    },
    onEnded() {
      if (--running === 0) options.onEnded();
    },
  };

  const queue = options.openReader({
    ...common,
    what,
    fifo: channel.ordered,
    async find(signal, again) {
      if (again) places.forget(source);
      const place = await places.find(source, signal);
      if (place.kind !== "queue") throw unroutable(what);
      return place.url;
    },
    async receive(received, lease) {
      const { message, defect } = decodeMessage(received);
      const { notBefore } = message;
      if (notBefore !== undefined && source.kind === "inlet" && !(await untilDue(notBefore, lease.lost)))
        return "release";
      return options.receive(new SqsDelivery(message, received.receiveCount, defect, lease));
    },
  });

  /** SQS delays by whole seconds, and SNS not at all. What is due later than a moment from now is for core to send on. */
  async function untilDue(notBefore: number, lost: AbortSignal): Promise<boolean> {
    const held = AbortSignal.any([lost, holding.signal]);
    for (let dueInMs = notBefore - clock.now(); dueInMs > 0 && dueInMs <= holdMs; dueInMs = notBefore - clock.now()) {
      await sleep(clock, dueInMs, held).catch(() => undefined);
      if (held.aborted) return false;
    }
    return true;
  }

  /** Nothing is delivered after a pause or a stop: what waits for its time goes back. */
  function letGo(): void {
    holding.abort();
    holding = new AbortController();
  }

  // It begins first: nothing is received where a part of the group is missing.
  const readers: readonly Reader[] =
    source.kind === "inlet" && channel.ordered
      ? [createDelayPump({ ...common, what: `the delay queue of ${what}`, inlet: source }), queue]
      : [queue];
  running = readers.length;

  return {
    get restoring() {
      return readers.some(({ restoring }) => restoring);
    },

    async start(signal) {
      for (const reader of readers) await reader.start(signal);
    },

    async close(signal) {
      await Promise.all(readers.map((reader) => reader.close(signal)));
    },

    consumption: {
      pause() {
        readers.forEach((reader) => reader.pause());
        letGo();
      },
      resume: () => readers.forEach((reader) => reader.resume()),
      // What is moved is not delivered.
      resize: (maxInFlight) => queue.resize(maxInFlight),
      async stop() {
        letGo();
        await Promise.all(readers.map((reader) => reader.stop()));
      },
    },
  };
}

class SqsDelivery implements Delivery {
  readonly message: Message;
  readonly deliveryCount: number;
  readonly defect: string | undefined;
  readonly #lease: Pick<Lease, "lost">;

  constructor(message: Message, deliveryCount: number, defect: string | undefined, lease: Pick<Lease, "lost">) {
    this.message = message;
    this.deliveryCount = deliveryCount;
    this.defect = defect;
    this.#lease = lease;
  }

  get lost(): AbortSignal {
    return this.#lease.lost;
  }
}
