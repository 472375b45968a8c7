/**
 * Receives from one queue what the invocations of a function bring, in place of polls.
 *
 * Nothing is renewed, deleted or given back by a request: the answer to the invocation says what is to come again, and AWS Lambda sees to
 * it. A message that nobody may be handed yet waits here, as long as its invocation lasts.
 */
import type { Settlement } from "@posthorn/core/transport";
import type { ReceivedMessage } from "./aws.ts";
import { closedError } from "./errors.ts";
import type { Reader, ReaderOptions } from "./reader.ts";
import { createUpkeep } from "./upkeep.ts";

export interface LambdaReaderOptions extends ReaderOptions {
  /** It receives from now on. */
  readonly onStarted: (url: string) => void;
  /** It receives no more. */
  readonly onStopped: () => void;
}

export interface LambdaReader extends Reader {
  /**
   * Hands out the messages of an invocation, in their order. Resolves when all are settled, with those that are to come again.
   *
   * On a FIFO queue these are also all that come after them in their group and are not settled yet.
   *
   * @param deadline when it fires, what is not settled is lost
   */
  take(messages: readonly ReceivedMessage[], deadline: AbortSignal): Promise<readonly ReceivedMessage[]>;
}

/** A message that is not settled. */
interface Item {
  readonly received: ReceivedMessage;
  /** Rises in the order of arrival. */
  readonly number: number;
  readonly loss: AbortController;
  readonly settle: (settlement: Settlement) => void;
}

export function createLambdaReader(options: LambdaReaderOptions): LambdaReader {
  let { maxInFlight, paused } = options;
  const ending = new AbortController();
  let url = "";
  let stopped = false;
  /** Calls of `receive` that have not come back, those of lost messages included. */
  let pending = 0;
  let lastNumber = 0;
  /** In the order of their arrival. */
  const open = new Set<Item>();
  /** Those of them that were not handed out yet. */
  const waiting = new Set<Item>();

  const upkeep = createUpkeep({
    ...options,
    ending: ending.signal,
    async find(signal) {
      url = await options.find(signal, url !== "");
    },
  });

  function handOut(): void {
    for (const item of waiting) {
      if (paused || stopped || pending >= maxInFlight) return;
      waiting.delete(item);
      pending++;
      const back = (settlement: Settlement): void => {
        pending--;
        settle(item, settlement);
        handOut();
        endWhenIdle();
      };
      options.receive(item.received, { lost: item.loss.signal }).then(back, () => back("release"));
    }
  }

  function settle(item: Item, settlement: Settlement): void {
    if (!open.delete(item)) return;
    waiting.delete(item);
    item.settle(settlement);
    if (settlement === "release") loseFollowers(item);
  }

  function lose(item: Item, reason: unknown): void {
    item.loss.abort(reason);
    settle(item, "release");
  }

  /** What comes after it in its group must not be handled before it. */
  function loseFollowers({ received: { groupId }, number }: Item): void {
    if (!options.fifo || groupId === undefined) return;
    for (const item of open) {
      if (item.received.groupId !== groupId || item.number < number) continue;
      lose(item, new Error("A message of the same key that came before it was given back, or was lost."));
    }
  }

  async function take(
    messages: readonly ReceivedMessage[],
    deadline: AbortSignal,
  ): Promise<readonly ReceivedMessage[]> {
    const items: Item[] = [];
    const settlements = messages.map((received) => {
      const { promise, resolve } = Promise.withResolvers<Settlement>();
      items.push({ received, number: ++lastNumber, loss: new AbortController(), settle: resolve });
      return promise;
    });
    for (const item of items) {
      open.add(item);
      waiting.add(item);
    }
    const giveUp = (): void => {
      const late = items.filter((item) => open.has(item));
      for (const item of late) lose(item, deadline.reason);
      options.onFailed(
        `${late.length} of ${options.what} could not be handled in time, and come again`,
        deadline.reason,
      );
    };
    deadline.addEventListener("abort", giveUp, { once: true });
    if (deadline.aborted) giveUp();
    if (stopped) giveBackWaiting();
    handOut();
    const settled = await Promise.all(settlements);
    deadline.removeEventListener("abort", giveUp);
    return messages.filter((_, index) => settled[index] === "release");
  }

  function stop(): void {
    if (stopped) return;
    stopped = true;
    options.onStopped();
    giveBackWaiting();
    endWhenIdle();
  }

  function giveBackWaiting(): void {
    for (const item of waiting) settle(item, "release");
  }

  function endWhenIdle(): void {
    if (stopped && pending === 0) end();
  }

  function end(): void {
    if (ending.signal.aborted) return;
    const reason = closedError();
    ending.abort(reason);
    for (const item of open) lose(item, reason);
    options.onEnded();
  }

  return {
    // Nobody tells when a queue is gone: its invocations stay away.
    restoring: false,
    take,

    async start(signal) {
      try {
        await upkeep.start(AbortSignal.any([signal, ending.signal]));
      } catch (error) {
        throw ending.signal.aborted && !signal.aborted ? closedError() : error;
      }
      if (!stopped) options.onStarted(url);
    },

    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      handOut();
    },
    resize(value) {
      maxInFlight = value;
      handOut();
    },

    async stop() {
      stop();
    },

    async close(signal) {
      stop();
      // What has just been settled is on its way here.
      if (!signal.aborted) await new Promise<void>((resolve) => setImmediate(resolve));
      end();
    },
  };
}
