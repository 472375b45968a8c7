import { expect, test } from "vitest";
import type { AwsRequest } from "../brokers/sqs-wire.ts";
import { receivedHandles } from "./sqs-received.ts";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

function receive(handles: ReturnType<typeof receivedHandles>, queue: string, ...received: [string, string?][]): void {
  const request: AwsRequest = {
    service: "sqs",
    action: "ReceiveMessage",
    resource: `http://127.0.0.1:4566/000000000000/${queue}`,
    entries: [],
  };
  const Messages = received.map(([ReceiptHandle, MessageGroupId]) => ({
    ReceiptHandle,
    Attributes: { MessageGroupId },
  }));
  handles.onAnswer(request, { status: 200, headers: {}, body: Buffer.from(JSON.stringify({ Messages })) });
}

test("handles come by tens, the newest ten first", () => {
  const handles = receivedHandles();
  for (const n of numbers(12)) receive(handles, "orders", [`${n}`]);
  receive(handles, "others", ["other"]);
  expect([...handles.of("orders")]).toEqual([numbers(12).slice(2).map(String), ["0", "1"]]);
  expect([...handles.of("unknown")]).toEqual([]);
});

test("those of a message group that may be in flight stay together, in their order", () => {
  const handles = receivedHandles();
  for (const n of numbers(12)) receive(handles, "orders.fifo", [`a${n}`, "a"], [`b${n}`, "b"]);
  const lastTen = numbers(12).slice(2);
  expect([...handles.of("orders.fifo")]).toEqual([lastTen.map((n) => `a${n}`), lastTen.map((n) => `b${n}`)]);
});
