/** RabbitMQ as amqplib shows it, without Posthorn. Names are those of the documentation: a change of them breaks these lines. */
import type { ChannelInfo } from "@posthorn/core";
import type { NativeBroker, NativeMessage, Place } from "@posthorn/contract-tests";
import type { Channel, ChannelModel, ConfirmChannel } from "amqplib";
import { connect } from "amqplib";

export interface NativeRabbitmq extends NativeBroker {
  close(): Promise<void>;
}

function queueName({ kind, channel, group }: Place): string {
  const inlet = channel.kind === "queue" ? channel.name : `${channel.name}.${group}`;
  return kind === "inlet" ? inlet : `${inlet}.dlq`;
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
    async exists(place) {
      try {
        await onChannel((channel) => channel.checkQueue(queueName(place)));
        return true;
      } catch (error) {
        if ((error as { code?: unknown }).code === 404) return false;
        throw error;
      }
    },
    ready: async (place) => (await onChannel((channel) => channel.checkQueue(queueName(place)))).messageCount,
    inFlight: async () => undefined,
    bodies: (place) => onChannel((channel) => takeAll(channel, queueName(place))),
    async publish(info, message) {
      await onChannel(async (channel) => {
        channel.publish(
          info.kind === "topic" ? info.name : "",
          info.kind === "topic" ? (message.type ?? "") : info.name,
          Buffer.from(message.body),
          properties(message),
        );
        await channel.waitForConfirms();
      });
    },
    createConflicting: async (info: ChannelInfo) => {
      await onChannel(async (channel) => {
        if (info.kind === "topic") await channel.assertExchange(info.name, "fanout", { durable: true });
        else await channel.assertQueue(info.name, { durable: true, arguments: { "x-queue-type": "classic" } });
      });
    },
    delete: async (place) => {
      await onChannel((channel) => channel.deleteQueue(queueName(place)));
    },
    async close() {
      const model = await opening?.catch(deaf);
      await model?.close().catch(deaf);
    },
  };
}

/** Takes without settling; closing the channel gives everything back. */
async function takeAll(channel: Channel, queue: string): Promise<Uint8Array[]> {
  const bodies: Uint8Array[] = [];
  for (let message = await channel.get(queue); message !== false; message = await channel.get(queue))
    bodies.push(new Uint8Array(message.content));
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
