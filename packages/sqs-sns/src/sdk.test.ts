import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Aws } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import type { AwsServer, Reply } from "./aws-server.fixture.ts";
import { json, jsonError, md5, openAwsServer, xml, xmlError } from "./aws-server.fixture.ts";
import { badChecksum, noResult, unreadableAnswer } from "./errors.ts";
import type { SqsOptions } from "./options.ts";
import { readOptions } from "./options.ts";
import { createAws } from "./sdk.ts";

const never = new AbortController().signal;
const credentials = { accessKeyId: "AKID", secretAccessKey: "s3cret" };
const queue = "http://elsewhere.invalid:1/000000000000/orders";
const topic = "arn:aws:sns:us-east-1:000000000000:events";
const receiving = { maxMessages: 10, waitSeconds: 1, visibilitySeconds: 30 };

let server: AwsServer;
const opened: Aws[] = [];

function open(options: SqsOptions = {}): Aws {
  const aws = createAws(readOptions({ region: "us-east-1", endpoint: server.endpoint, credentials, ...options }));
  opened.push(aws);
  return aws;
}

beforeEach(async () => {
  server = await openAwsServer();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const aws of opened.splice(0)) aws.close();
  await server.close();
});

async function failureOf(request: Promise<unknown>): Promise<RequestFailure> {
  const error: unknown = await request.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof RequestFailure) return error;
  throw new Error(`It ended with ${inspect(error)}.`);
}

const probe = (aws: Aws, signal = never): Promise<unknown> => aws.sqs.queueUrl("orders", signal);
const listTopics = (aws: Aws): Promise<unknown> => aws.sns.topicArn("events", never);

describe("a batch", () => {
  test("is sent to SQS with bodies, attributes, delays and FIFO ids", async () => {
    server.answer = ({ json: asked }) =>
      json({
        Successful: (asked["Entries"] as { Id: string; MessageBody: string }[]).map(({ Id, MessageBody }) => ({
          Id,
          MessageId: Id,
          MD5OfMessageBody: md5(MessageBody),
        })),
      });
    const results = await open().sqs.send(
      queue,
      [
        { body: "ä", attributes: { type: "a", raw: Uint8Array.of(0, 255) }, delaySeconds: 5 },
        { body: "b", attributes: {}, groupId: "g", deduplicationId: "d" },
      ],
      never,
    );
    expect(results).toEqual([{ ok: true }, { ok: true }]);
    expect(server.asked[0]?.json).toEqual({
      QueueUrl: queue,
      Entries: [
        {
          Id: "0",
          MessageBody: "ä",
          DelaySeconds: 5,
          MessageAttributes: {
            type: { DataType: "String", StringValue: "a" },
            raw: { DataType: "Binary", BinaryValue: "AP8=" },
          },
        },
        { Id: "1", MessageBody: "b", MessageAttributes: {}, MessageGroupId: "g", MessageDeduplicationId: "d" },
      ],
    });
  });

  test("has a result for each entry by its id, whatever the order of the answer", async () => {
    server.answer = () =>
      json({
        Successful: [
          { Id: "3", MessageId: "m", MD5OfMessageBody: md5("3") },
          { Id: "0", MessageId: "m", MD5OfMessageBody: md5("0") },
        ],
        Failed: [
          { Id: "2", Code: "KMS.ThrottlingException", Message: "later", SenderFault: false },
          { Id: "1", Code: "AWS.SimpleQueueService.InvalidMessageContents", Message: "never", SenderFault: true },
          { Id: "17", Code: "Odd", SenderFault: true },
        ],
      });
    const entries = ["0", "1", "2", "3", "4"].map((body) => ({ body, attributes: {} }));
    expect(await open().sqs.send(queue, entries, never)).toEqual([
      { ok: true },
      { ok: false, code: "InvalidMessageContents", message: "never", senderFault: true },
      { ok: false, code: "KMSThrottlingException", message: "later", senderFault: false },
      { ok: true },
      { ok: false, code: noResult, message: "The answer does not mention it.", senderFault: false },
    ]);
  });

  test("may succeed without any entry that does", async () => {
    server.answer = () => json({ Failed: [{ Id: "0", Code: "ReceiptHandleIsInvalid", SenderFault: true }] });
    const failed = { ok: false, code: "ReceiptHandleIsInvalid", message: "", senderFault: true };
    const { sqs } = open();
    expect(await sqs.delete(queue, ["h"], never)).toEqual([failed]);
    expect(await sqs.changeVisibility(queue, [{ receiptHandle: "h", visibilitySeconds: 0 }], never)).toEqual([failed]);
    expect(server.asked.map(({ json: asked }) => asked["Entries"])).toEqual([
      [{ Id: "0", ReceiptHandle: "h" }],
      [{ Id: "0", ReceiptHandle: "h", VisibilityTimeout: 0 }],
    ]);
  });

  test("is published to SNS the same way", async () => {
    server.answer = ({ action }) =>
      xml(
        action,
        "<Successful><member><Id>1</Id><MessageId>m</MessageId></member></Successful>" +
          "<Failed><member><Id>0</Id><Code>InternalError</Code><Message>later</Message><SenderFault>false</SenderFault></member></Failed>",
      );
    const results = await open().sns.publish(
      topic,
      [
        { body: "a", attributes: { type: "t", raw: Uint8Array.of(255) }, groupId: "g", deduplicationId: "d" },
        { body: "b", attributes: {} },
      ],
      never,
    );
    expect(results).toEqual([{ ok: false, code: "InternalError", message: "later", senderFault: false }, { ok: true }]);
    expect(Object.fromEntries(server.asked[0]?.form ?? [])).toMatchObject({
      Action: "PublishBatch",
      TopicArn: topic,
      "PublishBatchRequestEntries.member.1.Id": "0",
      "PublishBatchRequestEntries.member.1.Message": "a",
      "PublishBatchRequestEntries.member.1.MessageGroupId": "g",
      "PublishBatchRequestEntries.member.1.MessageDeduplicationId": "d",
      "PublishBatchRequestEntries.member.1.MessageAttributes.entry.2.Value.BinaryValue": "/w==",
      "PublishBatchRequestEntries.member.2.Id": "1",
      "PublishBatchRequestEntries.member.2.Message": "b",
    });
  });
});

