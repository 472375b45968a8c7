/** What the adapter's README says that an account needs is enough, and what lacks is told by its name. */
import { createBus, deadLetter, queue, topic } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import type { AclEntry } from "kafkajs";
import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} from "kafkajs";
import { expect, test } from "vitest";
import { z } from "zod";
import { limitedUser } from "./brokers/kafka-settings.ts";
import { useKafka } from "./brokers-in-use.ts";

const broker = useKafka("4.4");
const { WRITE, READ, DESCRIBE, DELETE } = AclOperationTypes;

const open = (): ReturnType<typeof kafka> => kafka({ brokers: broker().brokers, partitions: 2 });

function openLimited(): ReturnType<typeof kafka> {
  const { secured } = broker();
  if (secured === undefined) throw new Error("a broker that was only given is not secured");
  const { brokers, ca } = secured;
  return kafka({
    brokers,
    partitions: 2,
    metadataMaxAgeMs: 1_000,
    tls: { ca },
    sasl: { mechanism: "plain", ...limitedUser },
  });
}

type Grant = readonly [kind: "topic" | "group", name: string, ...operations: AclOperationTypes[]];

async function grant(...grants: readonly Grant[]): Promise<void> {
  const acl = grants.flatMap(([kind, resourceName, ...operations]) =>
    operations.map((operation): AclEntry => ({
      resourceType: kind === "topic" ? AclResourceTypes.TOPIC : AclResourceTypes.GROUP,
      resourceName,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: `User:${limitedUser.username}`,
      host: "*",
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    })),
  );
  const admin = new Kafka({ brokers: [...broker().brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createAcls({ acl });
  await admin.disconnect();
}

test("an account that may nothing is told what it lacks", async () => {
  const Work = queue("forbidden").command("work", { schema: z.object({}) });
  await using owner = createBus({ service: "owner", transport: open() });
  owner.handle(Work, () => undefined);
  await owner.start();
  await using bus = createBus({ service: "limited", transport: openLimited(), provision: "verify" });
  bus.declare(Work);
  await expect(bus.start()).rejects.toMatchObject({
    code: "ACCESS_REFUSED",
    message: expect.stringContaining("forbidden"),
  });
});

test("publishing", async () => {
  const Happened = topic("told").event("happened", { schema: z.object({ n: z.int() }) });
  const Work = queue("ordered-work").command("work", { schema: z.object({ n: z.int() }) });
  await using owner = createBus({ service: "owner", transport: open() });
  const got: string[] = [];
  owner.subscribe(Happened, ({ data }) => void got.push(`event ${data.n}`));
  owner.handle(Work, ({ data }) => void got.push(`command ${data.n}`));
  await owner.start();
  await grant(["topic", "told", WRITE, DESCRIBE], ["topic", "ordered-work", WRITE, DESCRIBE]);
  for (const suffix of [".retry", ".dlq", ".delay"]) await grant(["topic", `ordered-work${suffix}`, DESCRIBE]);
  await using sender = createBus({ service: "limited", transport: openLimited(), provision: "verify" });
  sender.declare(Happened);
  sender.declare(Work);
  await sender.start();
  await sender.publish(Happened, { n: 1 });
  await sender.send(Work, { n: 2 });
  await expect.poll(() => got.toSorted()).toEqual(["command 2", "event 1"]);
});

test("consuming, retrying, dead-lettering, trimming and redriving", async () => {
  const name = "consumed";
  const Work = queue(name).command("work", { schema: z.object({ n: z.int() }) });
  await using owner = createBus({ service: "owner", transport: open() });
  owner.declare(Work);
  await owner.start();
  await grant(["topic", name, READ, DESCRIBE], ["group", name, READ], ["group", `${name}.dlq`, READ]);
  for (const suffix of [".retry", ".delay"]) await grant(["topic", `${name}${suffix}`, READ, WRITE, DESCRIBE, DELETE]);
  await grant(["topic", `${name}.dlq`, READ, WRITE, DESCRIBE]);
  const failures: string[] = [];
  await using bus = createBus({
    service: "limited",
    transport: openLimited(),
    provision: "verify",
    observe: (event) => {
      if (event.name === "transport.failed") failures.push(event.detail);
    },
  });
  let healed = false;
  const handled: number[] = [];
  const subscription = bus.handle(
    Work,
    ({ data: { n } }, { attempt }) => {
      if (n === 1 && attempt === 1) throw new Error("later");
      if (n === 2 && !healed) throw deadLetter("no");
      handled.push(n);
    },
    { retry: { attempts: 3, backoff: { initialMs: 4_000, maxMs: 4_000, jitter: 0 } } },
  );
  await bus.start();
  for (const n of [1, 2, 3]) await owner.send(Work, { n });
  await expect.poll(async () => (await subscription.deadLetters.depth()).ready).toBe(1);
  healed = true;
  await expect(subscription.deadLetters.redrive()).resolves.toMatchObject({ redriven: 1 });
  await expect.poll(() => handled.toSorted((one, other) => one - other)).toEqual([1, 2, 3]);
  // Time to trim what was retried.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(failures).toEqual([]);
});
