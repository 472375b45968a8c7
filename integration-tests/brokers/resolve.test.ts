import { afterEach, expect, test, vi } from "vitest";
import { freePorts } from "./ports.ts";
import { resolveKafka, resolveRabbitmq, resolveSqs } from "./resolve.ts";

afterEach(() => void vi.unstubAllEnvs());

test("where the address given answers nothing, no version can be had and nothing else is tried", async () => {
  const [port] = await freePorts(1);
  vi.stubEnv("RABBITMQ_URL", `amqp://127.0.0.1:${port}`);
  const { brokers, missing } = await resolveRabbitmq({ versions: ["3.10", "4.0"] });
  expect(brokers).toEqual([]);
  expect(missing).toMatchObject([
    { version: "3.10" },
    { version: "4.0", reason: expect.stringContaining("RABBITMQ_URL") },
  ]);
});

test("the same of Kafka, for each of the addresses", async () => {
  const [one, other] = await freePorts(2);
  vi.stubEnv("KAFKA_BROKERS", `127.0.0.1:${one}, 127.0.0.1:${other}`);
  const { brokers, missing } = await resolveKafka({ versions: ["3.9"] });
  expect(brokers).toEqual([]);
  expect(missing).toEqual([
    { version: "3.9", reason: expect.stringMatching(new RegExp(`KAFKA_BROKERS.*:${one}; .*:${other}`)) },
  ]);
});

test("the same of SQS, which has no versions", async () => {
  const [port] = await freePorts(1);
  vi.stubEnv("SQS_ENDPOINT", `http://127.0.0.1:${port}`);
  const { brokers, missing } = await resolveSqs();
  expect(brokers).toEqual([]);
  expect(missing).toMatchObject([
    { reason: expect.stringMatching(new RegExp(`SQS_ENDPOINT.*:${port}: .*ECONNREFUSED`)) },
  ]);
});