describe("what is received", () => {
  test("has its attributes, and what SQS knows of it", async () => {
    server.answer = () =>
      json({
        Messages: [
          {
            MessageId: "m",
            ReceiptHandle: "h",
            Body: "ä",
            MD5OfBody: md5("ä"),
            Attributes: { ApproximateReceiveCount: "3", SentTimestamp: "1767225600000", MessageGroupId: "g" },
            MessageAttributes: {
              type: { DataType: "String", StringValue: "a" },
              count: { DataType: "Number.int", StringValue: "5" },
              raw: { DataType: "Binary.gz", BinaryValue: "AP8=" },
            },
          },
          { MessageId: "n", ReceiptHandle: "i", Body: "", MD5OfBody: md5("") },
        ],
      });
    expect(await open().sqs.receive(queue, receiving, never)).toEqual([
      {
        messageId: "m",
        receiptHandle: "h",
        body: "ä",
        attributes: { type: "a", count: "5", raw: Uint8Array.of(0, 255) },
        receiveCount: 3,
        sentAt: 1_767_225_600_000,
        groupId: "g",
      },
      { messageId: "n", receiptHandle: "i", body: "", attributes: {}, receiveCount: 1, sentAt: 0, groupId: undefined },
    ]);
    expect(server.asked[0]?.json).toEqual({
      QueueUrl: queue,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: 1,
      VisibilityTimeout: 30,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
    });
  });

  test("may be nothing", async () => {
    server.answer = () => json({});
    expect(await open().sqs.receive(queue, receiving, never)).toEqual([]);
  });
});

describe("checksums are compared", () => {
  test("of what was received", async () => {
    server.answer = () => json({ Messages: [{ MessageId: "m", ReceiptHandle: "h", Body: "a", MD5OfBody: md5("b") }] });
    const failure = await failureOf(open().sqs.receive(queue, receiving, never));
    expect(failure).toMatchObject({ sent: true, code: badChecksum, httpStatus: 200 });
  });

  test("of what was sent", async () => {
    server.answer = () => json({ Successful: [{ Id: "0", MessageId: "m", MD5OfMessageBody: md5("b") }] });
    const failure = await failureOf(open().sqs.send(queue, [{ body: "a", attributes: {} }], never));
    expect(failure).toMatchObject({ sent: true, code: badChecksum, httpStatus: 200 });
  });
});

