import { expect, test } from "vitest";
import { allows, policyWith, readPolicy } from "./queue-policy.ts";

const queue = "arn:aws:sqs:eu-west-1:1:orders";
const topic = "arn:aws:sns:eu-west-1:1:events";
const statement = {
  Effect: "Allow",
  Principal: { Service: "sns.amazonaws.com" },
  Action: "sqs:SendMessage",
  Resource: queue,
  Condition: { ArnEquals: { "aws:SourceArn": topic } },
};

const isAllowed = (changes: Record<string, unknown>): boolean => {
  const policy = readPolicy(JSON.stringify({ Statement: [{ ...statement, ...changes }] }));
  return policy !== undefined && allows(policy, queue, topic);
};

test("the policy that is made lets the topic send, and no other", () => {
  const policy = readPolicy(policyWith(undefined, queue, topic));
  expect(policy !== undefined && allows(policy, queue, topic)).toBe(true);
  expect(policy !== undefined && allows(policy, queue, `${topic}2`)).toBe(false);
});

test.each([
  [{}],
  [{ Action: ["sqs:ReceiveMessage", "SQS:SendMessage"] }],
  [{ Action: "sqs:*" }],
  [{ Resource: "*" }],
  [{ Resource: "arn:aws:sqs:*:*:ord*" }],
  [{ Principal: "*" }],
  [{ Principal: { AWS: "*" } }],
  [{ Principal: { Service: ["events.amazonaws.com", "sns.amazonaws.com"] } }],
  [{ Condition: { ArnLike: { "AWS:SourceArn": ["other", "arn:aws:sns:eu-west-1:1:*"] } } }],
  [{ Condition: undefined }],
])("a statement with %j lets it in", (changes) => {
  expect(isAllowed(changes)).toBe(true);
});

test.each([
  [{ Effect: "Deny" }],
  [{ Action: "sqs:ReceiveMessage" }],
  [{ Resource: "arn:aws:sqs:eu-west-1:1:orders2" }],
  [{ Resource: "arn.aws:sqs:eu-west-1:1:orders" }],
  [{ Principal: { Service: "events.amazonaws.com" } }],
  [{ Principal: undefined }],
  [{ Condition: { ArnEquals: { "aws:SourceArn": "arn:aws:sns:eu-west-1:1:other" } } }],
  [{ Condition: { ArnNotEquals: { "aws:SourceArn": topic } } }],
  [{ Condition: { ArnEquals: { "aws:SourceArn": topic }, Bool: { "aws:SecureTransport": "true" } } }],
  [{ Condition: "x" }],
])("a statement with %j does not", (changes) => {
  expect(isAllowed(changes)).toBe(false);
});

test("what others have written is kept", () => {
  const others = { Version: "2008-10-17", Id: "mine", Statement: { Sid: "posthorn", Effect: "Deny" } };
  const before = readPolicy(JSON.stringify(others));
  expect(JSON.parse(policyWith(before, queue, topic))).toEqual({
    Version: "2008-10-17",
    Id: "mine",
    Statement: [
      { Sid: "posthorn", Effect: "Deny" },
      { Sid: "posthorn2", ...statement },
    ],
  });
});

test("what is no policy is told", () => {
  for (const text of ["", "{", "[]", "1", `{"Statement":["x"]}`]) expect(readPolicy(text)).toBeUndefined();
});
