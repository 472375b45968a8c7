/** Whether something exists on the broker, asked on a channel that serves nothing else: each "no" closes it. */
import { abortable, isPosthornError } from "@posthorn/core/transport";
import type { Channel } from "amqplib";
import type { Connection } from "./connection.ts";
import { quiet } from "./connection.ts";
import { replyCode, replyCodes } from "./errors.ts";

/** @throws ABORTED, CLOSED, and what the broker says but that it is not there */
export type Lookup = (kind: "queue" | "exchange", name: string, signal: AbortSignal) => Promise<boolean>;

interface Current {
  readonly connection: Connection;
  readonly channel: Promise<Channel>;
}

export function createLookup(ready: (signal: AbortSignal) => Promise<Connection>): Lookup {
  let current: Current | undefined;

  const openChannel = async (connection: Connection): Promise<Channel> => {
    const channel = await connection.model.createChannel();
    quiet(channel);
    channel.on("close", () => (current = undefined));
    return channel;
  };

  /** Resolves with `undefined` when the connection is of no use: a channel does not fail to open otherwise. */
  const channelOf = (connection: Connection): Promise<Channel | undefined> => {
    if (current?.connection !== connection) current = { connection, channel: openChannel(connection) };
    return current.channel.catch(() => undefined);
  };

  return async (kind, name, signal) => {
    for (;;) {
      const connection = await ready(signal);
      const channel = await abortable(channelOf(connection), signal);
      if (channel === undefined) {
        await abortable(connection.gone, signal);
        continue;
      }
      try {
        await abortable(kind === "queue" ? channel.checkQueue(name) : channel.checkExchange(name), signal);
        return true;
      } catch (error) {
        if (replyCode(error) === replyCodes.notFound) return false;
        // Without a code the connection is gone, or the channel for what another asked at the same time.
        if (isPosthornError(error) || replyCode(error) !== undefined) throw error;
      }
    }
  };
}