describe("queues, topics and subscriptions", () => {
  test("are made with attributes and tags", async () => {
    server.answer = ({ action }) =>
      action === "CreateQueue" ? json({ QueueUrl: queue }) : xml(action, `<TopicArn>${topic}</TopicArn>`);
    const aws = open();
    expect(await aws.sqs.createQueue("orders", { FifoQueue: "true" }, { team: "a" }, never)).toBe(queue);
    expect(await aws.sns.createTopic("events", { FifoTopic: "true" }, { team: "a" }, never)).toBe(topic);
    expect(server.asked[0]?.json).toEqual({
      QueueName: "orders",
      Attributes: { FifoQueue: "true" },
      tags: { team: "a" },
    });
    expect(Object.fromEntries(server.asked[1]?.form ?? [])).toMatchObject({
      Name: "events",
      "Attributes.entry.1.key": "FifoTopic",
      "Attributes.entry.1.value": "true",
      "Tags.member.1.Key": "team",
      "Tags.member.1.Value": "a",
    });
  });

  test("that do not exist are none, by whichever name the server says it", async () => {
    const aws = open();
    server.answer = () => jsonError(400, "QueueDoesNotExist", "No.", "AWS.SimpleQueueService.NonExistentQueue");
    expect(await aws.sqs.queueUrl("orders", never)).toBeUndefined();
    server.answer = () => jsonError(400, "AWS.SimpleQueueService.NonExistentQueue");
    expect(await aws.sqs.queueUrl("orders", never)).toBeUndefined();
    server.answer = () => xmlError(404, "NotFound");
    expect(await aws.sns.topicAttributes(topic, never)).toBeUndefined();
  });

  test("are read and changed", async () => {
    const aws = open();
    server.answer = ({ action }) =>
      action === "GetQueueUrl" ? json({ QueueUrl: queue }) : json({ Attributes: { a: "b" } });
    expect(await aws.sqs.queueUrl("orders", never)).toBe(queue);
    expect(await aws.sqs.queueAttributes(queue, never)).toEqual({ a: "b" });
    server.answer = () => ({ status: 200, body: "" });
    expect(await aws.sqs.setQueueAttributes(queue, { c: "d" }, never)).toBeUndefined();
    expect(server.asked.at(-1)?.json).toEqual({ QueueUrl: queue, Attributes: { c: "d" } });
    const attributes = "<Attributes><entry><key>a</key><value>b</value></entry></Attributes>";
    server.answer = ({ action }) => xml(action, attributes);
    expect(await aws.sns.topicAttributes(topic, never)).toEqual({ a: "b" });
    expect(await aws.sns.subscriptionAttributes(`${topic}:1`, never)).toEqual({ a: "b" });
    await aws.sns.setSubscriptionAttribute(`${topic}:1`, "FilterPolicy", "{}", never);
    expect(Object.fromEntries(server.asked.at(-1)?.form ?? [])).toMatchObject({
      Action: "SetSubscriptionAttributes",
      SubscriptionArn: `${topic}:1`,
      AttributeName: "FilterPolicy",
      AttributeValue: "{}",
    });
  });

  test("a topic is looked for on every page, by its whole name", async () => {
    server.answer = ({ action, form }) =>
      form.get("NextToken") === "2"
        ? xml(action, `<Topics><member><TopicArn>${topic}</TopicArn></member></Topics>`)
        : xml(action, `<Topics><member><TopicArn>${topic}-2</TopicArn></member></Topics><NextToken>2</NextToken>`);
    const { sns } = open();
    expect(await sns.topicArn("events", never)).toBe(topic);
    expect(await sns.topicArn("vents", never)).toBeUndefined();
    expect(server.asked).toHaveLength(4);
  });

  test("a topic of a known account is not looked for", async () => {
    const { sns } = open({ accountId: "000000000000" });
    server.answer = ({ action }) => xml(action, "");
    expect(await sns.topicArn("events", never)).toBe(topic);
    server.answer = () => xmlError(404, "NotFound");
    expect(await sns.topicArn("events", never)).toBeUndefined();
    expect(server.asked.map(({ action }) => action)).toEqual(["GetTopicAttributes", "GetTopicAttributes"]);
  });

  test("subscriptions are those of queues that are confirmed, from every page", async () => {
    const member = (arn: string, protocol = "sqs"): string =>
      `<member><SubscriptionArn>${arn}</SubscriptionArn><Protocol>${protocol}</Protocol><Endpoint>${arn}-queue</Endpoint></member>`;
    server.answer = ({ action, form }) => {
      if (action === "Subscribe") return xml(action, "<SubscriptionArn>arn:1</SubscriptionArn>");
      return form.get("NextToken") === "2"
        ? xml(action, `<Subscriptions>${member("arn:3")}</Subscriptions>`)
        : xml(
            action,
            `<Subscriptions>${member("arn:1")}${member("PendingConfirmation")}${member("arn:2", "lambda")}</Subscriptions><NextToken>2</NextToken>`,
          );
    };
    const { sns } = open();
    expect(await sns.subscriptions(topic, never)).toEqual([
      { arn: "arn:1", endpoint: "arn:1-queue" },
      { arn: "arn:3", endpoint: "arn:3-queue" },
    ]);
    expect(await sns.subscribe(topic, "arn:q", { RawMessageDelivery: "true" }, never)).toBe("arn:1");
    expect(Object.fromEntries(server.asked.at(-1)?.form ?? [])).toMatchObject({
      Protocol: "sqs",
      Endpoint: "arn:q",
      "Attributes.entry.1.key": "RawMessageDelivery",
      ReturnSubscriptionArn: "true",
    });
  });

  test("an answer without what was asked for is none", async () => {
    server.answer = () => json({});
    expect(await failureOf(probe(open()))).toMatchObject({ code: unreadableAnswer, httpStatus: 200 });
  });
});

