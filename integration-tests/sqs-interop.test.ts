/** Programs that have never heard of Posthorn, by what docs/wire-format.md says: the AWS SDK, in JavaScript and in Python. */
import type { MessageAttributeValue } from "@aws-sdk/client-sqs";
import type { Bus } from "@posthorn/core";
import { bytes, createBus, queue, topic } from "@posthorn/core";
import { sqs } from "@posthorn/sqs-sns";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { useSqs } from "./brokers-in-use.ts";
import type { ForeignClient } from "./interop/sqs-clients.ts";
import { openBoto3, openJavaScriptSdk } from "./interop/sqs-clients.ts";

const broker = useSqs();

const schema = z.object({ orderId: z.string(), total: z.int() });
const key = ({ orderId }: { orderId: string }): string => orderId;
const json = "application/json";

function open(service: string): Bus {
  const { region, credentials, endpoint } = broker();
  return createBus({ service, transport: sqs({ region, credentials, endpoint }) });
}

/** As the API has them. */
function attributes(values: Readonly<Record<string, string>>): Record<string, MessageAttributeValue> {
  return Object.fromEntries(
    Object.entries(values).map(([name, StringValue]) => [name, { DataType: "String", StringValue }]),
  );
}

/** A message as a foreign program sees it. */
interface Seen {
  readonly body: string | undefined;
  readonly type: string | undefined;
  readonly contentType: string | undefined;
  /** The packed rest of the envelope. */
  readonly envelope: Readonly<Record<string, unknown>>;
  /** The names of all attributes. */
  readonly names: readonly string[];
  readonly groupId: string | undefined;
}

