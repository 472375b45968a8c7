/** What many clients make at the same moment, while others publish. */
import type { ChannelInfo, Topology } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import type { KafkaOptions } from "@posthorn/kafka";
import type { Admin, Producer } from "kafkajs";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KafkaVersion } from "./brokers/broker.ts";
import { useKafka } from "./brokers-in-use.ts";

const never = new AbortController().signal;
const versions: readonly KafkaVersion[] = ["4.4", "3.9"];

const channelOf = (kind: ChannelInfo["kind"], name: string): ChannelInfo => ({ kind, name, ordered: false });

function topologyOf(channel: ChannelInfo, ...groups: readonly string[]): Topology {
  return { channels: [channel], groups: groups.map((name) => ({ channel, name, types: [] })) };
}

describe.each(versions)("on Kafka %s", (version) => {
  const broker = useKafka(version);
  let admin: Admin;
  let producer: Producer;
  beforeAll(async () => {
    const native = new Kafka({ brokers: [...broker().brokers], logLevel: logLevel.NOTHING });
    admin = native.admin();
    producer = native.producer();
    await Promise.all([admin.connect(), producer.connect()]);
  });
  afterAll(async () => {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  });

  const provision = async (topology: Topology, options: KafkaOptions = {}) => {
    const transport = kafka({ brokers: broker().brokers, partitions: 4, ...options });
    await transport.connect({ signal: never, report: () => undefined });
    try {
      return await transport.provision(topology, "apply", { signal: never });
    } finally {
      await transport.close({ signal: never });
    }
  };
  const publish = (topic: string, count: number) =>
    producer.send({ topic, messages: Array.from({ length: count }, () => ({ value: "x" })) });
  const ends = async (topic: string): Promise<Map<number, number>> =>
    new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, Number(high)]));
  const committed = async (groupId: string, topic: string): Promise<Map<number, number>> => {
    const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] });
    return new Map(answer?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  };
  const sum = (offsets: ReadonlyMap<number, number>): number => [...offsets.values()].reduce((a, b) => a + b, 0);

  test("a new group begins where it was made, and stays there when it is made again", async () => {
    const channel = channelOf("topic", "begun");
    await provision(topologyOf(channel));
    await publish(channel.name, 20);
    // As it is, and not as it was meant: on a topic that was just made kafkajs may write a batch twice.
    const begin = await ends(channel.name);
    await provision(topologyOf(channel, "group"));
    await publish(channel.name, 10);
    await provision(topologyOf(channel, "group"));
    expect(await committed("begun.group", channel.name)).toEqual(begin);
    expect(sum(await ends(channel.name))).toBeGreaterThanOrEqual(sum(begin) + 10);
  });

  test("however many make a group at once while others publish, it skips nothing that came after one of them was done", async () => {
    const channel = channelOf("topic", "raced");
    await provision(topologyOf(channel));
    const clients = Array.from({ length: 5 }, () => kafka({ brokers: broker().brokers, partitions: 4 }));
    await Promise.all(clients.map((client) => client.connect({ signal: never, report: () => undefined })));
    let over = false;
    const publishing = (async () => {
      while (!over) await publish(channel.name, 4);
    })();
    for (let round = 0; round < 3; round++) {
      let first: Promise<Map<number, number>> | undefined;
      await Promise.all(
        clients.map(async (client) => {
          await client.provision(topologyOf(channel, `group-${round}`), "apply", { signal: never });
          first ??= ends(channel.name);
        }),
      );
      const begins = await committed(`raced.group-${round}`, channel.name);
      const atFirst = (await first) ?? new Map<number, number>();
      expect(atFirst.size).toBe(4);
      for (const [partition, end] of atFirst) {
        expect(begins.get(partition), `round ${round}`).toBeGreaterThanOrEqual(0);
        expect(begins.get(partition), `round ${round}`).toBeLessThanOrEqual(end);
      }
    }
    over = true;
    await publishing;
    await Promise.all(clients.map((client) => client.close({ signal: never })));
  });

  test("while a group has members its offsets are theirs", async () => {
    const channel = channelOf("topic", "busy");
    await provision(topologyOf(channel));
    await publish(channel.name, 8);
    const native = new Kafka({ brokers: [...broker().brokers], logLevel: logLevel.NOTHING });
    const member = native.consumer({ groupId: "busy.group" });
    await member.connect();
    await member.subscribe({ topic: channel.name });
    const joined = new Promise<void>((resolve) => member.on("consumer.group_join", () => resolve()));
    await member.run({ autoCommit: false, eachMessage: async () => undefined });
    await joined;
    expect(await provision(topologyOf(channel, "group"))).toEqual([]);
    expect([...(await committed("busy.group", channel.name)).values()].every((offset) => offset === -1)).toBe(true);
    await member.disconnect();
  });

  test("what the cluster does not take is told with what to do about it", async () => {
    await expect(provision(topologyOf(channelOf("queue", "copied")), { replicationFactor: 9 })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      message: expect.stringContaining("Set replicationFactor") as string,
    });
    const group = { channel: channelOf("queue", "a-b"), name: "a-b", types: [] };
    await provision({ channels: [group.channel], groups: [group] });
    await expect(provision(topologyOf(channelOf("queue", "a-b_retry")))).rejects.toMatchObject({
      code: "INVALID_NAME",
      message: expect.stringMatching(/"a-b_retry".*a-b\.retry/) as string,
    });
  });
});