describe("a refusal", () => {
  const page = (status: number): Reply => ({
    status,
    body: "<html>nginx</html>",
    headers: { "content-type": "text/html" },
  });

  test.each<[string, Reply, string, number]>([
    ["of SQS that is not well", jsonError(500, "InternalFailure"), "InternalFailure", 500],
    ["of SQS that is away", jsonError(503, "ServiceUnavailable"), "ServiceUnavailable", 503],
    ["by throttling", jsonError(400, "RequestThrottled", "No.", "RequestThrottled"), "RequestThrottled", 400],
    ["by throttling in other words", jsonError(400, "ThrottlingException"), "ThrottlingException", 400],
    ["for want of a permission", jsonError(403, "AccessDeniedException", "No.", "AccessDenied"), "AccessDenied", 403],
    ["without a body", { status: 503, body: "" }, "Unknown", 503],
    ["that is none of AWS", page(502), unreadableAnswer, 502],
    ["that is a page of something else", page(200), unreadableAnswer, 200],
  ])("%s is told with code and status, and not tried again", async (_, reply, code, httpStatus) => {
    vi.stubEnv("AWS_MAX_ATTEMPTS", "5");
    server.answer = () => reply;
    const failure = await failureOf(probe(open()));
    expect(failure).toMatchObject({ sent: true, code, httpStatus });
    expect(failure.message).not.toMatch(/\$response|undefined/);
    expect(server.asked).toHaveLength(1);
  });

  test.each<[string, Reply, string, number]>([
    ["that is not well", xmlError(500, "InternalError"), "InternalErrorException", 500],
    ["that is away", xmlError(503, "ServiceUnavailable"), "ServiceUnavailable", 503],
    ["that throttles", xmlError(429, "Throttled"), "ThrottledException", 429],
    ["that throttles in other words", xmlError(400, "Throttling"), "Throttling", 400],
    ["that wants a permission", xmlError(403, "AuthorizationError"), "AuthorizationErrorException", 403],
    ["without a body", { status: 503, body: "" }, "Unknown", 503],
    ["behind another server", page(502), "Unknown", 502],
  ])("of SNS %s is told with code and status", async (_, reply, code, httpStatus) => {
    server.answer = () => reply;
    expect(await failureOf(listTopics(open()))).toMatchObject({ sent: true, code, httpStatus });
    expect(server.asked).toHaveLength(1);
  });

  test("of the credentials tells nothing of them", async () => {
    const canonical = "The Canonical String for this request should have been 'x-amz-security-token:t0ken'";
    server.answer = () => jsonError(403, "SignatureDoesNotMatch", canonical);
    const failure = await failureOf(probe(open({ credentials: { ...credentials, sessionToken: "t0ken" } })));
    expect(failure).toMatchObject({ sent: true, code: "SignatureDoesNotMatch", httpStatus: 403 });
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toMatch(/t0ken|s3cret/);
  });
});

