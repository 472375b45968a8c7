/** Receives from one queue: what comes is handed out, kept while it is in hand, and settled. */
import type { Consumption, Settlement, TransportEnvironment } from "@posthorn/core/transport";
import type { ReceivedMessage, RequestFailure } from "./aws.ts";
import { awsError, closedError } from "./errors.ts";
import type { Lease } from "./leases.ts";
import { createLeases } from "./leases.ts";
import type { Settings } from "./options.ts";
import { createPolling } from "./polling.ts";
import type { Reach } from "./reach.ts";
import { createSettlements } from "./settlements.ts";
import type { UpkeepOptions } from "./upkeep.ts";
import { createUpkeep } from "./upkeep.ts";

export interface ReaderOptions extends Pick<UpkeepOptions, "what" | "restore" | "onLost" | "onRestored" | "onFailed"> {
  readonly reach: Reach;
  readonly environment: TransportEnvironment;
  readonly settings: Pick<Settings, "visibilitySeconds" | "waitSeconds">;
  /** The queue's messages of a group come one after the other. */
  readonly fifo: boolean;
  /** Finds the queue's URL, never out of a memory that has proved wrong. @throws UNROUTABLE */
  readonly find: (signal: AbortSignal, again: boolean) => Promise<string>;
  /** Its promise says what becomes of the message, which `lease` is the hold on. */
  readonly receive: (received: ReceivedMessage, lease: Pick<Lease, "lost">) => Promise<Settlement>;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** It was stopped and the last message is settled, or it was closed. Called once. */
  readonly onEnded: () => void;
}

/** How a transport comes by what is in its queues. */
export type OpenReader = (options: ReaderOptions) => Reader;

export interface Reader extends Consumption {
  readonly restoring: boolean;
  /** Resolves when it receives. @throws UNROUTABLE, ABORTED */
  start(signal: AbortSignal): Promise<void>;
  /** Carries out what is settled and gives back the rest; gives all up when the signal has fired. */
  close(signal: AbortSignal): Promise<void>;
}

const noNumbers = { first: Infinity, last: 0 } as const;

/** Most settlements that may be outstanding before nothing more is received, beside one for each message in hand. */
const mostUnsettled = 200;

