/** Publishing: from an address and its messages to records of partitions. */
import { randomUUID } from "node:crypto";
import type { Address, Message, Outbound, Receipt, Transport, TransportEnvironment } from "@posthorn/core/transport";
import {
  abortedError,
  backoffDelay,
  failed,
  isPosthornError,
  messageBytes,
  messageOf,
  PosthornError,
  sleep,
} from "@posthorn/core/transport";
import type { Cluster } from "./cluster.ts";
import { closedError, kafkaError, notSent, tooLarge } from "./errors.ts";
import { channelTopic, deadLetterTopic, noReplies, retryTopic } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Partitioner } from "./partitioner.ts";
import { createPartitioner } from "./partitioner.ts";
import type { PartitionAppend, Producer } from "./producer.ts";
import { recordBytes } from "./records.ts";
import { missingGraceMs } from "./routing.ts";
import { encodeRecord } from "./wire.ts";

export type Dispatch = Transport["dispatch"];

type Append = Required<PartitionAppend>;

export interface DispatchOptions {
  readonly cluster: Pick<Cluster, "closed" | "ready" | "topics">;
  readonly producer: Pick<Producer, "send">;
  readonly settings: Pick<Settings, "maxMessageBytes">;
  readonly environment: TransportEnvironment;
}

const backoff = { initialMs: 50, maxMs: 1_000, jitter: 0.5 } as const;
/** Dead letters have one partition: they are looked through from the oldest to the newest. */
const deadLetterPartition = 0;

export function createDispatch(options: DispatchOptions): Dispatch {
  const { cluster, producer, settings, environment } = options;
  const { clock } = environment;
  const partitioners = new Map<string, Partitioner>();

  /**
   * How many partitions a topic has; `undefined` when it does not exist. Waits for the connection.
   *
   * @throws ACCESS_REFUSED; CONNECTION_LOST when the signal fires first
   */
  const partitionsOf = async (topic: string, signal: AbortSignal): Promise<number | undefined> => {
    let missingSince: number | undefined;
    let lastError: unknown;
    for (let attempt = 1; ; attempt++) {
      try {
        await cluster.ready(signal);
        const known = (await cluster.topics([topic], signal, attempt > 1)).get(topic);
        if (known !== undefined) return known.partitions.length;
        missingSince ??= clock.monotonic();
        if (clock.monotonic() - missingSince >= missingGraceMs) return undefined;
      } catch (error) {
        if (isPosthornError(error, "ACCESS_REFUSED")) throw error;
        if (!signal.aborted) lastError = error;
      }
      if (cluster.closed) throw notSent(closedError());
      if (signal.aborted) throw notSent(lastError ?? abortedError(signal));
      // Its end shows in the next round.
      await sleep(clock, backoffDelay(backoff, attempt, environment.random()), signal).catch(() => undefined);
    }
  };

  const partitionerOf = (topic: string): Partitioner => {
    let partitioner = partitioners.get(topic);
    if (partitioner === undefined) partitioners.set(topic, (partitioner = createPartitioner(environment.random)));
    return partitioner;
  };

  const appendOf = (address: Address, topic: string, partitions: number, message: Message): Append => {
    const isDeadLetter = address.kind === "dead-letters";
    const encoded = encodeRecord(message);
    const record = isDeadLetter ? { ...encoded, key: Buffer.from(randomUUID()) } : encoded;
    const partition = isDeadLetter ? deadLetterPartition : partitionerOf(topic)(record.key, partitions);
    return { topic, partition, record, bytes: recordBytes(record) };
  };

  /** Why the message cannot be sent, whatever the broker says. */
  const refusalOf = (message: Message, append: Append): Receipt | undefined => {
    // The limit is about what the application has in the message; a record is longer, so mostly one look is enough.
    if (append.bytes <= settings.maxMessageBytes) return undefined;
    const bytes = messageBytes(message);
    return bytes > settings.maxMessageBytes ? failed(tooLarge(message.id, bytes, settings.maxMessageBytes)) : undefined;
  };

  const sendAll = async (outbound: readonly Outbound[], address: Address, signal: AbortSignal): Promise<Receipt[]> => {
    const topic = topicOf(address);
    const partitions = await partitionsOf(topic, signal);
    if (partitions === undefined) throw kafkaError("UNKNOWN_TOPIC_OR_PARTITION", `topic ${JSON.stringify(topic)}`);
    const appends: Append[] = [];
    const refusals = outbound.map(({ message }): Receipt | undefined => {
      try {
        const append = appendOf(address, topic, partitions, message);
        const refusal = refusalOf(message, append);
        if (refusal === undefined) appends.push(append);
        return refusal;
      } catch (cause) {
        return notEncodable(message, cause);
      }
    });
    const sent = (await producer.send(appends, signal)).values();
    return refusals.map((refusal) => refusal ?? sent.next().value ?? failed(notSent()));
  };

  return async (outbound, { signal }) => {
    const address = outbound[0]?.address;
    if (address === undefined) return [];
    try {
      return await sendAll(outbound, address, signal);
    } catch (error) {
      const receipt = failed(isPosthornError(error) ? error : notSent(error));
      return outbound.map(() => receipt);
    }
  };
}

/** @throws UNSUPPORTED_CAPABILITY for a reply inbox */
function topicOf(address: Address): string {
  switch (address.kind) {
    case "channel":
      return channelTopic(address.channel);
    case "inlet":
      return retryTopic(address.channel, address.group);
    case "dead-letters":
      return deadLetterTopic(address.channel, address.group);
    case "reply":
      break;
  }
  throw noReplies();
}

function notEncodable(message: Message, cause: unknown): Receipt {
  return failed(
    new PosthornError("TRANSPORT_FAILED", `Message ${message.id} cannot be encoded: ${messageOf(cause)}`, { cause }),
  );
}