describe("without an answer", () => {
  test("nothing was sent where nobody listens", async () => {
    const aws = open();
    await server.close();
    expect(await failureOf(probe(aws))).toMatchObject({ sent: false, code: undefined, httpStatus: undefined });
    expect((await failureOf(listTopics(aws))).message).toContain("ECONNREFUSED");
    server = await openAwsServer();
  });

  test("nothing was sent when no connection was to be had in time", async () => {
    const aws = open({ connectTimeoutMs: 100, requestTimeoutMs: 60_000 });
    const holding = Array.from({ length: 200 }, () => probe(aws).catch(() => undefined));
    await vi.waitFor(() => expect(server.asked).toHaveLength(200));
    expect(await failureOf(probe(aws))).toMatchObject({ sent: false, httpStatus: undefined });
    aws.close();
    await Promise.all(holding);
  });

  test.each(["cut", "half"] as const)("it may have been done when the connection is cut: %s", async (reply) => {
    server.answer = () => reply;
    const aws = open();
    for (const failure of [await failureOf(probe(aws)), await failureOf(listTopics(aws))])
      expect(failure).toMatchObject({ sent: true, code: undefined, httpStatus: undefined });
    expect(server.asked).toHaveLength(2);
  });

  test.each(["silence", "stall"] as const)("it may have been done when time is up: %s", async (reply) => {
    server.answer = () => reply;
    const failure = await failureOf(probe(open({ requestTimeoutMs: 100 })));
    expect(failure).toMatchObject({ sent: true, code: undefined, httpStatus: undefined });
  });

  test("a poll has the time that SQS waits beside", async () => {
    server.answer = () => "silence";
    const started = performance.now();
    const failure = await failureOf(open({ requestTimeoutMs: 100 }).sqs.receive(queue, receiving, never));
    expect(failure).toMatchObject({ sent: true, httpStatus: undefined });
    expect(performance.now() - started).toBeGreaterThan(1_050);
  });

  test("nothing was sent when there are no credentials", async () => {
    const none = (): Promise<never> => Promise.reject(new Error("The role is gone."));
    const failure = await failureOf(probe(open({ credentials: none })));
    expect(failure).toMatchObject({
      sent: false,
      code: undefined,
      httpStatus: undefined,
      message: "The role is gone.",
    });
    expect(server.asked).toHaveLength(0);
  });
});

describe("a clock that is wrong", () => {
  const skewed = (code: string): Reply => {
    const reply = jsonError(403, code);
    if (typeof reply === "string") return reply;
    return { ...reply, headers: { ...reply.headers, date: new Date(Date.now() + 3_600_000).toUTCString() } };
  };

  test("is put right by the first refusal", async () => {
    server.answer = () => (server.asked.length === 1 ? skewed("RequestTimeTooSkewed") : json({ QueueUrl: queue }));
    expect(await probe(open())).toBe(queue);
    const [first = 0, second = 0] = server.asked.map(({ headers }) =>
      Number(/T(\d\d)/.exec(String(headers["x-amz-date"]))?.[1]),
    );
    expect((second - first + 24) % 24).toBeGreaterThanOrEqual(1);
  });

  test("does not make a request that is refused twice come a third time", async () => {
    server.answer = () => skewed("SignatureDoesNotMatch");
    expect(await failureOf(probe(open()))).toMatchObject({ code: "SignatureDoesNotMatch" });
    expect(server.asked.length).toBe(2);
  });
});