describe.each([
  { name: "the AWS SDK", prefix: "sdk", start: openJavaScriptSdk },
  { name: "boto3", prefix: "boto3", start: openBoto3 },
])("$name", ({ prefix, start }) => {
  let client: ForeignClient;
  beforeAll(async () => {
    client = await start(broker());
  });
  afterAll(() => client[Symbol.asyncDispose]());

  async function urlOf(QueueName: string): Promise<string | undefined> {
    return (await client.getQueueUrl({ QueueName })).QueueUrl;
  }

  async function arnOf(topicName: string): Promise<string | undefined> {
    const { Topics = [] } = await client.listTopics({});
    return Topics.find(({ TopicArn }) => TopicArn?.endsWith(`:${topicName}`))?.TopicArn;
  }

  /** The only message that is there. */
  async function read(QueueUrl: string | undefined): Promise<Seen> {
    const { Messages = [] } = await client.receiveMessage({
      QueueUrl,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: 5,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["MessageGroupId"],
    });
    expect(Messages.length).toBe(1);
    const { Body, MessageAttributes = {}, Attributes } = Messages[0] ?? {};
    const value = (name: string): string | undefined => MessageAttributes[name]?.StringValue;
    return {
      body: Body,
      type: value("type"),
      contentType: value("content-type"),
      envelope: JSON.parse(value("posthorn") ?? "null") as Seen["envelope"],
      names: Object.keys(MessageAttributes).toSorted(),
      groupId: Attributes?.MessageGroupId,
    };
  }

  test("reads what we send: the text as it is, type and media type in attributes of their own, the rest in one", async () => {
    const Place = queue(`${prefix}-out`).command("place-order", { schema, key, version: 2 });
    await using bus = open("shop");
    bus.declare(Place);
    await bus.start();
    const order = { orderId: "é-1", total: 10 };
    const sent = await bus.send(Place, order, { headers: { tenant: "acme" }, correlationId: "flow-1" });
    const { body, envelope, ...rest } = await read(await urlOf(`${prefix}-out`));
    expect(JSON.parse(body ?? "")).toEqual(order);
    expect(rest).toEqual({
      type: "place-order",
      contentType: json,
      names: ["content-type", "posthorn", "type"],
      groupId: undefined,
    });
    expect(envelope).toEqual({
      id: sent.id,
      version: 2,
      source: "shop",
      time: expect.any(Number) as number,
      key: "é-1",
      correlationId: "flow-1",
      headers: { tenant: "acme" },
    });
  });

  test("reads bytes of ours that are no text: base64, and the envelope says so", async () => {
    const Scan = queue(`${prefix}-bytes`).command("scan", { codec: bytes });
    await using bus = open("shop");
    bus.declare(Scan);
    await bus.start();
    const picture = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await bus.send(Scan, picture);
    const { body, type, contentType, envelope } = await read(await urlOf(`${prefix}-bytes`));
    expect([type, contentType, envelope["body"]]).toEqual(["scan", "application/octet-stream", "base64"]);
    expect(new Uint8Array(Buffer.from(body ?? "", "base64"))).toEqual(picture);
  });

  test("reads an empty body of ours, which the envelope tells from a text", async () => {
    const Ping = queue(`${prefix}-empty`).command("ping", { codec: bytes });
    await using bus = open("shop");
    bus.declare(Ping);
    await bus.start();
    await bus.send(Ping, new Uint8Array());
    expect(await read(await urlOf(`${prefix}-empty`))).toMatchObject({
      body: "(empty)",
      type: "ping",
      envelope: { body: "empty" },
    });
  });

  test("gets the types that it wants of a topic of ours, by SNS's own filter, into a queue of its own", async () => {
    const events = topic(`${prefix}-events`);
    const Placed = events.event("order-placed", { schema });
    const Paid = events.event("order-paid", { schema });
    await using bus = open("shop");
    bus.declare(Placed, Paid);
    await bus.start();
    const { QueueUrl } = await client.createQueue({ QueueName: `${prefix}-theirs` });
    const { Attributes } = await client.getQueueAttributes({ QueueUrl, AttributeNames: ["QueueArn"] });
    const TopicArn = await arnOf(`${prefix}-events`);
    const Policy = JSON.stringify({
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Principal: { Service: "sns.amazonaws.com" },
          Action: "sqs:SendMessage",
          Resource: Attributes?.QueueArn,
          Condition: { ArnEquals: { "aws:SourceArn": TopicArn } },
        },
      ],
    });
    await client.setQueueAttributes({ QueueUrl, Attributes: { Policy } });
    await client.subscribe({
      TopicArn,
      Protocol: "sqs",
      Endpoint: Attributes?.QueueArn,
      Attributes: { RawMessageDelivery: "true", FilterPolicy: JSON.stringify({ type: ["order-paid"] }) },
    });
    await bus.publish(Placed, { orderId: "o-1", total: 1 });
    const { id } = await bus.publish(Paid, { orderId: "o-1", total: 2 });
    const { body, type, envelope } = await read(QueueUrl);
    expect([type, envelope["id"], JSON.parse(body ?? "")]).toEqual(["order-paid", id, { orderId: "o-1", total: 2 }]);
  });

  test("finds our key in the message group", async () => {
    const Place = queue(`${prefix}-out-in-order`, { ordered: true }).command("place-order", { schema, key });
    await using bus = open("shop");
    bus.declare(Place);
    await bus.start();
    await bus.send(Place, { orderId: "o-7", total: 1 });
    expect(await read(await urlOf(`${prefix}-out-in-order.fifo`))).toMatchObject({
      groupId: "o-7",
      envelope: { key: "o-7" },
    });
  });

  /** What a foreign program may send, and what a handler gets of it. */
  const forms = [
    {
      form: "JSON with its type and media type",
      total: 1,
      body: { orderId: "o", total: 1 },
      attributes: { type: "place-order", "content-type": json, tenant: "acme" },
      got: { type: "place-order", tenant: "acme" },
    },
    {
      form: "the same with an id",
      total: 2,
      body: { orderId: "o", total: 2 },
      attributes: { type: "place-order", "content-type": json, id: "their-2" },
      got: { type: "place-order", id: "their-2" },
    },
    {
      form: "a CloudEvent in binary mode",
      total: 3,
      body: { orderId: "o", total: 3 },
      attributes: {
        ce_specversion: "1.0",
        ce_id: "ce-3",
        ce_type: "place-order",
        ce_source: "/theirs",
        ce_partitionkey: "o-3",
        "content-type": json,
      },
      got: { type: "place-order", id: "ce-3", source: "/theirs", key: "o-3" },
    },
    {
      form: "a CloudEvent in structured mode",
      total: 4,
      body: {
        specversion: "1.0",
        id: "ce-4",
        type: "place-order",
        source: "/theirs",
        data: { orderId: "o", total: 4 },
      },
      attributes: { "content-type": "application/cloudevents+json; charset=utf-8" },
      got: { type: "place-order", id: "ce-4", source: "/theirs" },
    },
    {
      form: "a text without any attribute",
      total: 5,
      body: { orderId: "o", total: 5 },
      attributes: {},
      got: { type: "" },
    },
  ] as const;

  interface Got {
    readonly total: number;
    readonly type: string;
    readonly id: string;
    readonly source: string;
    readonly key: string | undefined;
    readonly tenant: string | undefined;
  }

  const expected = (sent: ReadonlyMap<number, string | undefined>, key?: string): unknown[] =>
    forms.map(({ total, got }) => ({
      total,
      id: `sqs:${sent.get(total)}`,
      source: "",
      key,
      tenant: undefined,
      ...got,
    }));

  const byTotal = (all: readonly Got[]): Got[] => all.toSorted((one, other) => one.total - other.total);

  test.each([{ ordered: false }, { ordered: true }])(
    "sends to a queue of ours, ordered: $ordered, what our handlers understand",
    async ({ ordered }) => {
      const name = `${prefix}-in-${ordered}`;
      const channel = queue(name, { ordered });
      const Place = channel.command("place-order", { schema, key, untyped: true });
      await using bus = open("shop");
      const got: Got[] = [];
      bus.handle(Place, ({ data: { total }, type, id, source, key, headers }) => {
        got.push({ total, type, id, source, key, tenant: headers["tenant"] });
      });
      await bus.start();
      const QueueUrl = await urlOf(ordered ? `${name}.fifo` : name);
      const sent = new Map<number, string | undefined>();
      for (const { total, body, attributes: values } of forms) {
        const fifo = ordered ? { MessageGroupId: "customer-7", MessageDeduplicationId: String(total) } : {};
        const MessageAttributes = attributes(values);
        const input = { QueueUrl, MessageBody: JSON.stringify(body), MessageAttributes, ...fifo };
        sent.set(total, (await client.sendMessage(input)).MessageId);
      }
      await expect.poll(() => got.length).toBe(forms.length);
      expect(byTotal(got)).toEqual(expected(sent, ordered ? "customer-7" : undefined));
    },
  );

  test.each([{ ordered: false }, { ordered: true }])(
    "publishes to a topic of ours, ordered: $ordered, and each group gets the types that it wants, by the attribute",
    async ({ ordered }) => {
      const name = `${prefix}-told-${ordered}`;
      const Placed = topic(name, { ordered }).event("place-order", { schema, key });
      await using bus = open("shop");
      const got: Got[] = [];
      bus.subscribe(Placed, ({ data: { total }, type, id, source, key, headers }) => {
        got.push({ total, type, id, source, key, tenant: headers["tenant"] });
      });
      await bus.start();
      const TopicArn = await arnOf(ordered ? `${name}.fifo` : name);
      // Without the attribute SNS gives an event to no group, whatever it bears beside it.
      for (const named of [false, true])
        for (const { total, body, attributes: values } of forms) {
          const fifo = ordered ? { MessageGroupId: "customer-7", MessageDeduplicationId: `${named} ${total}` } : {};
          const MessageAttributes = attributes(named ? { ...values, type: "place-order" } : values);
          if (!named) delete MessageAttributes["type"];
          await client.publish({ TopicArn, Message: JSON.stringify(body), MessageAttributes, ...fifo });
        }
      await expect.poll(() => got.length).toBe(forms.length);
      expect(byTotal(got)).toMatchObject(
        forms.map(({ total, got: wanted }) => ({
          total,
          ...wanted,
          type: "place-order",
          ...(ordered && !("key" in wanted) ? { key: "customer-7" } : {}),
        })),
      );
      expect(new Set(got.map(({ id }) => id)).size).toBe(forms.length);
    },
  );
});
