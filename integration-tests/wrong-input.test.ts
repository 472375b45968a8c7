import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { inspect } from "node:util";
import { GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import amqp from "amqplib";
import { createBus, isPosthornError, openTransport, queue, topic } from "@posthorn/core";
import type { Bus, BusOptions, TransportConfig } from "@posthorn/core";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { openHttpLink } from "./brokers/http-link.ts";
import { sqsClients } from "./brokers/sqs-clients.ts";
import { sqsUrl, useRabbitmq, useSqs } from "./brokers-in-use.ts";

const registry = {
  memory: () => import("@posthorn/memory"),
  amqp: () => import("@posthorn/rabbitmq"),
  sqs: () => import("@posthorn/sqs-sns"),
};
const broker = useRabbitmq("4.0");
const sqsBroker = useSqs();

const schema = z.object({ sku: z.string() });
const PlaceOrder = queue("wrong-input").command("place-order", { schema });
const OrderPlaced = topic("wrong-input-events").event("order-placed", { schema });

const opened: Bus[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((bus) => bus.close()));
  vi.unstubAllEnvs();
});

async function busOn(config: TransportConfig, options: Partial<BusOptions> = {}): Promise<Bus> {
  const transport = await openTransport(config, registry);
  const bus = createBus({ service: "wrong-input", transport, observe: () => undefined, ...options });
  opened.push(bus);
  return bus;
}

/** Within its timeout: what is refused says so, and in one sentence that holds no secret. */
async function refusal(work: Promise<unknown>, code: string, withinMs: number): Promise<Error> {
  const startedAt = performance.now();
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(isPosthornError(error), String(error)).toBe(true);
  expect(error).toMatchObject({ code });
  expect(performance.now() - startedAt).toBeLessThan(withinMs);
  expect(inspect(error, { depth: Infinity })).not.toContain("hunter2");
  return error as Error;
}

describe("configuration", () => {
  test("an unknown URL scheme", async () => {
    expect(
      (await refusal(openTransport("nats://u:hunter2@host", registry), "UNKNOWN_TRANSPORT", 1_000)).message,
    ).toMatch(/memory, amqp/);
  });

  test.each([
    ["memory:?personalty=log", /personalty/],
    ["amqp://u:hunter2@localhost?hartbeat=1", /hartbeat/],
    [{ transport: "amqp", password: "hunter2", heartbeatSeconds: "soon" }, /heartbeatSeconds/],
    [{ transport: "memory", personality: "stack" }, /personality/],
    ["sqs://key:hunter2@eu-central-1?pollSeconds=1", /pollSeconds/],
    ["sqs://key:hunter2@eu-central-1?waitSeconds=21", /waitSeconds/],
    ["sqs://key:hunter2/more@eu-central-1", /url/],
    [{ transport: "sqs", region: "eu-central-1", credentials: { secretAccessKey: "hunter2" } }, /credentials/],
    [{ transport: "sqs", region: "eu-central-1", endpoint: "https://key:hunter2@127.0.0.1" }, /endpoint/],
  ])("an unknown or wrong option: %j", async (config, name) => {
    expect(
      (await refusal(openTransport(config as TransportConfig, registry), "INVALID_OPTION", 1_000)).message,
    ).toMatch(name);
  });

  test.each(["sqs:", "sqs://key:hunter2@", { transport: "sqs" } as const])("no region anywhere: %j", async (config) => {
    vi.stubEnv("AWS_REGION", undefined);
    vi.stubEnv("AWS_DEFAULT_REGION", "");
    const { message } = await refusal(openTransport(config, registry), "INVALID_OPTION", 1_000);
    expect(message).toMatch(/region.*AWS_REGION/);
  });
});

/** Nobody listens there. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("connecting", () => {
  test.each([
    ["rabbitmq", (port: number) => `amqp://guest:hunter2@127.0.0.1:${port}`],
    ["sqs", (port: number) => `sqs://key:hunter2@us-east-1?endpoint=http://127.0.0.1:${port}`],
  ])("on %s a refused connection ends with its cause when the time to start is over", async (_name, url) => {
    const bus = await busOn(url(await deadPort()));
    const error = await refusal(bus.start({ timeoutMs: 1_500 }), "CONNECTION_FAILED", 4_000);
    expect((error.cause as Error).message).toMatch(/ECONNREFUSED/);
  });

  test("wrong credentials fail at once, not at the deadline", async () => {
    const url = new URL(broker().url);
    url.password = "hunter2";
    const bus = await busOn(url.href);
    await refusal(bus.start({ timeoutMs: 20_000 }), "AUTHENTICATION_FAILED", 8_000);
  });

  test("a virtual host that does not exist fails at once", async () => {
    const url = new URL(broker().url);
    url.pathname = "/nowhere";
    const error = await refusal((await busOn(url.href)).start({ timeoutMs: 20_000 }), "ACCESS_REFUSED", 8_000);
    expect(error.message).toContain("nowhere");
  });

  test("an access key that AWS does not know fails at once, not at the deadline", async () => {
    const { endpoint, region } = sqsBroker();
    const bus = await busOn(`sqs://AKIAUNKNOWN000000000:hunter2@${region}?endpoint=${endpoint}`);
    const { message } = await refusal(bus.start({ timeoutMs: 20_000 }), "AUTHENTICATION_FAILED", 8_000);
    expect(message).toMatch(/InvalidClientTokenId.*access key/);
  });

  test("a wrong secret for an access key fails at once, not at the deadline", async () => {
    const { endpoint, region, credentials } = sqsBroker();
    await using link = await closing(openHttpLink(endpoint));
    // As AWS answers: no emulator looks at the secret.
    link.value.inject({ kind: "error", error: { status: 403, code: "SignatureDoesNotMatch", senderFault: true } });
    const bus = await busOn(`sqs://${credentials.accessKeyId}:hunter2@${region}?endpoint=${link.value.endpoint}`);
    const { message } = await refusal(bus.start({ timeoutMs: 20_000 }), "AUTHENTICATION_FAILED", 8_000);
    expect(message).toMatch(/SignatureDoesNotMatch.*secret/);
  });

  test("credentials that are nowhere to be found are named when the time to start is over", async () => {
    const home = await mkdtemp(path.join(tmpdir(), "posthorn-home-"));
    try {
      for (const name of credentialVariables) vi.stubEnv(name, undefined);
      vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
      vi.stubEnv("AWS_CONFIG_FILE", path.join(home, "config"));
      vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", path.join(home, "credentials"));
      const { endpoint, region } = sqsBroker();
      const bus = await busOn({ transport: "sqs", region, endpoint });
      const { message } = await refusal(bus.start({ timeoutMs: 1_500 }), "CONNECTION_FAILED", 4_000);
      expect(message).toMatch(/credentials/);
    } finally {
      await rm(home, { recursive: true });
    }
  });
});

/** Where the SDK looks for credentials before it looks into files. */
const credentialVariables = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_PROFILE",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

