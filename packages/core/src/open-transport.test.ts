import { describe, expect, test } from "vitest";
import { createFakeTransport } from "./fake-transport.fixture.ts";
import { openTransport } from "./open-transport.ts";
import type { TransportModule } from "./open-transport.ts";

const given: unknown[] = [];
const fake = (): Promise<TransportModule> =>
  Promise.resolve({
    createTransport: (config) => {
      given.push(config);
      return createFakeTransport();
    },
  });
const unloadable = (): Promise<TransportModule> => Promise.reject(new Error("must not be loaded"));

describe("openTransport", () => {
  test.each([["amqp://guest@localhost"], ["AMQP://localhost"], ["amqps://localhost"]])(
    "%s loads the adapter of its scheme and no other",
    async (url) => {
      await openTransport(url, { kafka: unloadable, amqp: fake });
      expect(given.at(-1)).toBe(url);
    },
  );

  test("an object names its transport", async () => {
    const config = { transport: "kafka", brokers: ["localhost:9092"] };
    await openTransport(config, { kafka: fake });
    expect(given.at(-1)).toBe(config);
  });

  test.each([
    ["nats://user:secret@host"],
    ["constructor:x"],
    ["no scheme"],
    [{ transport: "nats" }],
    [{} as never],
    [undefined as never],
  ])("%o is refused, and no secret told", async (config) => {
    const opened = openTransport(config, { amqp: fake });
    await expect(opened).rejects.toMatchObject({ code: "UNKNOWN_TRANSPORT" });
    await expect(opened).rejects.not.toThrow(/secret/);
  });
});