/** It polls the queue. */
export function createReader(options: ReaderOptions): Reader {
  const { reach, environment, settings, what } = options;
  const { visibilitySeconds, waitSeconds } = settings;
  let { maxInFlight, paused } = options;
  const ending = new AbortController();
  let url = "";
  let stopped = false;
  /** Calls of `receive` that have not come back, those of lost leases included. */
  let pending = 0;

  const upkeep = createUpkeep({
    ...options,
    ending: ending.signal,
    async find(signal) {
      url = await options.find(signal, url !== "");
    },
    onLost(error) {
      for (const lease of leases.held) leases.lose(lease, error);
      options.onLost(error);
    },
  });

  const common = { reach, environment, url: () => url, ending: ending.signal };

  const leases = createLeases({
    ...common,
    visibilitySeconds,
    onLost(lease, reason) {
      settlements.lost(lease, reason);
      onBroken(lease);
    },
    onRefused,
  });

  const settlements = createSettlements({
    ...common,
    leases,
    onSettled() {
      polling.wake();
      endWhenIdle();
    },
    onGivenUp(reason) {
      // Those of one request are told together.
      if (givenUp++ === 0) setImmediate(tellGivenUp, reason);
    },
    onRefused,
  });

  const polling = createPolling({
    ...common,
    visibilitySeconds,
    waitSeconds,
    room() {
      if (paused || stopped || settlements.open > maxInFlight + mostUnsettled) return 0;
      return maxInFlight - pending;
    },
    inDoubt: () => upkeep.lost,
    onMessages,
    onAnswer: () => upkeep.worked(),
    recover: (failure) => upkeep.recover(failure),
    onEnded: endWhenIdle,
  });

  let refused = false;

  /** Told once: it goes on until somebody grants it. */
  function onRefused(refusal: RequestFailure): void {
    if (refused) return;
    refused = true;
    options.onFailed(`What was received from ${what} cannot be kept, deleted or given back`, awsError(refusal, what));
  }

  let givenUp = 0;

  function tellGivenUp(reason: unknown): void {
    options.onFailed(`${givenUp} handled of ${what} could not be deleted in time, and may come again`, reason);
    givenUp = 0;
  }

  function onMessages(messages: readonly ReceivedMessage[], askedAt: number, answeredBy: number): void {
    for (const received of messages) {
      const lease = leases.grant(received, askedAt, answeredBy);
      // The answer was so long on its way that somebody else may have it.
      if (lease.endsAt <= environment.clock.monotonic()) continue;
      // It came while less was wanted for a moment.
      if (paused || stopped || pending >= maxInFlight) settlements.release(lease);
      else handOut(received, lease);
    }
  }

  function handOut(received: ReceivedMessage, lease: Lease): void {
    pending++;
    leases.keep(lease);
    const back = (settlement: Settlement): void => {
      pending--;
      if (lease.state === "pending" && settlement === "accept") settlements.accept(lease);
      else if (lease.state === "pending") {
        settlements.release(lease);
        onBroken(lease);
      }
      polling.wake();
      endWhenIdle();
    };
    take(received, lease).then(back, () => back("release"));
  }

  function take(received: ReceivedMessage, lease: Lease): Promise<Settlement> {
    try {
      return options.receive(received, lease);
    } catch {
      return Promise.resolve("release");
    }
  }

  /** By group, the first message that comes again, and the last that had come by then. */
  const broken = new Map<string, { readonly first: number; readonly last: number }>();

  function onBroken({ groupId, number }: Lease): void {
    if (!options.fifo || groupId === undefined || ending.signal.aborted) return;
    // When what is settled together has been settled.
    if (broken.size === 0) setImmediate(takeBackFollowers);
    const before = broken.get(groupId)?.first ?? Infinity;
    broken.set(groupId, { first: Math.min(number, before), last: leases.lastNumber });
  }

  /** What comes after it in its group must not be handled before it. */
  function takeBackFollowers(): void {
    for (const lease of leases.held) {
      const { first, last } = broken.get(lease.groupId ?? "") ?? noNumbers;
      if (lease.state !== "pending" || lease.number <= first || lease.number > last) continue;
      lease.lose(new Error("A message of the same key that came before it was given back, or its lease was lost."));
      settlements.release(lease);
    }
    broken.clear();
  }

  function stop(): void {
    stopped = true;
    endWhenIdle();
  }

  function endWhenIdle(): void {
    if (stopped && pending === 0 && settlements.open === 0 && polling.open === 0) end();
  }

  function end(): void {
    if (ending.signal.aborted) return;
    stopped = true;
    const reason = closedError();
    ending.abort(reason);
    polling.close();
    for (const lease of leases.held) leases.lose(lease, reason);
    options.onEnded();
  }

  return {
    get restoring() {
      return upkeep.lost && !stopped;
    },

    async start(signal) {
      try {
        await upkeep.start(AbortSignal.any([signal, ending.signal]));
      } catch (error) {
        throw ending.signal.aborted && !signal.aborted ? closedError() : error;
      }
      polling.wake();
    },

    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      polling.wake();
    },
    resize(value) {
      maxInFlight = value;
      polling.wake();
    },

    async stop() {
      stop();
    },

    async close(signal) {
      stopped = true;
      polling.close();
      if (!signal.aborted && !ending.signal.aborted) {
        // What has just been settled is on its way here.
        await new Promise<void>((resolve) => setImmediate(resolve));
        for (const lease of leases.held) {
          if (lease.state !== "pending") continue;
          lease.lose(closedError());
          settlements.release(lease);
        }
        await settlements.flush(AbortSignal.any([signal, ending.signal])).catch(() => undefined);
      }
      end();
    },
  };
}
