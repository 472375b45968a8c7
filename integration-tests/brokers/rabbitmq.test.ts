import { setTimeout as sleep } from "node:timers/promises";
import { type ChannelModel, connect } from "amqplib";
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { RabbitmqControl } from "./broker.ts";
import { poll } from "./poll.ts";
import { probeRabbitmq } from "./rabbitmq-probe.ts";
import { resolveRabbitmq } from "./resolve.ts";
import { importOf, startOtherProcess } from "./test-support.ts";

/** Resolves when the connection has closed, to what its close event tells. */
function closeOf(connection: ChannelModel): Promise<unknown> {
  connection.on("error", () => undefined); // the close event follows
  return new Promise((resolve) => connection.once("close", resolve));
}

/** `true` when nobody listens there, else `undefined`. */
function refuses(url: string): Promise<true | undefined> {
  return probeRabbitmq(url).then(
    () => undefined,
    (error: Error) => (error.message.includes("ECONNREFUSED") ? true : undefined),
  );
}

// Whichever way a broker came about, it does the same.
const { brokers, missing } = await resolveRabbitmq({ versions: ["4.0"], log: console.error });
afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));
afterEach(() => void vi.unstubAllEnvs());

test.skipIf(brokers.every(({ origin }) => origin === "address"))(
  "ends with the run that started it, even by SIGKILL",
  { timeout: 180_000 },
  async () => {
    const run = await startOtherProcess(
      `const { resolveRabbitmq } = ${importOf("resolve.ts")};
     const { brokers } = await resolveRabbitmq({ versions: ["4.0"] });
     console.log(brokers[0].url)`,
    );
    const url = run.firstLine;
    await probeRabbitmq(url);
    run.kill();
    expect(await poll("the end of the broker", () => refuses(url), { deadlineMs: 60_000 })).toBe(true);
  },
);

test.for(missing)("RabbitMQ $version can be had", ({ reason }, context) => {
  context.skip(!process.env["CI"], reason);
  expect.unreachable(reason);
});

describe.for(brokers)("RabbitMQ $version ($origin)", { timeout: 120_000 }, (broker) => {
  const { url } = broker;

  test("tells the version that clients see", async () => {
    expect(await probeRabbitmq(url)).toBe(broker.version);
  });

  test("is used as it is, and left running, when its address is given", async () => {
    vi.stubEnv("RABBITMQ_URL", url);
    const { brokers, missing } = await resolveRabbitmq({ versions: ["3.10", "4.0"] });
    expect(missing).toEqual([]);
    expect(brokers).toMatchObject([{ origin: "address", url, version: broker.version }]);
    expect(brokers[0]?.control).toBeUndefined();
    await brokers[0]?.stop();
    expect(await probeRabbitmq(url)).toBe(broker.version);
  });

  describe.skipIf(broker.control === undefined)("under control", () => {
    const control = broker.control as RabbitmqControl;

    test("runs rabbitmqctl", async () => {
      expect(await control.ctl("eval", "1 + 1.")).toBe("2\n");
      await expect(control.ctl("eval", "exit(too_bad).")).rejects.toThrow(
        /rabbitmqctl eval ended with \d+: [^]*too_bad/,
      );
    });

    test("closes all connections, the youngest too", async () => {
      const connections = await Promise.all([connect(url), connect(url), connect(url)]);
      const closed = connections.map(closeOf);
      await control.closeAllConnections("a test");
      for (const error of await Promise.all(closed))
        expect(error).toMatchObject({ message: expect.stringContaining("a test") });
    });

    test.for(["kill", "shutDown"] as const)("keeps a durable message over %s and start", async (end) => {
      const queue = `durable-${end}`;
      const before = await connect(url);
      const closed = closeOf(before);
      const channel = await before.createConfirmChannel();
      channel.on("error", () => undefined); // ends with its connection
      await channel.assertQueue(queue, { durable: true });
      channel.sendToQueue(queue, Buffer.from("kept"), { persistent: true });
      await channel.waitForConfirms();
      // That a queue was declared is written behind the answer; a broker that is killed at once forgets the queue.
      await control.ctl("eval", "mnesia:sync_log().");

      await control[end]();
      await closed;
      await expect(probeRabbitmq(url)).rejects.toThrow("ECONNREFUSED");
      await expect(control[end]()).rejects.toThrow(/not running|already stopped/);
      await control.start();

      const after = await connect(url);
      onTestFinished(() => after.close());
      const message = await (await after.createChannel()).get(queue, { noAck: true });
      expect(message && message.content.toString()).toBe("kept");
    });

    test("is silent while paused, and goes on with the same connections", async () => {
      const connection = await connect(url);
      onTestFinished(() => connection.close());
      const channel = await connection.createChannel();
      const { queue } = await channel.assertQueue("", { exclusive: true });
      await control.pause();
      const answer = channel.checkQueue(queue);
      expect(await Promise.race([answer, sleep(300, "silence")])).toBe("silence");
      await control.resume();
      expect(await answer).toMatchObject({ queue });
    });

    test.for(["kill", "shutDown"] as const)("can end with %s while paused", async (end) => {
      await control.pause();
      await control[end]();
      await control.start();
      expect(await probeRabbitmq(url)).toBe(broker.version);
    });

    test("is gone when stopped, and may be stopped again", async () => {
      await broker.stop();
      await expect(probeRabbitmq(url)).rejects.toThrow("ECONNREFUSED");
      await broker.stop();
    });
  });
});