describe("a request that is given up", () => {
  test("rejects at once with the signal's reason, and its connection is ended", async () => {
    const aws = open();
    const signal = new AbortController();
    const reason = new Error("enough");
    const asking = probe(aws, signal.signal);
    await vi.waitFor(() => expect(server.asked).toHaveLength(1));
    signal.abort(reason);
    await expect(asking).rejects.toBe(reason);
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });

  test("is not begun when the signal has fired", async () => {
    const reason = new Error("enough");
    await expect(probe(open(), AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(server.asked).toHaveLength(0);
  });

  test("does not wait for credentials", async () => {
    const signal = new AbortController();
    const asking = probe(open({ credentials: () => new Promise(() => undefined) }), signal.signal);
    const reason = new Error("enough");
    setImmediate(() => signal.abort(reason));
    await expect(asking).rejects.toBe(reason);
  });
});

test("closed, all requests end and no connection stays", async () => {
  const aws = open();
  server.answer = () => json({ QueueUrl: queue });
  await probe(aws);
  server.answer = () => "silence";
  const asking = [failureOf(probe(aws)), failureOf(aws.sqs.receive(queue, receiving, never))];
  await vi.waitFor(() => expect(server.asked).toHaveLength(3));
  aws.close();
  for (const failure of await Promise.all(asking)) expect(failure).toMatchObject({ sent: true, httpStatus: undefined });
  expect(await failureOf(probe(aws))).toMatchObject({ sent: false, httpStatus: undefined });
  await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  expect(server.asked).toHaveLength(3);
});

describe("connections", () => {
  test("are kept and used again, those of polls apart", async () => {
    server.answer = ({ action }) =>
      action === "GetQueueUrl" ? json({ QueueUrl: queue }) : action === "ListTopics" ? xml(action, "") : json({});
    const aws = open();
    for (let round = 0; round < 2; round++) {
      await probe(aws);
      await listTopics(aws);
      await aws.sqs.receive(queue, receiving, never);
    }
    const [first, second, third, fourth, fifth, sixth] = server.asked.map(({ socket }) => socket);
    expect(new Set([first, second, fourth, fifth]).size).toBe(1);
    expect(third).toBe(sixth);
    expect(third).not.toBe(first);
  });

  test("of as many polls as there are leave room for the rest", async () => {
    const aws = open();
    const giveUp = new AbortController();
    const polls = Array.from({ length: 80 }, () =>
      aws.sqs.receive(queue, receiving, giveUp.signal).catch(() => undefined),
    );
    await vi.waitFor(() => expect(server.asked).toHaveLength(80));
    server.answer = () => json({ QueueUrl: queue });
    expect(await probe(aws)).toBe(queue);
    giveUp.abort();
    await Promise.all(polls);
  });

  test("that are idle are not believed any more when a request gets no answer", async () => {
    server.answer = () => json({});
    const aws = open({ requestTimeoutMs: 100 });
    await aws.sqs.receive(queue, receiving, never);
    server.answer = () => "silence";
    await failureOf(probe(aws));
    await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  });
});

test("a handler of one's own sends everything, with signal and timeout, and is left alone at the end", async () => {
  const seen: { readonly hostname: string; readonly path: string; readonly timeout: number | undefined }[] = [];
  let destroyed = false;
  const requestHandler = {
    handle(request: { hostname: string; path: string }, options: { requestTimeout?: number; abortSignal?: unknown }) {
      expect(options.abortSignal).toBeInstanceOf(AbortSignal);
      seen.push({ hostname: request.hostname, path: request.path, timeout: options.requestTimeout });
      return Promise.reject(Object.assign(new Error("connect ETIMEDOUT"), { syscall: "connect" }));
    },
    destroy() {
      destroyed = true;
    },
  };
  const aws = open({ requestHandler, endpoint: "https://vpce.example/base" });
  expect(await failureOf(probe(aws))).toMatchObject({ sent: false });
  expect(await failureOf(aws.sqs.receive(queue, receiving, never))).toMatchObject({ sent: false });
  expect(await failureOf(listTopics(aws))).toMatchObject({ sent: false });
  const expected = { hostname: "vpce.example", path: "/base/" };
  expect(seen).toEqual([
    { ...expected, timeout: 10_000 },
    { ...expected, timeout: 11_000 },
    { ...expected, timeout: 10_000 },
  ]);
  aws.close();
  expect(destroyed).toBe(false);
});

describe("where the services are", () => {
  /** The hosts that a question, a poll and a question to SNS go to. */
  async function hostsOf(options: SqsOptions): Promise<readonly string[]> {
    const hosts: string[] = [];
    const requestHandler = {
      handle({ hostname }: { hostname: string }) {
        hosts.push(hostname);
        return Promise.reject(new Error("not sent"));
      },
    };
    const aws = open({ requestHandler, endpoint: undefined, region: "eu-central-1", ...options });
    await failureOf(probe(aws));
    await failureOf(aws.sqs.receive(queue, receiving, never));
    await failureOf(listTopics(aws));
    return hosts;
  }

  test("without an endpoint they are AWS's, of the region, whatever a queue's URL says", async () => {
    const sqs = "sqs.eu-central-1.amazonaws.com";
    expect(await hostsOf({})).toEqual([sqs, sqs, "sns.eu-central-1.amazonaws.com"]);
  });

  test("each may have an endpoint of its own", async () => {
    const endpoint = "https://sqs.example";
    expect(await hostsOf({ endpoint })).toEqual(["sqs.example", "sqs.example", "sqs.example"]);
    const snsEndpoint = "https://sns.example";
    expect(await hostsOf({ endpoint, snsEndpoint })).toEqual(["sqs.example", "sqs.example", "sns.example"]);
    const sqs = "sqs.eu-central-1.amazonaws.com";
    expect(await hostsOf({ snsEndpoint })).toEqual([sqs, sqs, "sns.example"]);
  });

  test("without an endpoint the environment says it, as to every client of the AWS SDK", async () => {
    vi.stubEnv("AWS_ENDPOINT_URL", "https://all.example");
    expect(await hostsOf({})).toEqual(["all.example", "all.example", "all.example"]);
    vi.stubEnv("AWS_ENDPOINT_URL_SQS", "https://sqs.example");
    expect(await hostsOf({})).toEqual(["sqs.example", "sqs.example", "all.example"]);
    const given = await hostsOf({ endpoint: "https://given.example" });
    expect(given).toEqual(["given.example", "given.example", "given.example"]);
  });

  test.each([
    ["AWS_USE_FIPS_ENDPOINT", "sqs-fips.us-east-1.amazonaws.com", "sns-fips.us-east-1.amazonaws.com"],
    ["AWS_USE_DUALSTACK_ENDPOINT", "sqs.us-east-1.api.aws", "sns.us-east-1.api.aws"],
  ])("the environment may ask for other hosts of AWS: %s", async (name, sqs, sns) => {
    vi.stubEnv(name, "true");
    expect(await hostsOf({ region: "us-east-1" })).toEqual([sqs, sqs, sns]);
    const failure = await failureOf(probe(open({ endpoint: "https://given.example" })));
    expect(failure).toMatchObject({ sent: false, message: expect.stringContaining("custom endpoint") as string });
  });
});

test("credentials are asked for once, and sign for both services", async () => {
  let asked = 0;
  const provider = (): Promise<typeof credentials> => {
    asked++;
    return Promise.resolve(credentials);
  };
  server.answer = ({ action }) => (action === "ListTopics" ? xml(action, "") : json({ QueueUrl: queue }));
  const aws = open({ credentials: provider });
  await Promise.all([probe(aws), listTopics(aws)]);
  await probe(aws);
  expect(asked).toBe(1);
  const signed = server.asked.map(
    ({ headers }) => /Credential=AKID\/\d+\/us-east-1\/(\w+)\//.exec(headers.authorization ?? "")?.[1],
  );
  expect(signed.toSorted((a = "", b = "") => a.localeCompare(b))).toEqual(["sns", "sqs", "sqs"]);
});
