import { setTimeout as sleep } from "node:timers/promises";
import { PublishBatchCommand, PublishCommand } from "@aws-sdk/client-sns";
import {
  GetQueueUrlCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import type { SqsBroker } from "./broker.ts";
import { type HttpLink, type HttpLinkOptions, openHttpLink } from "./http-link.ts";
import { poll } from "./poll.ts";
import { resolveSqs } from "./resolve.ts";
import { sqsClients, type SqsClients } from "./sqs-clients.ts";
import { errorAnswer } from "./sqs-wire.ts";

const { brokers, missing } = await resolveSqs({ log: console.error });
afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));

test.for(missing)("SQS can be had", ({ reason }, context) => {
  context.skip(!process.env["CI"], reason);
  expect.unreachable(reason);
});

interface Linked {
  readonly link: HttpLink;
  /** Clients that go through the link. */
  readonly linked: SqsClients;
  /** Clients that go past it. */
  readonly direct: SqsClients;
  readonly queueUrl: string;
  /** What is in the queue, past the link, sorted. */
  readonly bodies: () => Promise<string[]>;
  /** The same, as soon as that many are there. */
  readonly arrived: (count: number) => Promise<string[]>;
}

async function open(broker: SqsBroker, queue: string, options?: HttpLinkOptions): Promise<Linked> {
  const link = await openHttpLink(broker.endpoint, options);
  const linked = sqsClients(broker, { endpoint: link.endpoint });
  const direct = sqsClients(broker);
  onTestFinished(async () => {
    linked[Symbol.dispose]();
    direct[Symbol.dispose]();
    await link.close();
  });
  const queueUrl = await direct.createQueue(queue);
  const bodies = async (): Promise<string[]> =>
    (await direct.receive(queueUrl)).map(({ Body = "" }) => Body).toSorted();
  const arrived = async (count: number): Promise<string[]> => {
    const there: string[] = [];
    return poll(
      `${count} messages`,
      async () => {
        there.push(...(await bodies()));
        return there.length < count ? undefined : there.toSorted();
      },
      { deadlineMs: 5_000 },
    );
  };
  return { link, linked, direct, queueUrl, bodies, arrived };
}

const silenceOf = (answer: Promise<unknown>): Promise<unknown> =>
  Promise.race([answer.catch((error: unknown) => error), sleep(300, "silence")]);

const batchOf = (QueueUrl: string, ...ids: string[]): SendMessageBatchCommand =>
  new SendMessageBatchCommand({ QueueUrl, Entries: ids.map((id) => ({ Id: id, MessageBody: id })) });

