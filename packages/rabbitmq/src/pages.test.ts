import { EventEmitter } from "node:events";
import { systemClock } from "@posthorn/core/transport";
import type { Channel, ConsumeMessage } from "amqplib";
import { expect, test } from "vitest";
import { createPages } from "./pages.ts";

/** A quorum queue as far as it matters here: what comes back is appended to what came back before, and delivered first. */
function quorumQueue(count: number, returned = 0) {
  let next = 0;
  let prefetch = 0;
  const messages = Array.from({ length: count }, (_, n) => ({ n, redelivered: n < returned }));
  const unsettled = new Map<number, number>();
  const frames: string[] = [];
  const returns: number[] = [];
  const channel = Object.assign(new EventEmitter(), {
    prefetch: async (size: number) => (prefetch = size),
    async consume(_queue: string, onMessage: (message: ConsumeMessage) => void) {
      for (const { n, redelivered } of messages.splice(0, prefetch)) {
        unsettled.set(++next, n);
        onMessage({ fields: { deliveryTag: next, redelivered }, content: Buffer.from(String(n)) } as ConsumeMessage);
      }
    },
    cancel: async () => undefined,
    checkQueue: async () => ({ messageCount: messages.length + returns.length }),
    ack: ({ fields }: ConsumeMessage) => unsettled.delete(fields.deliveryTag),
    nack({ fields }: ConsumeMessage) {
      const back = [...unsettled].filter(([tag]) => tag <= fields.deliveryTag);
      frames.push(`${back.length}`);
      for (const [tag, n] of back) {
        unsettled.delete(tag);
        returns.push(n);
      }
    },
  });
  return {
    channel: channel as unknown as Channel,
    frames,
    order: () => [
      ...messages.filter((m) => m.redelivered).map((m) => m.n),
      ...returns,
      ...messages.filter((m) => !m.redelivered).map((m) => m.n),
    ],
  };
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

async function take(pages: ReturnType<typeof createPages>, count: number): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < count; n++) {
    const fetched = await pages.next();
    if (fetched === undefined) break;
    taken.push(Number(fetched.message.content.toString()));
    if (taken.length % 5 === 0) fetched.remove();
  }
  return taken;
}

test("messages come in their order, page after page, and no more than waited", async () => {
  const { channel } = quorumQueue(250);
  const pages = createPages(channel, "q", 230, systemClock);
  expect(await take(pages, 300)).toEqual(numbers(0, 230));
});

test("what is kept goes back in runs that the broker does not mix up", async () => {
  const { channel, frames, order } = quorumQueue(100);
  const pages = createPages(channel, "q", 100, systemClock);
  await take(pages, 100);
  await pages.giveBack();
  expect(frames).toEqual(["32", "32", "16"]);
  expect(order()).toEqual(numbers(0, 100).filter((n) => n % 5 !== 4));
});

test("what came back before is fetched, too, so that it does not come before what comes back now", async () => {
  const { channel, order } = quorumQueue(400, 250);
  const pages = createPages(channel, "q", 400, systemClock);
  await take(pages, 1);
  await pages.giveBack();
  expect(order()).toEqual(numbers(0, 400));
});

test("nothing waits: nothing is fetched", async () => {
  const { channel, frames } = quorumQueue(0);
  const pages = createPages(channel, "q", 0, systemClock);
  expect(await pages.next()).toBeUndefined();
  await pages.giveBack();
  expect(frames).toEqual([]);
});
