import { setTimeout as sleep } from "node:timers/promises";
import { PublishCommand } from "@aws-sdk/client-sns";
import { DeleteMessageCommand, GetQueueUrlCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { SqsBroker, SqsControl } from "./broker.ts";
import { poll } from "./poll.ts";
import { resolveSqs } from "./resolve.ts";
import { sqsClients, type SqsClients } from "./sqs-clients.ts";
import { probeSqs } from "./sqs-probe.ts";
import { importOf, startOtherProcess } from "./test-support.ts";

function clientsOf(...args: Parameters<typeof sqsClients>): SqsClients {
  const clients = sqsClients(...args);
  onTestFinished(() => clients[Symbol.dispose]());
  return clients;
}

const bodiesOf = async (clients: SqsClients, queueUrl: string, waitSeconds?: number): Promise<unknown[]> =>
  (await clients.receive(queueUrl, waitSeconds)).map(({ Body }) => Body);

// Whichever way a broker came about, it does the same.
const { brokers, missing } = await resolveSqs({ log: console.error });
afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));
afterEach(() => void vi.unstubAllEnvs());

test.skipIf(brokers.every(({ origin }) => origin === "address"))(
  "ends with the run that started it, even by SIGKILL",
  { timeout: 180_000 },
  async () => {
    const run = await startOtherProcess(
      `const { resolveSqs } = ${importOf("resolve.ts")};
     const { brokers } = await resolveSqs();
     console.log(brokers[0].endpoint)`,
    );
    await probeSqs(run.firstLine);
    run.kill();
    const refused = (): Promise<true | undefined> =>
      probeSqs(run.firstLine).then(
        () => undefined,
        (error: Error) => (/ECONNREFUSED|ECONNRESET/.test(error.message) ? true : undefined),
      );
    expect(await poll("the end of the broker", refused, { deadlineMs: 60_000 })).toBe(true);
  },
);

test.for(missing)("SQS can be had", ({ reason }, context) => {
  context.skip(!process.env["CI"], reason);
  expect.unreachable(reason);
});

