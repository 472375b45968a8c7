/** Where on AWS an address is: a queue's URL or a topic's ARN, looked up once and kept. */
import type { Address, InletAddress, TransportEnvironment } from "@posthorn/core/transport";
import { isPosthornError } from "@posthorn/core/transport";
import { arnOf } from "./arns.ts";
import { createAsking } from "./asking.ts";
import { RequestFailure } from "./aws.ts";
import { awsError, noReplies, unroutable } from "./errors.ts";
import { namesOf } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Reach } from "./reach.ts";

export type Place =
  | { readonly kind: "queue"; readonly url: string; readonly fifo: boolean }
  | { readonly kind: "topic"; readonly arn: string; readonly fifo: boolean };

export interface Places {
  /**
   * Of a queue channel the channel is its group's inlet. While AWS cannot be reached it waits until the signal fires.
   *
   * @throws UNROUTABLE when it does not exist; UNSUPPORTED_CAPABILITY for a reply inbox; ACCESS_REFUSED, AUTHENTICATION_FAILED,
   * TRANSPORT_FAILED; ABORTED, CLOSED
   */
  find(address: Address, signal: AbortSignal): Promise<Place>;
  /** The URL of the queue in which messages to an ordered inlet wait for their time. @throws as `find` */
  delayQueue(inlet: Pick<InletAddress, "channel" | "group">, signal: AbortSignal): Promise<string>;
  /** It was not there any more: it is looked for again when it is asked for, as is the delay queue of an inlet. */
  forget(address: Address): void;
  /** @param url a queue's, or a topic's ARN */
  learn(name: string, url: string): void;
}

export interface PlacesOptions {
  readonly reach: Pick<Reach, "aws" | "ready">;
  readonly settings: Pick<Settings, "prefix" | "region" | "accountId">;
  readonly environment: TransportEnvironment;
}

export function createPlaces({ reach, settings, environment }: PlacesOptions): Places {
  const { region, accountId } = settings;
  const names = namesOf(settings);
  const asking = createAsking(reach, environment);
  /** By name; as many as the application has declared. */
  const queues = new Map<string, string>();
  const topics = new Map<string, string>();

  async function lookUp(
    known: Map<string, string>,
    name: string,
    what: string,
    signal: AbortSignal,
    question: () => Promise<string | undefined>,
  ): Promise<string> {
    const before = known.get(name);
    if (before !== undefined) return before;
    try {
      const found = await asking.untilAnswered(question, signal);
      if (found === undefined) throw unroutable(what);
      known.set(name, found);
      return found;
    } catch (error) {
      if (isPosthornError(error) || !(error instanceof RequestFailure)) throw error;
      throw awsError(error, what);
    }
  }

  const queueUrl = (name: string, signal: AbortSignal): Promise<string> =>
    lookUp(queues, name, `queue ${JSON.stringify(name)}`, signal, () => reach.aws.sqs.queueUrl(name, signal));

  const topicArn = async (name: string, signal: AbortSignal): Promise<string> => {
    // Whether there is one is seen when something is published to it.
    if (accountId !== undefined) return topics.get(name) ?? arnOf("sns", region, accountId, name);
    return lookUp(topics, name, `topic ${JSON.stringify(name)}`, signal, () => reach.aws.sns.topicArn(name, signal));
  };

  function nameOf(address: Address): {
    readonly kind: "queue" | "topic";
    readonly name: string;
    readonly fifo: boolean;
  } {
    if (address.kind === "reply") throw noReplies();
    const { channel } = address;
    const fifo = channel.ordered;
    if (address.kind === "dead-letters")
      return { kind: "queue", name: names.deadLetters(channel, address.group), fifo };
    if (address.kind === "inlet") return { kind: "queue", name: names.queue(channel, address.group), fifo };
    if (channel.kind === "topic") return { kind: "topic", name: names.topic(channel), fifo };
    return { kind: "queue", name: names.queue(channel, channel.name), fifo };
  }

  return {
    async find(address, signal) {
      const { kind, name, fifo } = nameOf(address);
      return kind === "queue"
        ? { kind, url: await queueUrl(name, signal), fifo }
        : { kind, arn: await topicArn(name, signal), fifo };
    },
    delayQueue: ({ channel, group }, signal) => queueUrl(names.delay(channel, group), signal),
    forget(address) {
      const { kind, name } = nameOf(address);
      (kind === "queue" ? queues : topics).delete(name);
      if (address.kind === "inlet") queues.delete(names.delay(address.channel, address.group));
      if (address.kind === "channel") queues.delete(names.delay(address.channel, address.channel.name));
    },
    learn(name, url) {
      (url.startsWith("arn:") ? topics : queues).set(name, url);
    },
  };
}
