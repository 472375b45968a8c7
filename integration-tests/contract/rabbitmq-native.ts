/** RabbitMQ as amqplib shows it, without Posthorn. Names are those of the documentation: a change of them breaks these lines. */
import type { ChannelInfo } from "@posthorn/core";
import type { NativeBroker, NativeMessage, Place } from "@posthorn/contract-tests";
import type { Channel, ChannelModel, ConfirmChannel } from "amqplib";
import { connect } from "amqplib";

export interface NativeRabbitmq extends NativeBroker {
  close(): Promise<void>;
}

/** An inlet of an ordered channel is eight queues. */
export function queueNames({ kind, channel, group }: Place): readonly string[] {
  const inlet = channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
  if (kind === "dead-letters") return [`${inlet}.dlq`];
  return channel.ordered ? [0, 1, 2, 3, 4, 5, 6, 7].map((shard) => `${inlet}.shard.${shard}`) : [inlet];
}

/** FNV-1a over the key's UTF-8 bytes, modulo eight. */
export function shardOf(key: string): number {
  let hash = 0x811c9dc5n;
  for (const byte of Buffer.from(key, "utf8")) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  return Number(hash % 8n);
}

const deaf = (): void => undefined;

export function nativeRabbitmq(url: string): NativeRabbitmq {
  let opening: Promise<ChannelModel> | undefined;
  /** One connection for all, made anew after the broker or a fault has ended it. */
  const connection = (): Promise<ChannelModel> => {
    opening ??= connect(url, { noDelay: true }).then(
      (model) => {
        model.on("error", deaf);
        model.on("close", () => (opening = undefined));
        return model;
      },
      (error: unknown) => {
        opening = undefined;
        throw error;
      },
    );
    return opening;
  };

  /** On a channel of its own: one that fails is closed by the broker. */
  async function onChannel<Result>(work: (channel: ConfirmChannel) => Promise<Result>): Promise<Result> {
    const channel = await (await connection()).createConfirmChannel();
    channel.on("error", deaf);
    try {
      return await work(channel);
    } finally {
      await channel.close().catch(deaf);
    }
  }

  return {
    countsHeld: false,
    leaseOutlivesConnection: false,
    keepsConnections: true,
    async exists(place) {
      try {
        await onChannel(async (channel) => {
          for (const queue of queueNames(place)) await channel.checkQueue(queue);
        });
        return true;
      } catch (error) {
        if ((error as { code?: unknown }).code === 404) return false;
        throw error;
      }
    },
    ready: (place) =>
      onChannel(async (channel) => {
        let count = 0;
        for (const queue of queueNames(place)) count += (await channel.checkQueue(queue)).messageCount;
        return count;
      }),
    inFlight: async () => undefined,
    bodies: (place) =>
      onChannel(async (channel) => {
        const bodies: Uint8Array[] = [];
        for (const queue of queueNames(place)) bodies.push(...(await takeAll(channel, queue)));
        return bodies;
      }),
    async publish(info, message) {
      await onChannel(async (channel) => {
        const { exchange, routingKey } = wayTo(info, message);
        channel.publish(exchange, routingKey, Buffer.from(message.body), properties(message));
        await channel.waitForConfirms();
      });
    },
    createConflicting: async (info: ChannelInfo) => {
      await onChannel(async (channel) => {
        if (info.kind === "topic") await channel.assertExchange(info.name, "fanout", { durable: true });
        else
          await channel.assertQueue(info.ordered ? `${info.name}.shard.0` : info.name, {
            durable: true,
            arguments: { "x-queue-type": "classic" },
          });
      });
    },
    delete: async (place) => {
      await onChannel(async (channel) => {
        for (const queue of queueNames(place)) await channel.deleteQueue(queue);
      });
    },
    async close() {
      const model = await opening?.catch(deaf);
      await model?.close().catch(deaf);
    },
  };
}

function wayTo(
  info: ChannelInfo,
  { id = "", type = "", headers }: NativeMessage,
): { exchange: string; routingKey: string } {
  const shard = shardOf(headers?.["posthorn-key"] ?? id);
  if (info.kind === "topic") return { exchange: info.name, routingKey: info.ordered ? `${shard}.${type}` : type };
  return { exchange: "", routingKey: info.ordered ? `${info.name}.shard.${shard}` : info.name };
}

/** Takes without settling; closing the channel gives everything back. Not singly: a quorum queue would then mix up what comes back. */
async function takeAll(channel: Channel, queue: string): Promise<Uint8Array[]> {
  const bodies: Uint8Array[] = [];
  const { messageCount } = await channel.checkQueue(queue);
  if (messageCount === 0) return bodies;
  const { promise, resolve } = Promise.withResolvers<void>();
  const { consumerTag } = await channel.consume(queue, (message) => {
    if (message !== null) bodies.push(new Uint8Array(message.content));
    if (message === null || bodies.length === messageCount) resolve();
  });
  await promise;
  await channel.cancel(consumerTag);
  return bodies;
}

function properties({ contentType, id, type, headers, cloudEvent }: NativeMessage): object {
  const attributes = Object.entries(cloudEvent ?? {}).map(([name, value]) => [`cloudEvents:${name}`, value]);
  return {
    persistent: true,
    ...(contentType === undefined ? {} : { contentType }),
    ...(id === undefined ? {} : { messageId: id }),
    ...(type === undefined ? {} : { type }),
    headers: { ...headers, ...Object.fromEntries(attributes) },
  };
}
