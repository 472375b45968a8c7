/** SNS filters by at most 150 types. */
import { createBus, topic } from "@posthorn/core";
import type { Transport } from "@posthorn/core";
import { sqs } from "@posthorn/sqs-sns";
import { expect, test } from "vitest";
import { z } from "zod";
import { useSqs } from "./brokers-in-use.ts";

const broker = useSqs();
const schema = z.object({ number: z.int() });

function open(): Transport {
  const { endpoint, region, credentials } = broker();
  return sqs({ endpoint, region, credentials, waitSeconds: 1 });
}

test("a group of more types than SNS filters by handles each of them, and leaves out the others", async () => {
  const events = topic("many-types");
  const contracts = Array.from({ length: 160 }, (_, number) => events.event(`type-${number}`, { schema }));
  const Unasked = events.event("unasked", { schema });
  const handled: number[] = [];
  let ignored = 0;
  await using billing = createBus({
    service: "billing",
    transport: open(),
    observe({ name }) {
      if (name === "message.ignored") ignored++;
    },
  });
  for (const contract of contracts) billing.subscribe(contract, ({ data }) => void handled.push(data.number));
  await billing.start();
  await using sender = createBus({ service: "sender", transport: open() });
  sender.declare(Unasked, ...contracts);
  await sender.start();
  await sender.publish(Unasked, { number: -1 });
  await Promise.all(contracts.map((contract, number) => sender.publish(contract, { number })));
  await expect.poll(() => [handled.length, ignored]).toEqual([160, 1]);
  expect(handled.toSorted((one, other) => one - other)).toEqual(contracts.map((_, number) => number));

  const [first] = contracts;
  if (first === undefined) throw new Error("There are contracts.");
  await using older = createBus({ service: "billing", transport: open(), provision: "verify" });
  older.subscribe(first, () => undefined);
  await older.start();
});
