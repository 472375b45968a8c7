import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { FakeAws } from "./aws.fixture.ts";
import { createFakeAws, during, noAnswer, refusal } from "./aws.fixture.ts";
import type { Places } from "./places.ts";
import { createPlaces } from "./places.ts";

const never = new AbortController().signal;
const orders = { kind: "queue", name: "orders", ordered: false } as const;
const events = { kind: "topic", name: "events", ordered: false } as const;
const ledger = { kind: "queue", name: "ledger", ordered: true } as const;

async function setup(
  accountId?: string,
): Promise<{ readonly aws: FakeAws; readonly clock: VirtualClock; readonly places: Places }> {
  const clock = createVirtualClock();
  const aws = createFakeAws(clock);
  const reach = { aws, ready: async (signal: AbortSignal) => signal.throwIfAborted() };
  const settings = { prefix: "", region: "eu-west-1", accountId };
  for (const name of ["orders", "orders__dlq", "events--billing", "ledger__delay"])
    await aws.sqs.createQueue(name, {}, {}, never);
  await aws.sqs.createQueue("ledger.fifo", { FifoQueue: "true" }, {}, never);
  await aws.sns.createTopic("events", {}, {}, never);
  aws.asked.length = 0;
  return { aws, clock, places: createPlaces({ reach, settings, environment: { clock, random: () => 0 } }) };
}

test("a queue channel is its group's inlet, a topic channel a topic", async () => {
  const { aws, places } = await setup();
  const queue = { kind: "queue", url: aws.queue("orders").url, fifo: false };
  expect(await places.find(channelAddress(orders), never)).toEqual(queue);
  expect(await places.find(inletAddress(orders, "orders"), never)).toEqual(queue);
  expect(await places.find(deadLetterAddress(orders, "orders"), never)).toEqual({
    ...queue,
    url: aws.queue("orders__dlq").url,
  });
  expect(await places.find(channelAddress(events), never)).toEqual({
    kind: "topic",
    arn: aws.topic("events").arn,
    fifo: false,
  });
  expect(await places.find(inletAddress(events, "billing"), never)).toMatchObject({
    url: aws.queue("events--billing").url,
  });
  expect(await places.find(channelAddress(ledger), never)).toMatchObject({
    url: aws.queue("ledger.fifo").url,
    fifo: true,
  });
  expect(await places.delayQueue(inletAddress(ledger, "ledger"), never)).toBe(aws.queue("ledger__delay").url);
});

test("what was found is looked up once, until it is forgotten", async () => {
  const { aws, places } = await setup();
  const inlet = inletAddress(ledger, "ledger");
  for (let round = 0; round < 3; round++) {
    await places.find(inlet, never);
    await places.delayQueue(inlet, never);
  }
  expect(aws.asked).toEqual(["queueUrl ledger.fifo", "queueUrl ledger__delay"]);
  places.forget(inlet);
  await places.find(inlet, never);
  await places.delayQueue(inlet, never);
  expect(aws.asked).toHaveLength(4);
});

test("what was learned needs no question", async () => {
  const { aws, places } = await setup();
  places.learn("new", "https://sqs/1/new");
  places.learn("new", "arn:aws:sns:eu-west-1:1:new");
  const channel = { name: "new", ordered: false };
  expect(await places.find(channelAddress({ ...channel, kind: "queue" }), never)).toMatchObject({
    url: "https://sqs/1/new",
  });
  expect(await places.find(channelAddress({ ...channel, kind: "topic" }), never)).toMatchObject({
    arn: "arn:aws:sns:eu-west-1:1:new",
  });
  expect(aws.asked).toEqual([]);
});

test("with an account id a topic needs not be looked for", async () => {
  const { aws, places } = await setup("123456789012");
  expect(await places.find(channelAddress(events), never)).toMatchObject({ arn: aws.topic("events").arn });
  expect(aws.asked).toEqual([]);
});

test("what does not exist is unroutable, and looked for again the next time", async () => {
  const { aws, places } = await setup();
  const gone = channelAddress({ ...orders, name: "gone" });
  await expect(places.find(gone, never)).rejects.toMatchObject({
    code: "UNROUTABLE",
    message: expect.stringContaining('"gone"') as string,
  });
  await aws.sqs.createQueue("gone", {}, {}, never);
  expect(await places.find(gone, never)).toMatchObject({ kind: "queue" });
  const nowhere = channelAddress({ ...events, name: "nowhere" });
  await expect(places.find(nowhere, never)).rejects.toMatchObject({ code: "UNROUTABLE" });
});

test("a refusal is told, and there are no reply inboxes", async () => {
  const { aws, places } = await setup();
  aws.failures.set("queueUrl", [refusal("AccessDenied", 403)]);
  await expect(places.find(channelAddress(orders), never)).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
  await expect(places.find({ kind: "reply", id: "reply:x", inbox: "x" }, never)).rejects.toMatchObject({
    code: "UNSUPPORTED_CAPABILITY",
  });
});

test("what may pass is asked again, until the signal fires", async () => {
  const { aws, clock, places } = await setup();
  aws.failures.set("queueUrl", [noAnswer(), refusal("RequestThrottled"), refusal("ServiceUnavailable", 503)]);
  expect(await during(clock, places.find(channelAddress(orders), never))).toMatchObject({ kind: "queue" });
  aws.intercept = () => new Promise(() => undefined);
  const giveUp = new AbortController();
  const finding = places.find(deadLetterAddress(orders, "orders"), giveUp.signal);
  giveUp.abort();
  await expect(finding).rejects.toMatchObject({ code: "ABORTED" });
});
