/** A look at, and a hand in, what waits in a queue. Each call uses a channel of its own. */
import type { Abortable, DeadLetterAddress, InletAddress, TransportAdmin } from "@posthorn/core/transport";
import { isPosthornError } from "@posthorn/core/transport";
import type { Channel, GetMessage } from "amqplib";
import type { Link } from "./connection.ts";
import { withChannel } from "./connection.ts";
import { decodeMessage } from "./decode.ts";
import { operationError } from "./errors.ts";
import { queueOf } from "./names.ts";

export function createAdmin(link: Link): TransportAdmin {
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
        // Since RabbitMQ 4.3 this does not count as a failed delivery, as the end of the channel would.
        if (looked.length > 0) channel.nackAll(true);
        return looked.map((message) => decodeMessage(message).message);
      }),
    purge: (source, options) =>
      onQueue(source, options, async (channel, queue) => {
        const { messageCount } = await channel.purgeQueue(queue);
        return messageCount;
      }),
  };
}
