import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Admin, Kafka, type KafkaConfig, logLevel, type SASLOptions } from "kafkajs";
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { KafkaBroker, KafkaControl, KafkaLink, SecuredKafka } from "./broker.ts";
import { probeKafka } from "./kafka-ready.ts";
import { addressOf } from "./kafka-wire.ts";
import { poll } from "./poll.ts";
import { resolveKafka } from "./resolve.ts";
import { importOf, startOtherProcess } from "./test-support.ts";

function client(config: KafkaConfig): Kafka {
  // One try: what a broker does is to be seen as it is.
  return new Kafka({ logLevel: logLevel.NOTHING, retry: { retries: 0 }, connectionTimeout: 10_000, ...config });
}

async function connectedAdmin(config: KafkaConfig): Promise<Admin> {
  const admin = client(config).admin();
  onTestFinished(() => admin.disconnect());
  await admin.connect();
  return admin;
}

/** Where a client that has asked the broker goes on. */
async function clusterOf(config: KafkaConfig): Promise<string[]> {
  const { brokers } = await (await connectedAdmin(config)).describeCluster();
  return brokers.map(({ host, port }) => `${host}:${port}`);
}

async function makeTopic(broker: KafkaBroker, topic: string, replicationFactor = 1): Promise<void> {
  const admin = await connectedAdmin({ brokers: [...broker.brokers] });
  await admin.createTopics({ topics: [{ topic, replicationFactor }], waitForLeaders: false });
  await poll(`topic ${topic}`, async () => (await produce(broker, topic, "first"), true), { deadlineMs: 5_000 });
}

/** Rejects with the error code that the broker answers. */
async function produce(broker: KafkaBroker, topic: string, value: string): Promise<void> {
  const producer = client({ brokers: [...broker.brokers] }).producer();
  await producer.connect();
  try {
    await producer.send({ topic, acks: -1, messages: [{ value }] });
  } catch (error) {
    throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
  } finally {
    await producer.disconnect();
  }
}

/** What a group that was never there reads of a topic, up to a value. */
async function consume(broker: KafkaBroker, topic: string, last: string): Promise<string[]> {
  const consumer = client({ brokers: [...broker.brokers] }).consumer({
    groupId: `${topic}.${performance.now()}`,
    maxWaitTimeInMs: 100,
  });
  const values: string[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const { promise, resolve } = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.push(String(message.value));
      if (values.at(-1) === last) resolve();
    },
  });
  await promise;
  await consumer.commitOffsets([{ topic, partition: 0, offset: String(values.length) }]);
  await consumer.disconnect();
  return values;
}

/** A proxy where the clients of a link look for the broker. */
async function openProxy(link: KafkaLink): Promise<{ readonly cut: () => void }> {
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(link.listenPort, "127.0.0.1");
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  });
  const cut = (): void => sockets.forEach((socket) => socket.destroy());
  onTestFinished(() => {
    proxy.close();
    cut();
  });
  await once(proxy.listen(link.advertisedPort, "127.0.0.1"), "listening");
  return { cut };
}

/** A token that nobody signed. */
function token(claims: Record<string, unknown>): string {
  const [header, body] = [{ alg: "none" }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url"),
  );
  return `${header}.${body}.`;
}

// Whichever way a broker came about, it does the same.
const { brokers, missing } = await resolveKafka({ versions: ["3.9", "4.4"], log: console.error });
afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));
afterEach(() => void vi.unstubAllEnvs());

test.skipIf(brokers.every(({ origin }) => origin === "address"))(
  "ends with the run that started it, even by SIGKILL",
  { timeout: 180_000 },
  async () => {
    const run = await startOtherProcess(
      `const { resolveKafka } = ${importOf("resolve.ts")};
     const { brokers } = await resolveKafka({ versions: ["4.4"] });
     console.log(brokers[0].brokers[0])`,
    );
    const address = addressOf(run.firstLine);
    await probeKafka(address);
    run.kill();
    const refused = (): Promise<true | undefined> =>
      probeKafka(address).then(
        () => undefined,
        (error: Error) => (/ECONNREFUSED|ECONNRESET/.test(error.message) ? true : undefined),
      );
    expect(await poll("the end of the broker", refused, { deadlineMs: 60_000 })).toBe(true);
  },
);

test.for(missing)("Kafka $version can be had", ({ reason }, context) => {
  context.skip(!process.env["CI"], reason);
  expect.unreachable(reason);
});

