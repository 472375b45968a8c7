/** The dead letters of one group, over what a transport can do with messages that wait. */
import type { DeadLetterAddress } from "./address.ts";
import { inletAddress } from "./address.ts";
import type { WaitOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { sleep } from "./clock.ts";
import type {
  DeadLetterChannel,
  DeadLetterFilter,
  DeadLetterSummary,
  RedriveOptions,
  RedriveReport,
} from "./dead-letter-channel.ts";
import { deadLetterLine } from "./dead-letter-line.ts";
import type { DeadLetter } from "./dead-letter.ts";
import { fromDeadLetter, toRedriven } from "./dead-letter.ts";
import { createDeadline } from "./deadline.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { iterate } from "./iterate.ts";
import type { Message } from "./message.ts";
import type { Observe } from "./observe.ts";
import { checkPositive } from "./settings.ts";
import type { Transport, Verdict } from "./transport.ts";

const defaultWaitMs = 30_000;
const defaultBrowseLimit = 100;
const defaultMaxRedrives = 10;
/** So many redriven messages wait for the broker at a time. On an ordered channel one does: they go back in their order. */
const mostUnderWay = 64;
/** Kinds of failure that a summary tells apart; what is over is summed up under an empty name. */
const mostKinds = 1_000;
const unlimited = Number.MAX_SAFE_INTEGER;

/** What a desk needs of its bus. */
export interface DeskEnvironment {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly observe: Observe;
  readonly publishTimeoutMs: number;
  readonly dispatcher: Dispatcher;
  /** Fires when the bus begins to close. */
  readonly closing: AbortSignal;
  /** @throws NOT_STARTED, CLOSED */
  assertOpen(): void;
}

export function createDeadLetterDesk(address: DeadLetterAddress, environment: DeskEnvironment): DeadLetterChannel {
  const { clock, observe, dispatcher, publishTimeoutMs } = environment;
  const { admin } = environment.transport;
  const { channel, group } = address;
  const inlet = inletAddress(channel, group);

  const read = (message: Message): DeadLetter => fromDeadLetter(message, { channel: channel.name, group });

  const walk = (
    visit: (deadLetter: DeadLetter) => Verdict | Promise<Verdict>,
    signal: AbortSignal,
    { maxPending = 1, exclusive = false } = {},
  ): Promise<void> =>
    admin.walk(address, async (message) => visit(read(message)), { signal, limit: unlimited, maxPending, exclusive });

  const redriveOne = async (dead: DeadLetter, signal: AbortSignal): Promise<void> => {
    await dispatcher.dispatch(inlet, toRedriven(dead), publishTimeoutMs, signal);
    const { id, type } = dead.message;
    observe({
      name: "dead-letter.redriven",
      level: "info",
      id,
      type,
      channel,
      group,
      redriveCount: dead.redriveCount + 1,
    });
  };

  return {
    channel,
    group,
    depth: (options) => administer(environment, "depth", options, (signal) => admin.depth(address, { signal })),

    async browse(options = {}) {
      const limit = checkPositive("limit", options.limit ?? defaultBrowseLimit);
      const matches = matcherOf(options);
      const found: DeadLetter[] = [];
      await administer(environment, "browse", options, (signal) =>
        walk((dead) => {
          if (matches(dead)) found.push(dead);
          return found.length < limit ? "keep" : "stop";
        }, signal),
      );
      return found;
    },

    async find(id, options) {
      let found: DeadLetter | undefined;
      await administer(environment, "search", options, (signal) =>
        walk((dead) => {
          if (dead.message.id !== id) return "keep";
          found = dead;
          return "stop";
        }, signal),
      );
      return found;
    },

    async summarize(options = {}) {
      const matches = matcherOf(options);
      const kinds = new Map<string, DeadLetterSummary>();
      await administer(environment, "summary", options, (signal) =>
        walk((dead) => {
          if (matches(dead)) count(kinds, dead);
          return "keep";
        }, signal),
      );
      return [...kinds.values()].toSorted((one, other) => other.count - one.count);
    },

    async redrive(options = {}) {
      environment.assertOpen();
      const { limit, maxRedrives, intervalMs } = checkedRedrive(options);
      const matches = matcherOf(options);
      const ended = new AbortController();
      using deadline = createDeadline(clock, undefined, "redrive", [environment.closing, options.signal, ended.signal]);
      const { signal } = deadline;
      const report = { redriven: 0, unmatched: 0, guarded: 0 };
      const pace = createPace(clock, intervalMs, signal);
      let chosen = 0;
      try {
        await walk(
          async (dead): Promise<Verdict> => {
            if (chosen === limit) return "stop";
            if (!matches(dead)) {
              report.unmatched++;
              return "keep";
            }
            if (dead.redriveCount >= maxRedrives) {
              report.guarded++;
              return "keep";
            }
            chosen++;
            if (options.dryRun !== true) {
              await pace();
              await redriveOne(dead, signal);
            }
            report.redriven++;
            return options.dryRun === true ? "keep" : "remove";
          },
          signal,
          { maxPending: channel.ordered ? 1 : mostUnderWay, exclusive: options.dryRun !== true },
        );
      } finally {
        // A walk that was cut off leaves nothing behind that would still be sent.
        ended.abort();
      }
      return report satisfies RedriveReport;
    },

    async purge(options = {}) {
      if (!isFilter(options))
        return administer(environment, "purge", options, (signal) => admin.purge(address, { signal }));
      const matches = matcherOf(options);
      let purged = 0;
      await administer(environment, "purge", options, (signal) =>
        walk((dead) => {
          if (!matches(dead)) return "keep";
          purged++;
          return "remove";
        }, signal),
      );
      return purged;
    },

    export(options = {}) {
      const matches = matcherOf(options);
      return iterate<string>(async (emit, ended) => {
        environment.assertOpen();
        using deadline = createDeadline(clock, undefined, "export", [environment.closing, options.signal, ended]);
        await walk(async (dead): Promise<Verdict> => {
          if (matches(dead)) await emit(deadLetterLine(dead));
          return "keep";
        }, deadline.signal);
      });
    },
  };
}

/** Something asked of the broker, within a time. */
export async function administer<Result>(
  environment: Pick<DeskEnvironment, "clock" | "closing" | "assertOpen">,
  what: string,
  options: WaitOptions | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  environment.assertOpen();
  const timeoutMs = options?.timeoutMs ?? defaultWaitMs;
  using deadline = createDeadline(environment.clock, timeoutMs, what, [options?.signal, environment.closing]);
  return await work(deadline.signal);
}

function isFilter(filter: DeadLetterFilter): boolean {
  const { ids, reason, errorName, type, failedBefore, where } = filter;
  return [ids, reason, errorName, type, failedBefore, where].some((criterion) => criterion !== undefined);
}

function matcherOf(filter: DeadLetterFilter): (dead: DeadLetter) => boolean {
  const { reason, errorName, type, failedBefore, where } = filter;
  const ids = filter.ids === undefined ? undefined : new Set(filter.ids);
  return (dead) =>
    (ids === undefined || ids.has(dead.message.id)) &&
    (reason === undefined || dead.reason === reason) &&
    (errorName === undefined || dead.errorName === errorName) &&
    (type === undefined || dead.message.type === type) &&
    (failedBefore === undefined || (dead.lastFailedAt !== undefined && dead.lastFailedAt < failedBefore)) &&
    (where === undefined || where(dead));
}

function checkedRedrive(options: RedriveOptions): { limit: number; maxRedrives: number; intervalMs: number } {
  const rate = options.messagesPerSecond;
  if (rate !== undefined && !(rate > 0)) checkPositive("messagesPerSecond", rate);
  return {
    limit: checkPositive("limit", options.limit ?? unlimited),
    maxRedrives: checkPositive("maxRedrives", options.maxRedrives ?? defaultMaxRedrives),
    intervalMs: rate === undefined ? 0 : 1_000 / rate,
  };
}

/** Each call resolves one interval after the last, the first at once. */
function createPace(clock: Clock, intervalMs: number, signal: AbortSignal): () => Promise<void> {
  let nextAt = clock.monotonic();
  return async () => {
    if (intervalMs === 0) return;
    const waitMs = nextAt - clock.monotonic();
    nextAt += Math.max(intervalMs, intervalMs - waitMs);
    if (waitMs > 0) await sleep(clock, waitMs, signal);
  };
}

function count(kinds: Map<string, DeadLetterSummary>, dead: DeadLetter): void {
  const { reason, errorMessage } = dead;
  const known = kinds.get(`${reason} ${dead.errorName}`);
  const errorName = known === undefined && kinds.size >= mostKinds ? "" : dead.errorName;
  const key = `${reason} ${errorName}`;
  const kind = known ?? kinds.get(key);
  kinds.set(key, {
    reason,
    errorName,
    errorMessage,
    count: (kind?.count ?? 0) + 1,
    firstFailedAt: earlier(kind?.firstFailedAt, dead.firstFailedAt),
    lastFailedAt: later(kind?.lastFailedAt, dead.lastFailedAt),
  });
}

function earlier(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one <= other ? one : other;
}

function later(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one >= other ? one : other;
}
