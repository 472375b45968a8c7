/** A look at, and a hand in, what waits in a queue. Each call uses a channel of its own. */
import type { Abortable, Clock, DeadLetterAddress, InletAddress, TransportAdmin } from "@posthorn/core/transport";
import { isPosthornError, sleep } from "@posthorn/core/transport";
import type { Channel, GetMessage } from "amqplib";
import type { Link } from "./connection.ts";
import { withChannel } from "./connection.ts";
import { decodeMessage } from "./decode.ts";
import { operationError } from "./errors.ts";
import { queueOf } from "./names.ts";

/** How long `browse` waits until what it looked at is back. */
const returnPollMs = 5;
const returnPolls = 40;

export function createAdmin(link: Link, clock: Clock): TransportAdmin {
  const onQueue = async <T>(
    source: InletAddress | DeadLetterAddress,
    { signal }: Abortable,
    work: (channel: Channel, queue: string) => Promise<T>,
  ): Promise<T> => {
    const queue = queueOf(source);
    const connection = await link.ready(signal);
    try {
      return await withChannel(connection, signal, (channel) => work(channel, queue));
    } catch (error) {
      throw isPosthornError(error) ? error : operationError(error, `queue ${JSON.stringify(queue)}`);
    }
  };

  return {
    depth: (source, options) =>
      onQueue(source, options, async (channel, queue) => {
        const { messageCount } = await channel.checkQueue(queue);
        return { ready: messageCount, inFlight: undefined, oldestAgeMs: undefined };
      }),
    browse: (source, options) =>
      onQueue(source, options, async (channel, queue) => {
        const looked: GetMessage[] = [];
        while (looked.length < options.limit) {
          const message = await channel.get(queue, { noAck: false });
          if (message === false) break;
          looked.push(message);
        }
        if (looked.length > 0) {
          // In their old places. Before RabbitMQ 4.3 this counts as a delivery, so that looking at an inlet again and again
          // wears its messages out; a dead-letter queue has no limit.
          channel.nackAll(true);
          const before = looked.length + (looked.at(-1)?.fields.messageCount ?? 0);
          // Without an answer; and where others consume the queue it never holds as many again.
          for (let poll = 0; poll < returnPolls; poll++) {
            const { messageCount } = await channel.checkQueue(queue);
            if (messageCount >= before) break;
            await sleep(clock, returnPollMs, options.signal);
          }
        }
        return looked.map((message) => decodeMessage(message).message);
      }),
    purge: (source, options) =>
      onQueue(source, options, async (channel, queue) => {
        const { messageCount } = await channel.purgeQueue(queue);
        return messageCount;
      }),
  };
}
