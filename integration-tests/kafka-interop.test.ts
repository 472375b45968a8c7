/** Programs that have never heard of Posthorn: kcat, which speaks through librdkafka. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { BusEvent } from "@posthorn/core";
import { bytes, createBus, queue, topic } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import type { KafkaOptions } from "@posthorn/kafka";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { KafkaVersion } from "./brokers/broker.ts";
import { ensureTool } from "./brokers/tools.ts";
import { useKafka } from "./brokers-in-use.ts";

interface KcatRecord {
  readonly partition: number;
  readonly headers: readonly string[];
  readonly key: string | null;
  readonly payload: string | null;
}

let program = "kcat";
beforeAll(async () => {
  program = await ensureTool("kcat", { log: console.error });
}, 120_000);

async function kcat(args: readonly string[], input = ""): Promise<string> {
  const child = spawn(program, ["-X", "broker.address.family=v4", ...args], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(input);
  const [output, problems, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  if (code !== 0) throw new Error(`kcat ${args.join(" ")} failed: ${problems}`);
  return output;
}

const schema = z.object({ orderId: z.string(), total: z.int() });

describe.each(["4.4", "3.9"] satisfies KafkaVersion[])("on Kafka %s", (version) => {
  const broker = useKafka(version);
  const open = (options: KafkaOptions = {}): ReturnType<typeof kafka> =>
    kafka({ brokers: broker().brokers, ...options });
  const read = async (name: string): Promise<KcatRecord[]> => {
    const output = await kcat(["-b", broker().brokers.join(), "-C", "-t", name, "-o", "beginning", "-e", "-q", "-J"]);
    return output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as KcatRecord);
  };
  const write = (name: string, args: readonly string[], input: string): Promise<string> =>
    kcat(["-b", broker().brokers.join(), "-P", "-t", name, ...args], input);

  test("kcat reads what we send: the payload, the key, and the envelope in ce_ headers", async () => {
    const Placed = topic("interop-out").event("order-placed", { schema, key: ({ orderId }) => orderId, version: 2 });
    await using bus = createBus({ service: "shop", transport: open() });
    bus.declare(Placed);
    await bus.start();
    const { id } = await bus.publish(Placed, { orderId: "o-1", total: 10 }, { headers: { tenant: "acme" } });
    const [record, ...others] = await read("interop-out");
    expect(others).toEqual([]);
    expect(record?.key).toBe("o-1");
    expect(JSON.parse(record?.payload ?? "")).toEqual({ orderId: "o-1", total: 10 });
    const headers = new Map<string, string>();
    for (let index = 0; index < (record?.headers.length ?? 0); index += 2)
      headers.set(record?.headers[index] ?? "", record?.headers[index + 1] ?? "");
    expect(Object.fromEntries(headers)).toMatchObject({
      ce_specversion: "1.0",
      ce_id: id,
      ce_type: "order-placed",
      ce_source: "shop",
      ce_messageversion: "2",
      ce_partitionkey: "o-1",
      ce_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      "content-type": "application/json",
      tenant: "acme",
    });
  });

  test("our handlers get what kcat writes: CloudEvents in binary and structured mode, and records without any envelope", async () => {
    const channel = queue("interop-in");
    const Place = channel.command("place-order", { schema });
    await using bus = createBus({ service: "shop", transport: open() });
    const got: unknown[] = [];
    bus.handle(
      Place,
      ({ data, id, headers, key }) => void got.push({ total: data.total, id, tenant: headers["tenant"], key }),
    );
    await bus.start();
    const body = (total: number): string => JSON.stringify({ orderId: "o", total });
    const binary = [
      "ce_specversion=1.0",
      "ce_id=b-1",
      "ce_type=place-order",
      "ce_source=kcat",
      "content-type=application/json",
      "tenant=acme",
    ];
    await write("interop-in", ["-k", "o-1", ...binary.flatMap((header) => ["-H", header])], body(1));
    const event = {
      specversion: "1.0",
      id: "s-1",
      type: "place-order",
      source: "kcat",
      data: { orderId: "o", total: 2 },
    };
    await write(
      "interop-in",
      ["-H", "content-type=application/cloudevents+json; charset=utf-8"],
      JSON.stringify(event),
    );
    await write("interop-in", ["-H", "type=place-order", "-H", "content-type=application/json"], body(3));
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(3);
    expect(got).toEqual(
      expect.arrayContaining([
        { total: 1, id: "b-1", tenant: "acme", key: "o-1" },
        { total: 2, id: "s-1", tenant: undefined, key: undefined },
        {
          total: 3,
          id: expect.stringMatching(/^kafka:interop-in:\d+:\d+$/) as string,
          tenant: undefined,
          key: undefined,
        },
      ]),
    );
  });

  test.each(["gzip", "zstd"] as const)("batches in %s: kcat reads ours, and we read kcat's", async (compression) => {
    const name = `interop-${compression}`;
    const Place = queue(name).command("place-order", { schema });
    await using bus = createBus({ service: "shop", transport: open({ compression }) });
    const got: number[] = [];
    bus.handle(Place, ({ data }) => void got.push(data.total));
    await bus.start();
    await Promise.all(Array.from({ length: 50 }, (_, total) => bus.send(Place, { orderId: "o".repeat(100), total })));
    expect((await read(name)).length).toBe(50);
    await write(
      name,
      ["-z", compression, "-H", "type=place-order", "-H", "content-type=application/json"],
      JSON.stringify({ orderId: "theirs", total: 99 }),
    );
    await expect
      .poll(() => got.toSorted((one, other) => one - other), { timeout: 10_000 })
      .toEqual([...Array(50).keys(), 99]);
  });

  test("a batch in a codec that nobody gave holds up its partition alone, says what is missing, and is read once it is there", async () => {
    const name = "interop-unknown-codec";
    const Place = queue(name).command("place-order", { schema });
    const events: BusEvent[] = [];
    const got: number[] = [];
    {
      await using bus = createBus({
        service: "shop",
        transport: open({ partitions: 2 }),
        observe: (event) => void events.push(event),
      });
      bus.handle(Place, ({ data }) => void got.push(data.total));
      await bus.start();
      const headers = ["-H", "type=place-order", "-H", "content-type=application/json"];
      // librdkafka leaves a batch as it is that compression would not make smaller.
      await write(
        name,
        ["-p", "0", "-z", "snappy", ...headers],
        JSON.stringify({ orderId: "s".repeat(2_000), total: 1 }),
      );
      await write(name, ["-p", "1", ...headers], JSON.stringify({ orderId: "plain", total: 2 }));
      await expect.poll(() => got, { timeout: 10_000 }).toEqual([2]);
      await expect
        .poll(() => events.flatMap((event) => (event.name === "transport.failed" ? [event.detail] : [])).join())
        .toContain("codecs.snappy");
    }
    let asked = 0;
    const snappy = {
      compress: (data: Uint8Array) => Promise.resolve(data),
      decompress: (data: Uint8Array) => {
        asked++;
        return Promise.resolve(data);
      },
    };
    await using bus = createBus({
      service: "shop",
      transport: open({ partitions: 2, codecs: { snappy } }),
      observe: () => undefined,
    });
    bus.handle(Place, ({ data }) => void got.push(data.total));
    await bus.start();
    await expect.poll(() => asked, { timeout: 10_000 }).toBeGreaterThan(0);
  });

  test("a bare tombstone of a compacted document channel passes without harm, one with a type reaches its handler", async () => {
    const name = "interop-customers";
    const customers = topic(name);
    const Customer = customers.document("customer", { schema: z.object({ name: z.string() }) });
    const Deleted = customers.event("customer-deleted", { codec: bytes });
    await using bus = createBus({ service: "crm", transport: open({ channels: { [name]: { compact: true } } }) });
    const got: string[] = [];
    const subscription = bus.subscribe(Customer, ({ data, key }) => void got.push(`${key} is ${data.name}`));
    bus.subscribe(
      Deleted,
      ({ data, key, headers }) => void got.push(`${key} ${data.length} ${headers["kafka-tombstone"]}`),
    );
    await bus.start();
    const event = (type: string, id: string): string[] =>
      ["ce_specversion=1.0", `ce_type=${type}`, "ce_source=crm", `ce_id=${id}`].flatMap((each) => ["-H", each]);
    const json = ["-H", "content-type=application/json"];
    await write(name, ["-k", "c-1", ...event("customer", "1"), ...json], JSON.stringify({ name: "Ada" }));
    await write(name, ["-K", ":", "-Z"], "c-1:\n");
    await write(
      name,
      ["-K", ":", "-Z", ...event("customer-deleted", "2"), "-H", "content-type=application/octet-stream"],
      "c-1:\n",
    );
    await write(name, ["-k", "c-1", ...event("customer", "3"), ...json], JSON.stringify({ name: "Grace" }));
    await expect.poll(() => got, { timeout: 10_000 }).toEqual(["c-1 is Ada", "c-1 0 true", "c-1 is Grace"]);
    expect((await subscription.deadLetters.depth()).ready).toBe(0);
  });
});
