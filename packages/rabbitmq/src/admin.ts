/** A look at, and a hand in, what waits in a queue. Each call uses a channel of its own. */
import type {
  Abortable,
  Clock,
  DeadLetterAddress,
  InletAddress,
  TransportAdmin,
  Visit,
  WalkOptions,
} from "@posthorn/core/transport";
import { abortable, isPosthornError, PosthornError } from "@posthorn/core/transport";
import type { Channel } from "amqplib";
import type { Link } from "./connection.ts";
import { withChannel } from "./connection.ts";
import { operationError } from "./errors.ts";
import { queuesOf } from "./names.ts";
import type { Walked } from "./walk.ts";
import { walkQueue } from "./walk.ts";

export function createAdmin(link: Link, clock: Clock): TransportAdmin {
  const onQueues = async <T>(
    source: InletAddress | DeadLetterAddress,
    { signal }: Abortable,
    work: (channel: Channel, queues: readonly string[]) => Promise<T>,
  ): Promise<T> => {
    const queues = queuesOf(source);
    const connection = await link.ready(signal);
    try {
      return await withChannel(connection, signal, (channel) => work(channel, queues));
    } catch (error) {
      throw isPosthornError(error) ? error : operationError(error, `queue ${JSON.stringify(queues[0])}`);
    }
  };

  const total = async (queues: readonly string[], countOf: (queue: string) => Promise<number>): Promise<number> => {
    let sum = 0;
    for (const queue of queues) sum += await countOf(queue);
    return sum;
  };
  const waitingIn = async (channel: Channel, queue: string): Promise<number> =>
    (await channel.checkQueue(queue)).messageCount;

  const walkAll = async (
    channel: Channel,
    queues: readonly string[],
    visit: Visit,
    options: WalkOptions,
  ): Promise<Walked> => {
    const waiting = new Map<string, number>();
    for (const queue of queues) {
      const { messageCount, consumerCount } = await channel.checkQueue(queue);
      if (queues.length > 1 && consumerCount > 0) throw beingConsumed(queue);
      waiting.set(queue, messageCount);
    }
    let walked: Walked = { visited: 0, stopped: false, failure: undefined };
    for (const [queue, count] of waiting) {
      const limit = options.limit - walked.visited;
      if (limit === 0 || walked.stopped || walked.failure !== undefined || options.signal.aborted) break;
      const next = await walkQueue(channel, queue, count, visit, { ...options, limit }, clock);
      walked = { ...next, visited: walked.visited + next.visited };
    }
    return walked;
  };

  return {
    depth: (source, options) =>
      onQueues(source, options, async (channel, queues) => ({
        ready: await total(queues, (queue) => waitingIn(channel, queue)),
        inFlight: undefined,
        oldestAgeMs: undefined,
      })),
    async walk(source, visit, options) {
      const walking = onQueues(source, { signal: new AbortController().signal }, (channel, queues) =>
        walkAll(channel, queues, visit, options),
      );
      // It goes on until everything is back in its place, also when nobody waits for it any more.
      const walked = await abortable(walking, options.signal);
      if (walked.failure !== undefined) throw walked.failure.error;
    },
    purge: (source, options) =>
      onQueues(source, options, (channel, queues) =>
        total(queues, async (queue) => (await channel.purgeQueue(queue)).messageCount),
      ),
  };
}

/** Of such a queue RabbitMQ shows messages to its one consumer only. */
function beingConsumed(queue: string): PosthornError {
  return new PosthornError(
    "UNSUPPORTED_CAPABILITY",
    `What waits in ${JSON.stringify(queue)}, a part of an ordered channel, can be walked through only while nobody consumes it.`,
  );
}
