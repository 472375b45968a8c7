/**
 * Fetching what waits in a queue, page by page, and giving it back in its order.
 *
 * A quorum queue appends what comes back to what came back before, and keeps no order between several consumers (each
 * `basic.get` is one) when it takes back from them at once. So each page is one consumer's, which is cancelled before the next, and
 * pages go back one after the other.
 */
import type { Clock } from "@posthorn/core/transport";
import { createNotice, sleep } from "@posthorn/core/transport";
import type { Channel, ConsumeMessage } from "amqplib";
import { delivered } from "./session.ts";

const pageSize = 100;
/** What is given back at once: RabbitMQ 3 loses the order of more (its map keeps that of 32 keys). */
const mostAtOnce = 32;
/** So many such runs are sent before the queue is seen to have them; RabbitMQ would gather more and mix them up. */
const runsUnderWay = 8;
const pollMs = 5;
const mostPolls = 40;
/** How long nothing comes before it is looked whether anything is left, and how often. */
const quietMs = 50;
const mostQuiet = 2;

export interface Fetched {
  readonly message: ConsumeMessage;
  /** Removes it from the queue. */
  readonly remove: () => void;
}

/** On a channel that does nothing else. All of it throws when the channel is closed. */
export interface Pages {
  /** The next message that waits; `undefined` when none is left. */
  next(): Promise<Fetched | undefined>;
  /** Puts back whatever was fetched and not removed, each where it was; resolves when it is there. Called once, at the end. */
  giveBack(): Promise<void>;
}

/** @param count how many messages wait */
export function createPages(channel: Channel, queue: string, count: number, clock: Clock): Pages {
  const changed = createNotice();
  /** Delivery tags that are not settled, of each page. */
  const pages: Set<number>[] = [];
  let arrived: Fetched[] = [];
  let fetched = 0;
  let ended = count === 0;
  let closed = false;
  /** The last one that came had come before. */
  let again = false;

  const end = (): void => {
    closed = true;
    changed.notify();
  };
  channel.once("close", end);

  const fetchPage = async (): Promise<void> => {
    const page = new Set<number>();
    const size = Math.min(pageSize, count - fetched);
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message === null) {
        end();
        return;
      }
      const { deliveryTag } = message.fields;
      page.add(deliveryTag);
      again = message.fields.redelivered;
      const remove = (): void => {
        if (page.delete(deliveryTag)) channel.ack(delivered(deliveryTag));
      };
      arrived.push({ message, remove });
      changed.notify();
    };
    pages.push(page);
    await channel.prefetch(size, false);
    // The broker sorts by it when the channel is lost.
    const consumerTag = `walk-${String(pages.length).padStart(6, "0")}`;
    await channel.consume(queue, onMessage, { consumerTag });
    let quiet = 0;
    while (page.size < size && quiet < mostQuiet) {
      const before = page.size;
      await Promise.race([changed.next, sleep(clock, quietMs)]);
      if (closed) throw new Error(`The consumer of queue ${JSON.stringify(queue)} was ended.`);
      // Others took what had waited.
      if (page.size === before && (await channel.checkQueue(queue)).messageCount === 0) quiet++;
    }
    await channel.cancel(consumerTag);
    fetched += page.size;
    ended = page.size < size || fetched >= count;
  };

  /** What goes back goes without an answer; and where others consume the queue it never holds as many again. */
  const untilWaiting = async (messages: number): Promise<void> => {
    for (let poll = 0; poll < mostPolls; poll++) {
      if ((await channel.checkQueue(queue)).messageCount >= messages) return;
      await sleep(clock, pollMs);
    }
  };

  return {
    async next() {
      if (arrived.length === 0 && !ended) await fetchPage();
      return arrived.shift();
    },
    async giveBack() {
      arrived = [];
      // What came back before must not stay in front of what comes back now.
      while (again && !ended) {
        await fetchPage();
        arrived = [];
      }
      const runs = pages.flatMap((page) => runsOf([...page]));
      let { messageCount: back } = await channel.checkQueue(queue);
      for (const [index, run] of runs.entries()) {
        const last = run.at(-1);
        if (last !== undefined) channel.nack(delivered(last), true, true);
        back += run.length;
        if ((index + 1) % runsUnderWay === 0 || index === runs.length - 1) await untilWaiting(back);
      }
      channel.off("close", end);
    },
  };
}

function runsOf(tags: readonly number[]): readonly (readonly number[])[] {
  return Array.from({ length: Math.ceil(tags.length / mostAtOnce) }, (_, run) =>
    tags.slice(run * mostAtOnce, (run + 1) * mostAtOnce),
  );
}