describe.for(brokers)("Kafka $version ($origin)", { timeout: 120_000 }, (broker) => {
  const [first = ""] = broker.brokers;
  const address = addressOf(first);

  test("tells the version that its cluster is at", async () => {
    expect(await probeKafka(address)).toBe(broker.version);
  });

  test("keeps its clients at its own address", async () => {
    expect(await clusterOf({ brokers: [...broker.brokers] })).toEqual(broker.brokers);
  });

  test("is used as it is, and left running, when its address is given", async () => {
    vi.stubEnv("KAFKA_BROKERS", first);
    const { brokers, missing } = await resolveKafka({ versions: ["3.9", "4.4"] });
    expect(missing).toEqual([]);
    expect(brokers).toMatchObject([{ origin: "address", brokers: [first], version: broker.version, links: [] }]);
    expect(brokers[0]?.control).toBeUndefined();
    await brokers[0]?.stop();
    expect(await probeKafka(address)).toBe(broker.version);
  });

  test("keeps the clients of a link at its proxy", async () => {
    expect(new Set(broker.links.map(({ listenPort }) => listenPort)).size).toBe(broker.links.length);
    for (const link of broker.links) {
      await openProxy(link);
      const atProxy = [`127.0.0.1:${link.advertisedPort}`];
      expect(await clusterOf({ brokers: atProxy })).toEqual(atProxy);
    }
  });

  describe.skipIf(broker.secured === undefined)("secured", () => {
    const { brokers, ca, username, password } = broker.secured as SecuredKafka;
    const over = (sasl: SASLOptions): KafkaConfig => ({
      brokers: [...brokers],
      ssl: { ca, servername: "localhost" },
      sasl,
    });

    test.for(["plain", "scram-sha-256", "scram-sha-512"] as const)(
      "takes its user by %s, and no other",
      async (mechanism) => {
        expect(await clusterOf(over({ mechanism, username, password }))).toEqual(brokers);
        await expect(clusterOf(over({ mechanism, username, password: "wrong" }))).rejects.toThrow(/authentication/);
      },
    );

    test("takes a token, unless it is over", async () => {
      const now = Math.floor(Date.now() / 1_000);
      const bearer = (exp: number): KafkaConfig =>
        over({
          mechanism: "oauthbearer",
          oauthBearerProvider: async () => ({ value: token({ sub: "somebody", iat: now - 60, exp }) }),
        });
      expect(await clusterOf(bearer(now + 60))).toEqual(brokers);
      await expect(clusterOf(bearer(now - 59))).rejects.toThrow("No brokers in the broker pool"); // so kafkajs has it
    });

    test("wants TLS", async () => {
      await expect(clusterOf({ brokers: [...brokers] })).rejects.toThrow(/closed|disconnected/i);
    });
  });

  describe.skipIf(broker.control === undefined)("under control", () => {
    const control = broker.control as KafkaControl;

    test.for(["kill", "shutDown"] as const)("keeps messages and users over %s and start", async (end) => {
      const topic = `kept-${end}`;
      await makeTopic(broker, topic);
      await produce(broker, topic, "kept");

      await control[end]();
      await expect(probeKafka(address)).rejects.toThrow("ECONNREFUSED");
      await expect(control[end]()).rejects.toThrow(/not running|already stopped/);
      await control.start();

      await produce(broker, topic, "after");
      expect(await consume(broker, topic, "after")).toEqual(["first", "kept", "after"]);
      const { brokers, ca, ...user } = broker.secured as SecuredKafka;
      const sasl = { mechanism: "scram-sha-256", ...user } as const;
      expect(await clusterOf({ brokers: [...brokers], ssl: { ca, servername: "localhost" }, sasl })).toEqual(brokers);
    });

    test("is silent while paused, and goes on with the same connections", async () => {
      const admin = await connectedAdmin({ brokers: [...broker.brokers] });
      await control.pause();
      const answer = admin.listTopics();
      expect(await Promise.race([answer, sleep(300, "silence")])).toBe("silence");
      await control.resume();
      expect(await answer).toBeInstanceOf(Array);
    });

    test.for(["kill", "shutDown"] as const)("can end with %s while paused", async (end) => {
      await control.pause();
      await control[end]();
      await control.start();
      expect(await probeKafka(address)).toBe(broker.version);
    });

    test("refuses publishers while they are blocked, and nobody else", async () => {
      await makeTopic(broker, "blocked");
      await control.blockPublishers();
      await expect(produce(broker, "blocked", "refused")).rejects.toMatchObject({ type: "NOT_ENOUGH_REPLICAS" });
      expect(await consume(broker, "blocked", "first")).toEqual(["first"]); // by a new group, which commits

      const admin = await connectedAdmin({ brokers: [...broker.brokers] });
      await admin.createTopics({ topics: [{ topic: "meanwhile", replicationFactor: 2 }], waitForLeaders: false });
      const refusal = (): Promise<unknown> => produce(broker, "meanwhile", "refused").catch((error: unknown) => error);
      await poll(
        "the leader of a topic that was made while publishers are blocked",
        async () => ((await refusal()) as { readonly type?: string }).type === "NOT_ENOUGH_REPLICAS" || undefined,
        { deadlineMs: 5_000 },
      );

      await control.unblockPublishers();
      await produce(broker, "blocked", "taken");
      await produce(broker, "meanwhile", "taken");
      expect(await consume(broker, "blocked", "taken")).toEqual(["first", "taken"]);
    });

    test("keeps publishers blocked over kill and start", async () => {
      await makeTopic(broker, "blocked-before");
      await control.blockPublishers();
      await control.kill();
      await control.start();
      await expect(produce(broker, "blocked-before", "refused")).rejects.toMatchObject({ type: "NOT_ENOUGH_REPLICAS" });
      await control.unblockPublishers();
      await produce(broker, "blocked-before", "taken");
      expect(await consume(broker, "blocked-before", "taken")).toEqual(["first", "taken"]);
    });

    test("is gone when stopped, and may be stopped again", async () => {
      await broker.stop();
      await expect(probeKafka(address)).rejects.toThrow("ECONNREFUSED");
      await broker.stop();
    });
  });
});
