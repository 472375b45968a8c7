/** A look at, and a hand in, what waits. On connections of its own. */
import type {
  DeadLetterAddress,
  InletAddress,
  TransportAdmin,
  TransportEnvironment,
  Visit,
  WalkOptions,
} from "@posthorn/core/transport";
import { abortable, abortedError, PosthornError, sleep, walkThrough } from "@posthorn/core/transport";
import { createAsking, named } from "./asking.ts";
import { backlogsOf, countOf, firstRecordBytes, mergeBacklogs } from "./backlog.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import type { LiveDeadLetters } from "./dead-letter-index.ts";
import { createDeadLetterIndex } from "./dead-letter-index.ts";
import { purgeDeadLetters, waitingDeadLetters } from "./dead-letters.ts";
import { closedError, connectionLost } from "./errors.ts";
import { waitingInInlet } from "./inlet-walk.ts";
import { deadLetterTopic, groupId, topicsOf } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Producer } from "./producer.ts";
import { createRemovals } from "./removals.ts";
import { withWalkLock } from "./walk-lock.ts";

export interface AdminOptions {
  readonly cluster: Cluster;
  readonly producer: Pick<Producer, "send">;
  readonly settings: Settings;
  readonly environment: TransportEnvironment;
}

/** How long a look waits for the end of a walk: it may take as long as the broker takes no messages. */
const longestEndMs = 2_000;

/**
 * A group's depth is what lies behind its committed offsets: its consumers may hold some of it. Messages that wait for
 * their time elsewhere are not counted.
 *
 * Removing from an inlet, or purging it, is moving the group's offsets, which only a group without consumers leaves to others:
 * a walk that removes rejects with UNSUPPORTED_CAPABILITY otherwise, also when it keeps a message before one that it removes, and `purge`
 * with REJECTED.
 */
export function createAdmin({ cluster, producer, settings, environment }: AdminOptions): TransportAdmin {
  const { clock } = environment;
  const asking = createAsking(cluster, environment, "admin");
  const index = createDeadLetterIndex(asking, clock);
  /** What walks that have ended are still removing, by topic. */
  const ending = new Map<string, Promise<void>>();

  /** @param work its signal fires when the caller gives up, and when the connection is lost: then nobody waits for it any more */
  async function administer<Result>(
    source: InletAddress | DeadLetterAddress,
    { signal }: { readonly signal: AbortSignal },
    work: (end: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    let outage: AbortSignal | undefined;
    try {
      await cluster.ready(signal);
      ({ outage } = cluster);
      const end = AbortSignal.any([signal, outage]);
      return await abortable(work(end), end);
    } catch (error) {
      if (signal.aborted) throw abortedError(signal);
      if (cluster.closed) throw closedError();
      if (outage?.aborted === true || error instanceof ConnectionFailure) throw connectionLost(whatIs(source), error);
      throw error;
    }
  }

  const ageOf = (timestamp: number | undefined): number | undefined =>
    timestamp === undefined || timestamp < 0 ? undefined : Math.max(0, clock.now() - timestamp);

  /** Whoever has given up a walk finds what it has removed gone. */
  async function look(topic: string, end: AbortSignal): Promise<LiveDeadLetters> {
    const before = ending.get(topic);
    if (before !== undefined) {
      const waited = new AbortController();
      const late = sleep(clock, longestEndMs, AbortSignal.any([end, waited.signal]));
      await Promise.race([before, late]).finally(() => waited.abort());
    }
    return index.look(topic, end);
  }

  async function walkDeadLetters(topic: string, visit: Visit, options: WalkOptions, end: AbortSignal): Promise<void> {
    const live = await look(topic, end);
    const removals = createRemovals(producer, topic);
    try {
      const waiting = waitingDeadLetters(asking, topic, live, removals, options.maxPending, end);
      await walkThrough(waiting, visit, options, end);
    } finally {
      // Before that nobody else may walk alone.
      const over = removals.over().finally(() => {
        if (ending.get(topic) === over) ending.delete(topic);
      });
      ending.set(topic, over);
      await over;
    }
  }

  return {
    depth: (source, options) =>
      administer(source, options, async (end) => {
        if (source.kind === "dead-letters") {
          const { places } = await look(topicOf(source), end);
          const [oldest] = places.values();
          return { ready: places.size, inFlight: undefined, oldestAgeMs: ageOf(oldest?.timestamp) };
        }
        const backlogs = await backlogsOf(cluster, asking, source, end);
        const oldest = await mergeBacklogs(asking, backlogs, firstRecordBytes, end).peek();
        return { ready: countOf(backlogs), inFlight: undefined, oldestAgeMs: ageOf(oldest?.timestamp) };
      }),
    walk: (source, visit, options) =>
      administer(source, options, async (end) => {
        if (source.kind === "inlet") {
          const backlogs = await backlogsOf(cluster, asking, source, end);
          await walkThrough(waitingInInlet(asking, source, backlogs, end), visit, options, end);
          return;
        }
        const topic = topicOf(source);
        if (options.exclusive !== true) await walkDeadLetters(topic, visit, options, end);
        else
          await withWalkLock({ cluster, settings, environment }, topic, end, (held) =>
            walkDeadLetters(topic, visit, options, held),
          );
      }),
    purge: (source, options) =>
      administer(source, options, async (end) => {
        if (source.kind === "dead-letters") {
          const topic = topicOf(source);
          return purgeDeadLetters(producer, topic, await look(topic, end), end);
        }
        const backlogs = await backlogsOf(cluster, asking, source, end);
        if (backlogs.length === 0) return 0;
        const group = groupId(source.channel, source.group);
        const offsets = backlogs.map(({ topic, partition, end: offset }) => ({
          topic,
          partition,
          offset,
          metadata: "",
        }));
        if (!(await asking.commit(group, offsets, end))) throw hasConsumers(group);
        return countOf(backlogs);
      }),
  };
}

function topicOf({ channel, group }: DeadLetterAddress): string {
  return deadLetterTopic(channel, group);
}

function whatIs(source: InletAddress | DeadLetterAddress): string {
  return named(topicsOf(source)[0] ?? "");
}

function hasConsumers(group: string): PosthornError {
  return new PosthornError(
    "REJECTED",
    `What waits for the group ${JSON.stringify(group)} cannot be purged while it has consumers. Stop them first.`,
  );
}