test("on RabbitMQ a queue that exists with other arguments is named, with the field, and stays as it is", async () => {
  await using connection = await closing(amqp.connect(broker().url));
  const channel = await connection.value.createChannel();
  await channel.assertQueue("legacy", { durable: true, arguments: { "x-queue-type": "classic" } });
  const bus = await busOn(broker().url);
  bus.declare(queue("legacy").command("place-order", { schema }));
  const error = await refusal(bus.start(), "TOPOLOGY_MISMATCH", 10_000);
  // The broker names the first argument that differs.
  expect(error.message).toMatch(/queue "legacy": x-[a-z-]+ is /);
  await expect(channel.checkQueue("legacy")).resolves.toMatchObject({ messageCount: 0 });
});

test("on SQS a queue that exists with other attributes is named, with each of them, and stays as it is", async () => {
  using clients = sqsClients(sqsBroker());
  const QueueUrl = await clients.createQueue("legacy", { VisibilityTimeout: "77", MessageRetentionPeriod: "60" });
  const attributes = () => clients.sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }));
  const { Attributes: before } = await attributes();
  const bus = await busOn(sqsUrl(sqsBroker()));
  bus.declare(queue("legacy").command("place-order", { schema }));
  const { message } = await refusal(bus.start(), "TOPOLOGY_MISMATCH", 10_000);
  expect(message).toMatch(/queue "legacy": VisibilityTimeout is "77"/);
  expect(message).toMatch(/queue "legacy": MessageRetentionPeriod is "60"/);
  expect(message).toMatch(/queue "legacy": RedrivePolicy/);
  await expect(attributes()).resolves.toMatchObject({ Attributes: before });
});

test("on SQS what does not exist is named where nothing may be created, and is not created", async () => {
  const url = sqsUrl(sqsBroker());
  const Absent = queue("absent").command("place-order", { schema });
  const AbsentEvent = topic("absent-events").event("order-placed", { schema });
  for (let time = 1; time <= 2; time++) {
    const bus = await busOn(url, { provision: "verify" });
    bus.declare(Absent);
    bus.subscribe(AbsentEvent, () => undefined);
    const { message } = await refusal(bus.start(), "TOPOLOGY_MISMATCH", 10_000);
    for (const named of [
      'queue "absent"',
      'queue "absent__dlq"',
      'topic "absent-events"',
      "absent-events--wrong-input",
    ])
      expect(message).toContain(named);
  }
});

describe.each([
  ["memory", () => "memory:wrong-input"],
  ["rabbitmq", () => broker().url],
  ["sqs", () => sqsUrl(sqsBroker())],
])("sending on %s", (_name, url) => {
  async function started(): Promise<Bus> {
    const bus = await busOn(url());
    bus.declare(PlaceOrder, OrderPlaced);
    await bus.start();
    return bus;
  }

  test("a payload against its schema", async () => {
    const bus = await started();
    expect((await refusal(bus.send(PlaceOrder, { sku: 1 as never }), "SCHEMA_VIOLATION", 1_000)).message).toMatch(
      /sku/,
    );
  });

  test("a body over the limit", async () => {
    const bus = await started();
    expect(
      (await refusal(bus.send(PlaceOrder, { sku: "x".repeat(262_144) }), "MESSAGE_TOO_LARGE", 1_000)).message,
    ).toMatch(/262144/);
  });

  test("an event type nobody declared", async () => {
    const bus = await started();
    const Other = topic("wrong-input-events").event("order-cancelled", { schema });
    expect((await refusal(bus.publish(Other, { sku: "a" }), "UNDECLARED_CONTRACT", 1_000)).message).toMatch(
      /bus\.declare/,
    );
  });

  test("what was refused left nothing behind, and the bus still works", async () => {
    const bus = await started();
    await refusal(bus.send(PlaceOrder, {} as never), "SCHEMA_VIOLATION", 1_000);
    await expect(bus.send(PlaceOrder, { sku: "a" })).resolves.toBeDefined();
    await expect(bus.publish(OrderPlaced, { sku: "a" })).resolves.toBeDefined();
  });
});

async function closing<T extends { close(): Promise<unknown> }>(
  made: Promise<T>,
): Promise<{ value: T } & AsyncDisposable> {
  const value = await made;
  return { value, [Symbol.asyncDispose]: async () => void (await value.close()) };
}
