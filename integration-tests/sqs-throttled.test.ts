/** AWS that is not well, and ways to it that are not: errors, throttling, entries that fail, answers that come late, half, or never. */
import type { Message, Transport } from "@posthorn/core";
import { createBus, queue, topic } from "@posthorn/core";
import { DeleteMessageBatchCommand, GetQueueUrlCommand } from "@aws-sdk/client-sqs";
import { sampleMessage } from "@posthorn/core/testing";
import { channelAddress } from "@posthorn/core/transport";
import { sqs } from "@posthorn/sqs-sns";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { sqsClients } from "./brokers/sqs-clients.ts";
import { useSqs } from "./brokers-in-use.ts";
import { openFaultyLink } from "./sqs-faults.ts";

const broker = useSqs();
const messages = 1_000;
const seed = 20_261_123;
const keys = 20;

const schema = z.object({ number: z.int() });
const key = ({ number }: { number: number }): string => String(number % keys);

function open(endpoint: string): Transport {
  const { region, credentials } = broker();
  return sqs({ region, credentials, endpoint, visibilitySeconds: 5, waitSeconds: 2, requestTimeoutMs: 1_000 });
}

const kinds = [
  { what: "a queue", kind: "queue", ordered: false },
  { what: "an ordered queue", kind: "queue", ordered: true },
  { what: "a topic", kind: "topic", ordered: false },
  { what: "an ordered topic", kind: "topic", ordered: true },
] as const;

function message(number: number): Message {
  const body = Buffer.from(JSON.stringify({ number }));
  return sampleMessage({ id: `m-${number}`, key: String(number % keys), body });
}

/** The ids of all messages in a queue, in the order in which they come, which are gone then. */
async function takeAll(QueueName: string): Promise<readonly string[]> {
  using clients = sqsClients(broker());
  const { QueueUrl = "" } = await clients.sqs.send(new GetQueueUrlCommand({ QueueName }));
  const ids: string[] = [];
  for (;;) {
    const taken = await clients.receive(QueueUrl);
    if (taken.length === 0) return ids;
    for (const { MessageAttributes } of taken)
      ids.push((JSON.parse(MessageAttributes?.["posthorn"]?.StringValue ?? "{}") as { id: string }).id);
    const Entries = taken.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
    await clients.sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
  }
}

/** Whether of each key they come in the order of their numbers. */
function isInOrder(numbers: readonly number[]): boolean {
  const last = new Map<number, number>();
  return numbers.every((number) => {
    const isLater = number > (last.get(number % keys) ?? -1);
    last.set(number % keys, number);
    return isLater;
  });
}

describe.each(kinds)("$what", ({ kind, ordered }) => {
  test("each receipt says what became of its message, and nothing is sent twice by itself", async () => {
    const name = `receipts-${kind}${ordered ? "-in-order" : ""}`;
    const channel = { kind, name, ordered } as const;
    const group = kind === "queue" ? name : "group";
    const { signal } = new AbortController();
    const owner = open(broker().endpoint);
    await owner.connect({ signal, report: () => undefined });
    await owner.provision({ channels: [channel], groups: [{ channel, name: group, types: ["work"] }] }, "apply", {
      signal,
    });
    await owner.close({ signal });

    await using faulty = await openFaultyLink(broker().endpoint, seed, 0.3);
    const transport = open(faulty.link.endpoint);
    await transport.connect({ signal, report: () => undefined });
    const address = channelAddress(channel);
    const all = Array.from({ length: messages }, (_, number) => message(number));
    const became = new Map<string, string>();
    // At most one of a key in a batch.
    for (let at = 0; at < messages; at += keys) {
      const batch = all.slice(at, at + keys);
      const receipts = await transport.dispatch(
        batch.map((each) => ({ address, message: each })),
        { signal: AbortSignal.timeout(30_000) },
      );
      batch.forEach(({ id }, index) => {
        const receipt = receipts[index];
        if (receipt === undefined) throw new Error(`There is no receipt for ${id}.`);
        became.set(id, receipt.accepted ? "accepted" : receipt.error.code);
      });
    }
    await transport.close({ signal });

    const queueName = `${kind === "queue" ? name : `${name}--${group}`}${ordered ? ".fifo" : ""}`;
    const there = await takeAll(queueName);
    const count: Record<string, number> = {};
    for (const code of became.values()) count[code] = (count[code] ?? 0) + 1;
    console.log(`${name}: ${JSON.stringify(count)}, ${there.length} there; ${JSON.stringify(faulty.faults)}`);
    expect(Object.keys(faulty.faults).length).toBeGreaterThanOrEqual(5);
    expect(new Set(there).size).toBe(there.length);
    const missing = [...became].filter(([id, code]) => code === "accepted" && !there.includes(id));
    expect(missing).toEqual([]);
    const unexpected = there
      .map((id) => became.get(id))
      .filter((code) => code !== "accepted" && code !== "UNKNOWN_OUTCOME");
    expect(unexpected).toEqual([]);
    expect(isInOrder(there.map((id) => Number(id.slice(2)))) || !ordered).toBe(true);
  });

  test("all that is sent meanwhile is accepted in the end, and handled, and then everything is as before", async () => {
    const name = `traffic-${kind}${ordered ? "-in-order" : ""}`;
    await using faulty = await openFaultyLink(broker().endpoint, seed, 0.1);
    await using bus = createBus({
      service: "service",
      transport: open(faulty.link.endpoint),
      publishTimeoutMs: 120_000,
      observe: () => undefined,
      concurrency: 50,
    });
    const first: number[] = [];
    const seen = new Set<number>();
    let handled = 0;
    const handle = ({ data: { number } }: { readonly data: { readonly number: number } }): void => {
      handled++;
      if (!seen.has(number)) first.push(number);
      seen.add(number);
    };
    const Work = queue(name, { ordered }).command("work", { schema, key });
    const Happened = topic(name, { ordered }).event("work", { schema, key });
    const subscription = kind === "queue" ? bus.handle(Work, handle) : bus.subscribe(Happened, handle);
    if (kind === "topic") bus.declare(Happened);
    await bus.start({ timeoutMs: 60_000 });
    const send = (number: number): Promise<unknown> =>
      kind === "queue" ? bus.send(Work, { number }) : bus.publish(Happened, { number });
    const began = performance.now();
    await Promise.all(Array.from({ length: messages }, (_, number) => send(number)));
    const sentMs = Math.round(performance.now() - began);
    await expect.poll(() => seen.size, { timeout: 120_000 }).toBe(messages);
    const handledMs = Math.round(performance.now() - began);
    console.log(
      `${name}: sent in ${sentMs} ms, handled in ${handledMs} ms, ${handled - messages} more than once; ${JSON.stringify(faulty.faults)}`,
    );
    expect(Object.keys(faulty.faults).length).toBeGreaterThanOrEqual(5);

    faulty.heal();
    await expect.poll(() => bus.health().transport.status).toBe("connected");
    await Promise.all(Array.from({ length: 100 }, (_, number) => send(messages + number)));
    await expect.poll(() => seen.size).toBe(messages + 100);
    expect(isInOrder(first) || !ordered).toBe(true);
    await expect.poll(() => subscription.depth()).toMatchObject({ ready: 0, inFlight: 0 });
    expect((await subscription.deadLetters.depth()).ready).toBe(0);
  }, 300_000);
});
