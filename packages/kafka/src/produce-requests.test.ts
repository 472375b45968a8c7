import { accepted, systemClock } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { createFakeCluster } from "./fake-cluster.fixture.ts";
import type { Append } from "./partition-line.ts";
import { PartitionLine } from "./partition-line.ts";
import { createProduceRequests } from "./produce-requests.ts";

function append(): Append {
  return { record: { key: null, value: null, headers: [] }, bytes: 1, receipt: undefined, sent: false };
}

test("a partition whose epochs are used up gets a new producer id; the others keep theirs", async () => {
  const cluster = createFakeCluster({ t: [1, 1] });
  const answered: (() => void)[] = [];
  const requests = createProduceRequests<Append>({
    clock: systemClock,
    cluster,
    settings: { compression: "none", requestTimeoutMs: 1 },
    closing: new AbortController().signal,
    onMoved: () => undefined,
    onUnsent: () => undefined,
    onNoAnswer: () => undefined,
    onAnswer(batches) {
      for (const { line } of batches) line.landed();
      answered.shift()?.();
    },
  });
  const lines = [new PartitionLine<Append>("t", 0, 1_000), new PartitionLine<Append>("t", 1, 1_000)] as const;
  const sendAll = async (): Promise<void> => {
    for (const line of lines) {
      line.push(append());
      requests.enqueue(line, 1);
    }
    await new Promise<void>((resolve) => answered.push(resolve));
  };
  await sendAll();

  const [spent] = lines;
  while (spent.raiseEpoch());
  // One more in doubt, and given up.
  spent.push(append());
  for (const each of spent.next(100n)?.appends ?? []) each.receipt = accepted;
  const seen = cluster.requests.length;
  await sendAll();
  while (cluster.requests.slice(seen).flatMap(({ request }) => request.batches).length < 2)
    await new Promise<void>((resolve) => answered.push(resolve));

  const batches = cluster.requests.slice(seen).flatMap(({ request }) => request.batches);
  expect(
    batches
      .toSorted((a, b) => a.partition - b.partition)
      .map(({ producerId, producerEpoch, firstSequence }) => [producerId, producerEpoch, firstSequence]),
  ).toEqual([
    [101n, 0, 0],
    [100n, 0, 1],
  ]);
});