describe.for(brokers)("SQS and SNS of $version ($origin)", { timeout: 120_000 }, (broker: SqsBroker) => {
  test("tells what it is", async () => {
    expect(await probeSqs(broker.endpoint)).toEqual({ version: broker.version, authorizes: broker.authorizes });
  });

  test("is used as it is, and left running, when its address is given", async () => {
    vi.stubEnv("SQS_ENDPOINT", `${broker.endpoint}/`);
    vi.stubEnv("AWS_REGION", "eu-west-1");
    const { brokers, missing } = await resolveSqs();
    expect(missing).toEqual([]);
    const { endpoint, version } = broker;
    expect(brokers).toMatchObject([{ origin: "address", endpoint, version, region: "eu-west-1" }]);
    expect(brokers[0]?.control).toBeUndefined();
    await brokers[0]?.stop();
    expect(await probeSqs(endpoint)).toMatchObject({ version });
  });

  test("names its queues by the address that its clients have", async () => {
    const url = await clientsOf(broker).createQueue("named");
    expect(new URL(url).host).toBe(new URL(broker.endpoint).host);
  });

  test("brings what is published to a topic into a queue as it was, with text and bytes beside it", async () => {
    const clients = clientsOf(broker);
    const queueUrl = await clients.createQueue("raw");
    const TopicArn = await clients.createTopicInto(queueUrl, "raw");
    await clients.allow(queueUrl, TopicArn);
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await clients.sns.send(
      new PublishCommand({
        TopicArn,
        Message: "Grüße <&> 😀\r\n",
        MessageAttributes: {
          type: { DataType: "String", StringValue: "order-placed" },
          packed: { DataType: "Binary", BinaryValue: bytes },
        },
      }),
    );
    expect(await clients.receive(queueUrl, 5)).toMatchObject([
      {
        Body: "Grüße <&> 😀\r\n",
        MessageAttributes: { type: { StringValue: "order-placed" }, packed: { BinaryValue: bytes } },
      },
    ]);
  });

  describe.skipIf(!broker.authorizes)("as strict as AWS", () => {
    test("keeps from a queue what its policy does not let a topic send", async () => {
      const clients = clientsOf(broker);
      const queueUrl = await clients.createQueue("closed");
      const TopicArn = await clients.createTopicInto(queueUrl, "closed");
      await clients.sns.send(new PublishCommand({ TopicArn, Message: "kept away" }));
      await clients.allow(queueUrl, TopicArn);
      await clients.sns.send(new PublishCommand({ TopicArn, Message: "let in" }));
      expect(await bodiesOf(clients, queueUrl, 5)).toEqual(["let in"]);
    });

    test("refuses an access key that it does not know", async () => {
      const credentials = { accessKeyId: "nobody", secretAccessKey: "test" };
      const { sqs } = clientsOf(broker, { credentials });
      await expect(sqs.send(new ListQueuesCommand({}))).rejects.toMatchObject({
        name: "InvalidClientTokenId",
        $metadata: { httpStatusCode: 403 },
      });
    });
  });

  describe.skipIf(broker.control === undefined)("under control", () => {
    const control = broker.control as SqsControl;

    test.for(["kill", "shutDown"] as const)("is refused after %s, and works after start", async (end) => {
      await control[end]();
      await expect(probeSqs(broker.endpoint)).rejects.toThrow("ECONNREFUSED");
      await expect(control[end]()).rejects.toThrow(/not running|already stopped/);
      await control.start();
      const clients = clientsOf(broker);
      const queueUrl = await clients.createQueue(`after-${end}`);
      await clients.send(queueUrl, "after");
      expect(await bodiesOf(clients, queueUrl, 5)).toEqual(["after"]);
    });

    test.skipIf(!control.isDurable).for(["kill", "shutDown"] as const)(
      "keeps messages, leases and topics over %s and start",
      async (end) => {
        const clients = clientsOf(broker);
        const queueUrl = await clients.createQueue(`kept-${end}`);
        const TopicArn = await clients.createTopicInto(queueUrl, `kept-${end}`);
        await clients.allow(queueUrl, TopicArn);
        await clients.send(queueUrl, "held");
        const [held] = await clients.receive(queueUrl);
        await clients.send(queueUrl, "waiting");
        const polling = clients.receive(await clients.createQueue(`empty-${end}`), 20);
        polling.catch(() => undefined); // awaited below

        await control[end]();
        await expect(polling).rejects.toThrow(end === "kill" ? /socket hang up|ECONNRESET/ : undefined);
        await control.start();

        await clients.sns.send(new PublishCommand({ TopicArn, Message: "after" }));
        expect(await bodiesOf(clients, queueUrl, 5)).toEqual(["waiting", "after"]);
        await clients.sqs.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle: held?.ReceiptHandle }));
      },
    );

    test.skipIf(control.isDurable)("has nothing left after kill and start", async () => {
      const clients = clientsOf(broker);
      await clients.createQueue("forgotten");
      await control.kill();
      await control.start();
      const lookUp = clients.sqs.send(new GetQueueUrlCommand({ QueueName: "forgotten" }));
      await expect(lookUp).rejects.toThrow(/does not exist/);
    });

    test("is silent while paused, and goes on with the same connections", async () => {
      const { sqs } = clientsOf(broker);
      await control.pause();
      const answer = sqs.send(new ListQueuesCommand({}));
      expect(await Promise.race([answer, sleep(300, "silence")])).toBe("silence");
      await control.resume();
      expect(await answer).toMatchObject({ $metadata: { httpStatusCode: 200 } });
    });

    test.for(["kill", "shutDown"] as const)("can end with %s while paused", async (end) => {
      await control.pause();
      await control[end]();
      await control.start();
      expect(await probeSqs(broker.endpoint)).toMatchObject({ version: broker.version });
    });

    test("is gone when stopped, and may be stopped again", async () => {
      await broker.stop();
      await expect(probeSqs(broker.endpoint)).rejects.toThrow("ECONNREFUSED");
      await broker.stop();
    });
  });
});
