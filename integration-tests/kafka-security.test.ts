import { createBus, queue } from "@posthorn/core";
import { kafka } from "@posthorn/kafka";
import type { KafkaSasl } from "@posthorn/kafka";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { KafkaVersion, SecuredKafka } from "./brokers/broker.ts";
import { useKafka } from "./brokers-in-use.ts";

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token that nobody signed, as the broker of the tests takes it. */
function unsignedToken(lifetimeSeconds: number): string {
  const now = Math.floor(Date.now() / 1_000);
  return `${part({ alg: "none" })}.${part({ sub: "posthorn", iat: now, exp: now + lifetimeSeconds })}.`;
}

describe.each(["4.4", "3.9"] satisfies KafkaVersion[])("on Kafka %s with TLS and a user", (version) => {
  const broker = useKafka(version);
  const secured = (): SecuredKafka => broker().secured ?? expect.fail("a broker that was only given is not secured");

  const logins: readonly (readonly [name: string, sasl: (given: SecuredKafka) => KafkaSasl])[] = [
    ["PLAIN", ({ username, password }) => ({ mechanism: "plain", username, password })],
    ["SCRAM-SHA-256", ({ username, password }) => ({ mechanism: "scram-sha-256", username, password })],
    ["SCRAM-SHA-512", ({ username, password }) => ({ mechanism: "scram-sha-512", username, password })],
    ["OAUTHBEARER", () => ({ mechanism: "oauthbearer", token: async () => unsignedToken(60) })],
  ];

  test.each(logins)("%s: commands are sent and handled", async (name, sasl) => {
    const { brokers, ca } = secured();
    const Work = queue(`secured-${name.toLowerCase()}`).command("work", { schema: z.object({ number: z.int() }) });
    const transport = kafka({ brokers, tls: { ca }, sasl: sasl(secured()) });
    await using bus = createBus({ service: "secured", transport });
    const handled: number[] = [];
    bus.handle(Work, ({ data }) => void handled.push(data.number));
    await bus.start();
    await bus.send(Work, { number: 1 });
    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1]);
  });

  test("a token is asked for again before it expires, and the connections go on", async () => {
    const { brokers, ca } = secured();
    const Work = queue("secured-again").command("work", { schema: z.object({ number: z.int() }) });
    let asked = 0;
    const token = async (): Promise<string> => {
      asked++;
      return unsignedToken(12);
    };
    const events: string[] = [];
    const transport = kafka({ brokers, tls: { ca }, sasl: { mechanism: "oauthbearer", token } });
    await using bus = createBus({ service: "secured", transport, observe: ({ name }) => void events.push(name) });
    let handled = 0;
    bus.handle(Work, () => void handled++);
    await bus.start();
    const atFirst = asked;
    await expect
      .poll(
        async () => {
          await bus.send(Work, { number: asked });
          return asked;
        },
        { timeout: 20_000, interval: 250 },
      )
      .toBeGreaterThan(atFirst + 4);
    await expect.poll(() => handled, { timeout: 10_000 }).toBeGreaterThan(0);
    expect(events).not.toContain("transport.disconnected");
  });

  test.each([
    [
      "a wrong password",
      (given: SecuredKafka): KafkaSasl => ({
        mechanism: "scram-sha-512",
        username: given.username,
        password: "wrong-secret",
      }),
    ],
    ["an expired token", (): KafkaSasl => ({ mechanism: "oauthbearer", token: async () => unsignedToken(-60) })],
  ])("%s ends the start with AUTHENTICATION_FAILED, and is not in the message", async (_, sasl) => {
    const { brokers, ca } = secured();
    const transport = kafka({ brokers, tls: { ca }, sasl: sasl(secured()) });
    const error: unknown = await transport
      .connect({ signal: AbortSignal.timeout(10_000), report: () => undefined })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "AUTHENTICATION_FAILED" });
    expect(String(error)).not.toContain("wrong-secret");
    await transport.close({ signal: AbortSignal.timeout(1_000) });
  });

  test("a certificate that nobody vouches for is refused", async () => {
    const { brokers, username, password } = secured();
    const transport = kafka({ brokers, tls: true, sasl: { mechanism: "plain", username, password } });
    await expect(
      transport.connect({ signal: AbortSignal.timeout(2_000), report: () => undefined }),
    ).rejects.toMatchObject({
      code: "CONNECTION_FAILED",
      message: expect.stringMatching(/self-signed certificate/) as string,
    });
    await transport.close({ signal: AbortSignal.timeout(1_000) });
  });
});
