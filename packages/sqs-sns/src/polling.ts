/**
 * Asks one queue for messages: by long polls, one while little comes, and several while it comes faster than one can take it.
 *
 * SQS gives messages also to a poll that its client has given up, and then nobody sees them until their visibility timeout has
 * passed. So polls end by themselves: one that is not wanted any more brings what is given back, one that an outage has come
 * between is left alone while another takes its place, and only the end of the connection gives polls up.
 *
 * @see https://github.com/aws/aws-sdk-js/issues/2350
 */
import type { TransportEnvironment } from "@posthorn/core/transport";
import type { ReceivedMessage } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import type { Reach } from "./reach.ts";
import { batchSize } from "./tens.ts";

export interface PollingOptions {
  readonly reach: Pick<Reach, "aws" | "outage">;
  readonly environment: TransportEnvironment;
  readonly visibilitySeconds: number;
  readonly waitSeconds: number;
  /** The queue's. */
  readonly url: () => string;
  /** How many more messages may be here; what open polls may bring not counted. */
  readonly room: () => number;
  /** Whether the queue was lost and nothing has been heard of it since: then a poll asks, and does not wait. */
  readonly inDoubt: () => boolean;
  /**
   * @param askedAt when the request was sent, by the monotonic clock
   * @param answeredBy when SQS must have answered it
   */
  readonly onMessages: (messages: readonly ReceivedMessage[], askedAt: number, answeredBy: number) => void;
  /** SQS has answered a poll. */
  readonly onAnswer: () => void;
  /** A poll has failed. Resolves when there may be another one; never rejects. */
  readonly recover: (error: unknown) => Promise<void>;
  /** A poll has ended. */
  readonly onEnded: () => void;
}

export interface Polling {
  /** Polls under way. */
  readonly open: number;
  /** There may be more room. */
  wake(): void;
  /** Begins no more, and gives up those that are open. */
  close(): void;
}

interface Poll {
  readonly maxMessages: number;
  /** There was an outage meanwhile: perhaps it is never answered. */
  doubtful: boolean;
}

const mostPolls = 10;

export function createPolling(options: PollingOptions): Polling {
  const { reach, environment, visibilitySeconds, waitSeconds, url } = options;
  const { clock } = environment;
  const closing = new AbortController();
  const polls = new Set<Poll>();
  /** How many polls there may be. */
  let wanted = 1;
  let scheduled = false;
  let recovering: Promise<void> | undefined;

  function wake(): void {
    if (scheduled || closing.signal.aborted) return;
    scheduled = true;
    // What comes back in the same turn of the event loop makes room for one poll, not for many.
    setImmediate(begin);
  }

  function begin(): void {
    scheduled = false;
    while (recovering === undefined && !closing.signal.aborted && polls.size < 2 * mostPolls) {
      const counted = [...polls].filter(({ doubtful }) => !doubtful);
      const room = counted.reduce((left, { maxMessages }) => left - maxMessages, options.room());
      // A second poll is for what one cannot take.
      if (counted.length >= wanted || room < (counted.length === 0 ? 1 : batchSize)) return;
      if (reach.outage.aborted) recover(outOfReach());
      else void run({ maxMessages: Math.min(batchSize, room), doubtful: false });
    }
  }

  async function run(poll: Poll): Promise<void> {
    polls.add(poll);
    const { outage } = reach;
    const onOutage = (): void => {
      poll.doubtful = true;
      recover(outOfReach());
    };
    outage.addEventListener("abort", onOutage);
    const wait = options.inDoubt() ? 0 : waitSeconds;
    const askedAt = clock.monotonic();
    try {
      const request = { maxMessages: poll.maxMessages, waitSeconds: wait, visibilitySeconds };
      const messages = await reach.aws.sqs.receive(url(), request, closing.signal);
      polls.delete(poll);
      options.onAnswer();
      if (!poll.doubtful) adapt(messages.length, poll.maxMessages);
      if (messages.length > 0) options.onMessages(messages, askedAt, askedAt + wait * 1_000);
    } catch (error) {
      polls.delete(poll);
      if (!poll.doubtful) recover(error);
    }
    outage.removeEventListener("abort", onOutage);
    options.onEnded();
    wake();
  }

  function adapt(count: number, maxMessages: number): void {
    if (count >= maxMessages) wanted = Math.min(mostPolls, wanted + 1);
    else wanted = count === 0 ? 1 : Math.max(1, wanted - 1);
  }

  function recover(reason: unknown): void {
    wanted = 1;
    if (closing.signal.aborted) return;
    recovering ??= options.recover(reason).finally(() => {
      recovering = undefined;
      wake();
    });
  }

  return {
    get open() {
      return polls.size;
    },
    wake,
    close() {
      closing.abort(new Error("The consumption has ended."));
    },
  };
}

function outOfReach(): RequestFailure {
  return new RequestFailure("SQS does not answer.", { sent: false });
}
