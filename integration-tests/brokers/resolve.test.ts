import { afterEach, expect, test, vi } from "vitest";
import { freePorts } from "./ports.ts";
import { resolveRabbitmq } from "./resolve.ts";

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
