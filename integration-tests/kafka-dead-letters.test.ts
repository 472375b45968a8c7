/** Many dead letters in a log: how long it takes to look at them, and to remove some. */
import type { ChannelInfo, Message, Transport } from "@posthorn/core";
import { sampleMessage } from "@posthorn/core/testing";
import { deadLetterTopic, kafka } from "@posthorn/kafka";
import type { Verdict } from "@posthorn/core/transport";
import { deadLetterAddress } from "@posthorn/core/transport";
import { Kafka, logLevel } from "kafkajs";
import { describe, expect, test } from "vitest";
import type { KafkaVersion } from "./brokers/broker.ts";
import { useKafka } from "./brokers-in-use.ts";

const never = new AbortController().signal;
const versions: readonly KafkaVersion[] = ["4.4", "3.9"];
const letters = 10_000;
const all = { signal: never, limit: Number.MAX_SAFE_INTEGER, maxPending: 1 };

function letter(id: string): Message {
  return sampleMessage({ id, type: "died", contentType: "", body: Buffer.alloc(500, id) });
}

describe.each(versions)("on Kafka %s", (version) => {
  const broker = useKafka(version);

  const open = async (name: string) => {
    const channel: ChannelInfo = { kind: "queue", name, ordered: false };
    const topology = { channels: [channel], groups: [{ channel, name, types: [] }] };
    const address = deadLetterAddress(channel, name);
    const transport: Transport = kafka({ brokers: broker().brokers, partitions: 1, sessionTimeoutMs: 6_000 });
    await transport.connect({ signal: never, report: () => undefined });
    await transport.provision(topology, "apply", { signal: never });
    const walk = (visit: (id: string) => Verdict | Promise<Verdict>, options = {}): Promise<void> =>
      transport.admin.walk(address, async ({ id }) => visit(id), { ...all, ...options });
    return {
      channel,
      provision: () => transport.provision(topology, "apply", { signal: never }),
      walk,
      async die(from: number, to: number) {
        for (let id = from; id < to; id += 500) {
          const batch = Array.from({ length: Math.min(500, to - id) }, (_, n) => letter(String(id + n)));
          const receipts = await transport.dispatch(
            batch.map((message) => ({ address, message })),
            { signal: never },
          );
          expect(receipts.every(({ accepted }) => accepted)).toBe(true);
        }
      },
      async ids() {
        const ids: number[] = [];
        await walk((id) => {
          ids.push(Number(id));
          return "keep";
        });
        return ids;
      },
      purge: () => transport.admin.purge(address, { signal: never }),
      depth: async () => (await transport.admin.depth(address, { signal: never })).ready,
      [Symbol.asyncDispose]: () => transport.close({ signal: never }),
    };
  };

  test("ten thousand are looked at, half of them removed and the rest purged, in seconds", async () => {
    await using one = await open("many");
    await using other = await open("many");
    await one.die(0, letters);
    const took: Record<string, number> = {};
    const timed = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
      const began = performance.now();
      const result = await work();
      took[what] = Math.round(performance.now() - began);
      return result;
    };
    expect(await timed("first depth", () => one.depth())).toBe(letters);
    expect(await timed("second depth", () => one.depth())).toBe(letters);
    expect(await timed("look", () => one.ids())).toEqual(Array.from({ length: letters }, (_, id) => id));
    await timed("removal of half", () => one.walk((id) => (Number(id) % 2 === 0 ? "remove" : "keep")));
    expect(await timed("depth elsewhere", () => other.depth())).toBe(letters / 2);
    expect(await other.ids()).toEqual(Array.from({ length: letters / 2 }, (_, half) => 2 * half + 1));
    expect(await timed("purge", () => one.purge())).toBe(letters / 2);
    expect(await other.depth()).toBe(0);
    console.log(`Kafka ${version}, ${letters} dead letters, in ms: ${JSON.stringify(took)}`);
    expect(Math.max(...Object.values(took))).toBeLessThan(20_000);
  });

  test("exclusive walks of several processes visit each letter once", async () => {
    await using one = await open("once");
    await using two = await open("once");
    await using three = await open("once");
    await one.die(0, 300);
    const visited: number[] = [];
    let inside = 0;
    await Promise.all(
      [one, two, three].map(({ walk }) =>
        walk(
          async (id): Promise<Verdict> => {
            expect(++inside).toBeLessThanOrEqual(8);
            visited.push(Number(id));
            await new Promise((resolve) => setTimeout(resolve, 1));
            inside--;
            return "remove";
          },
          { exclusive: true, limit: 100, maxPending: 8 },
        ),
      ),
    );
    expect(visited.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, id) => id));
    expect(await one.depth()).toBe(0);
  });

  test("letters in a topic that was deleted and made again are all seen", async () => {
    await using one = await open("anew");
    await one.die(0, 20);
    expect(await one.depth()).toBe(20);
    const admin = new Kafka({ brokers: [...broker().brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    const name = deadLetterTopic(one.channel, one.channel.name);
    await admin.deleteTopics({ topics: [name] });
    await expect.poll(() => admin.listTopics()).not.toContain(name);
    await admin.disconnect();
    await one.provision();
    await one.die(100, 150);
    expect(await one.ids()).toEqual(Array.from({ length: 50 }, (_, n) => 100 + n));
  });
});