describe.for(brokers)("a link to SQS and SNS of $version ($origin)", (broker) => {
  test("passes everything, and keeps clients at its own address", async () => {
    const { link, linked, queueUrl, arrived } = await open(broker, "passes");
    const { QueueUrl = "" } = await linked.sqs.send(new GetQueueUrlCommand({ QueueName: "passes" }));
    expect(new URL(QueueUrl).host).toBe(new URL(link.endpoint).host);
    const TopicArn = await linked.createTopicInto(queueUrl, "passes");
    await linked.allow(queueUrl, TopicArn);
    await linked.sns.send(new PublishCommand({ TopicArn, Message: "published" }));
    await linked.sqs.send(batchOf(QueueUrl, "sent"));
    expect(await arrived(2)).toEqual(["published", "sent"]);
  });

  test("tells the broker's answers, as they came", async () => {
    const told: string[] = [];
    const { linked, queueUrl } = await open(broker, "told", {
      onAnswer: ({ action, resource }, { status, body }) =>
        told.push(`${action} ${resource.endsWith("/told")} ${status} ${body.toString().includes("ReceiptHandle")}`),
    });
    await linked.send(queueUrl, "x");
    await linked.receive(queueUrl);
    expect(told).toEqual(["SendMessage true 200 false", "ReceiveMessage true 200 true"]);
  });

  test("tells requests as they come, and until when they last; what is said to one is its answer", async () => {
    const underWay = new Set<string>();
    const { linked, queueUrl, bodies } = await open(broker, "asked", {
      onRequest(request, body, gone) {
        underWay.add(request.action);
        gone.addEventListener("abort", () => underWay.delete(request.action));
        const isRefused = body.toString().includes("refused");
        return isRefused
          ? errorAnswer(request, { status: 403, code: "AccessDenied", senderFault: true, message: "No." })
          : undefined;
      },
    });
    const polling = linked.receive(queueUrl, 20);
    expect(await silenceOf(polling)).toBe("silence");
    expect([...underWay]).toEqual(["ReceiveMessage"]);
    await expect(linked.send(queueUrl, "refused")).rejects.toMatchObject({ name: "AccessDenied", message: "No." });
    await linked.send(queueUrl, "taken");
    expect(await polling).toMatchObject([{ Body: "taken" }]);
    await expect.poll(() => [...underWay]).toEqual([]);
    expect(await bodies()).toEqual([]);
  });

  test.for([
    ["internal", "InternalFailure", 500, "InternalErrorException", 500],
    ["unavailable", "ServiceUnavailable", 503, "ServiceUnavailable", 503],
    ["throttled", "RequestThrottled", 400, "ThrottledException", 429],
  ] as const)(
    "answers %s as each service does, and passes nothing on",
    async ([error, sqs, status, sns, snsStatus]) => {
      const { link, linked, queueUrl, bodies } = await open(broker, `error-${error}`);
      const TopicArn = await linked.createTopicInto(queueUrl, `error-${error}`);
      await linked.allow(queueUrl, TopicArn);
      link.inject({ kind: "error", error }, { times: 2 });
      await expect(linked.send(queueUrl, "refused")).rejects.toMatchObject({
        name: sqs,
        $metadata: { httpStatusCode: status },
      });
      await expect(linked.sns.send(new PublishCommand({ TopicArn, Message: "refused" }))).rejects.toMatchObject({
        name: sns,
        $metadata: { httpStatusCode: snsStatus },
      });
      await linked.send(queueUrl, "taken");
      expect(await bodies()).toEqual(["taken"]);
    },
  );

  test("fails entries of a batch to SQS, which the broker never sees", async () => {
    const { link, linked, queueUrl, bodies } = await open(broker, "entries");
    const fault = link.inject({ kind: "fail-entries", fails: (index) => index % 2 === 1, error: "internal" });
    const { Successful, Failed } = await linked.sqs.send(batchOf(queueUrl, "a", "b", "c", "d"));
    expect(Successful?.map(({ Id }) => Id)).toEqual(["a", "c"]);
    expect(Failed).toMatchObject([
      { Id: "b", Code: "InternalFailure", SenderFault: false },
      { Id: "d", Code: "InternalFailure", SenderFault: false },
    ]);
    expect(await bodies()).toEqual(["a", "c"]);
    fault.lift();
    expect((await linked.sqs.send(batchOf(queueUrl, "e", "f"))).Failed ?? []).toEqual([]);
    expect(await bodies()).toEqual(["e", "f"]);
  });

  test("fails entries of a batch to SNS in the same way", async () => {
    const { link, linked, queueUrl, arrived } = await open(broker, "entries-sns");
    const TopicArn = await linked.createTopicInto(queueUrl, "entries-sns");
    await linked.allow(queueUrl, TopicArn);
    link.inject(
      { kind: "fail-entries", fails: (index) => index === 0, error: "throttled" },
      { resource: "entries-sns" },
    );
    const PublishBatchRequestEntries = ["a", "b", "c"].map((id) => ({
      Id: id,
      Message: `${id} <&>`,
      MessageAttributes: { type: { DataType: "String", StringValue: id } },
    }));
    const { Successful, Failed } = await linked.sns.send(
      new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries }),
    );
    expect(Successful?.map(({ Id }) => Id)).toEqual(["b", "c"]);
    expect(Failed).toMatchObject([{ Id: "a", Code: "Throttled", SenderFault: true }]);
    expect(await arrived(2)).toEqual(["b <&>", "c <&>"]);
  });

  test("can fail all entries", async () => {
    const { link, linked, direct, queueUrl, bodies } = await open(broker, "entries-all");
    const TopicArn = await direct.createTopicInto(queueUrl, "entries-all");
    link.inject({ kind: "fail-entries", fails: () => true, error: "unavailable" });
    expect(await linked.sqs.send(batchOf(queueUrl, "a", "b"))).toMatchObject({
      Successful: [],
      Failed: [{ Id: "a" }, { Id: "b" }],
    });
    const entries = [{ Id: "a", Message: "a" }];
    expect(
      await linked.sns.send(new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries: entries })),
    ).toMatchObject({ Failed: [{ Id: "a", Code: "ServiceUnavailable" }] });
    expect(await bodies()).toEqual([]);
  });

  test.for([
    ["before", []],
    ["after", ["cut off"]],
  ] as const)("cuts the connection %s the broker has heard", async ([when, landed]) => {
    const { link, linked, queueUrl, bodies } = await open(broker, `cut-${when}`);
    const fault = link.inject({ kind: "reset", when }, { actions: ["SendMessage"], times: 1 });
    await expect(linked.send(queueUrl, "cut off")).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect(fault.hits).toBe(1);
    expect(await bodies()).toEqual(landed);
    await linked.send(queueUrl, "passes");
  });

  test("cuts the connection in the middle of an answer", async () => {
    const { link, linked, queueUrl, bodies } = await open(broker, "cut-answer");
    link.inject({ kind: "cut-answer" }, { actions: ["SendMessage"], times: 1 });
    await expect(linked.send(queueUrl, "cut off")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await bodies()).toEqual(["cut off"]);
    await linked.send(queueUrl, "passes");
  });

  test.for([
    ["before", []],
    ["after", ["unanswered"]],
  ] as const)("stays silent %s the broker has heard, about one action and one queue", async ([when, landed]) => {
    const { link, linked, direct, queueUrl, bodies } = await open(broker, `silent-${when}`);
    const other = await direct.createQueue(`other-${when}`);
    link.inject({ kind: "silence", when }, { actions: ["SendMessage"], resource: `/silent-${when}` });
    expect(await silenceOf(linked.send(queueUrl, "unanswered"))).toBe("silence");
    expect(await bodies()).toEqual(landed);
    await linked.send(other, "passes");
    await linked.receive(queueUrl);
  });

  test("delays answers", async () => {
    const { link, linked, queueUrl, bodies } = await open(broker, "delays");
    link.inject({ kind: "delay", ms: 600 });
    const answer = linked.send(queueUrl, "slow");
    expect(await silenceOf(answer)).toBe("silence");
    expect(await bodies()).toEqual(["slow"]);
    await answer;
  });

  test("holds requests back until the fault is lifted", async () => {
    const { link, linked, queueUrl, bodies } = await open(broker, "holds");
    const fault = link.inject({ kind: "hold" }, { actions: ["SendMessage", "SendMessageBatch"] });
    const answer = linked.send(queueUrl, "held");
    expect(await silenceOf(answer)).toBe("silence");
    expect(await bodies()).toEqual([]);
    fault.lift();
    await answer;
    expect(await bodies()).toEqual(["held"]);
  });

  test("drops the request of a client that has given up", async () => {
    const { link, linked, queueUrl, bodies } = await open(broker, "gives-up");
    const fault = link.inject({ kind: "hold" }, { actions: ["SendMessage"] });
    const abandoned = linked.sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: "abandoned" }), {
      abortSignal: AbortSignal.timeout(200),
    });
    await expect(abandoned).rejects.toThrow(/aborted/i);
    await linked.sqs.send(new ListQueuesCommand({})); // until the link has seen the end of the connection
    fault.lift();
    await linked.send(queueUrl, "after");
    expect(await bodies()).toEqual(["after"]);
  });

  describe("as a whole", () => {
    test("resets or ends connections, long polls too; new ones work", async () => {
      const { link, linked, queueUrl } = await open(broker, "whole");
      for (const end of ["cut", "end"] as const) {
        const polling = linked.sqs.send(new ReceiveMessageCommand({ QueueUrl: queueUrl, WaitTimeSeconds: 20 }));
        expect(await silenceOf(polling)).toBe("silence");
        link[end]();
        await expect(polling).rejects.toThrow(/socket hang up|ECONNRESET/);
        await linked.sqs.send(new ListQueuesCommand({}));
      }
    });

    test("is down, and up again", async () => {
      const { link, linked, queueUrl, bodies } = await open(broker, "down");
      link.mode = "down";
      await expect(linked.send(queueUrl, "refused")).rejects.toThrow(/socket hang up|ECONNRESET/);
      link.mode = "pass";
      await linked.send(queueUrl, "passes");
      expect(await bodies()).toEqual(["passes"]);
    });

    test.for([
      ["stall", []],
      ["deaf", ["unanswered"]],
    ] as const)("%s: nothing comes back until it passes again, which resets", async ([mode, landed]) => {
      const { link, linked, queueUrl, bodies } = await open(broker, mode);
      link.mode = mode;
      const answer = linked.send(queueUrl, "unanswered");
      expect(await silenceOf(answer)).toBe("silence");
      expect(await bodies()).toEqual(landed);
      link.mode = "pass";
      await expect(answer).rejects.toThrow(/socket hang up|ECONNRESET/);
      await linked.send(queueUrl, "passes");
    });

    test.skipIf(broker.control === undefined)(
      "resets while the broker is down, and works when it is back",
      async () => {
        const { linked } = await open(broker, "restart");
        await broker.control?.kill();
        await expect(linked.sqs.send(new ListQueuesCommand({}))).rejects.toThrow(/socket hang up|ECONNRESET/);
        await broker.control?.start();
        await linked.sqs.send(new ListQueuesCommand({}));
      },
    );
  });
});
