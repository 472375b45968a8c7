import type { Topology } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { explainPolicies } from "./policies.ts";

const orders = { kind: "queue", name: "orders", ordered: true } as const;
const events = { kind: "topic", name: "order-events", ordered: false } as const;
const topology: Topology = {
  channels: [orders, events],
  groups: [
    { channel: orders, name: "orders", types: [] },
    { channel: events, name: "billing", types: ["order-placed"] },
  ],
};
const settings = { prefix: "", region: "eu-west-1", accountId: "123456789012" };

test("a publisher may send to its queues, publish to its topics, and nothing else", () => {
  expect(explainPolicies(topology, settings).publisher).toEqual({
    Version: "2012-10-17",
    Statement: [
      {
        Sid: "SendToQueues",
        Effect: "Allow",
        Action: ["sqs:GetQueueUrl", "sqs:SendMessage"],
        Resource: [
          "arn:aws:sqs:eu-west-1:123456789012:orders.fifo",
          "arn:aws:sqs:eu-west-1:123456789012:orders__delay",
        ],
      },
      {
        Sid: "PublishToTopics",
        Effect: "Allow",
        Action: ["sns:Publish"],
        Resource: ["arn:aws:sns:eu-west-1:123456789012:order-events"],
      },
    ],
  });
});

test("a consumer may use its groups' queues", () => {
  const [consume, ...others] = explainPolicies(topology, settings).consumer.Statement;
  expect(others).toEqual([]);
  expect(consume?.Resource.map((arn) => arn.split(":").at(-1))).toEqual([
    "orders.fifo",
    "orders__delay",
    "order-events--billing",
    "orders__dlq.fifo",
    "order-events--billing__dlq",
  ]);
  expect(consume?.Action).not.toContain("sqs:CreateQueue");
});

test("a provisioner may make what is missing, and delete nothing", () => {
  const { Statement: statements } = explainPolicies(topology, settings).provisioner;
  expect(statements.map(({ Sid }) => Sid)).toEqual([
    "MakeQueues",
    "LetTopicsIn",
    "MakeTopics",
    "Subscribe",
    "ReadAndWidenSubscriptions",
  ]);
  const actions = statements.flatMap(({ Action }) => Action);
  expect(actions).toContain("sqs:CreateQueue");
  expect(actions.filter((action) => /Delete|Purge|Remove|Unsubscribe|\*/.test(action))).toEqual([]);
});

test("without an account id they are of whichever account, and topics are looked for", () => {
  const { publisher } = explainPolicies(topology, { prefix: "x-", region: "cn-north-1" });
  expect(publisher.Statement[1]?.Resource).toEqual(["arn:aws-cn:sns:cn-north-1:*:x-order-events"]);
  expect(publisher.Statement[2]).toMatchObject({ Action: ["sns:ListTopics"], Resource: ["*"] });
});

test("what an application does not use is not allowed to it", () => {
  const queues = { channels: [orders], groups: [] };
  const { publisher, consumer, provisioner } = explainPolicies(queues, settings);
  expect([publisher, consumer, provisioner].map(({ Statement }) => Statement.length)).toEqual([1, 0, 0]);
});
