import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createServer } from "node:tls";
import type { Server } from "node:tls";
import { promisify } from "node:util";
import { createBus, queue } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import type { RabbitmqTlsOptions } from "@posthorn/rabbitmq";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { useRabbitmq } from "./brokers-in-use.ts";

const broker = useRabbitmq("4.0");
let folder: string;
let pair: { readonly key: Buffer; readonly cert: Buffer };
let server: Server;

/** TLS in front of the broker, which asks its clients for a certificate as well. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "posthorn-tls-"));
  const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  await promisify(execFile)("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert]);
  pair = { key: await readFile(key), cert: await readFile(cert) };
  server = createServer({ ...pair, ca: pair.cert, requestCert: true, rejectUnauthorized: true }, (socket) => {
    const upstream = connectTcp(Number(new URL(broker().url).port), "127.0.0.1");
    socket.pipe(upstream).pipe(socket);
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      one.on("error", () => other.destroy());
    }
  });
  // A client that is refused says so itself.
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

function start(tls: RabbitmqTlsOptions): { started: Promise<void>; bus: ReturnType<typeof createBus> } {
  const { port } = server.address() as AddressInfo;
  const transport = rabbitmq({ url: `amqps://guest:guest@localhost:${port}`, tls });
  const bus = createBus({ service: "tls", transport, observe: () => undefined });
  bus.declare(PlaceOrder);
  return { bus, started: bus.start({ timeoutMs: 3_000 }) };
}

const PlaceOrder = queue("tls-orders").command("place-order", { schema: z.object({ sku: z.string() }) });

describe("amqps", () => {
  test("works with the authority and the client's certificate that are given", async () => {
    const { bus, started } = start({ ca: pair.cert, cert: pair.cert, key: pair.key });
    await using _closed = bus;
    await started;
    await expect(bus.send(PlaceOrder, { sku: "a" })).resolves.toBeDefined();
  });

  test.each([
    ["an authority that is not trusted", () => ({ cert: pair.cert, key: pair.key }), /self-signed certificate/],
    ["a missing client certificate", () => ({ ca: pair.cert }), /certificate required|alert|socket|ECONNRESET|closed/i],
    [
      "another name than the certificate's",
      () => ({ ca: pair.cert, cert: pair.cert, key: pair.key, servername: "broker.example" }),
      /altnames|does not match/,
    ],
  ])("fails with its cause for %s", async (_what, tls, cause) => {
    const { started } = start(tls());
    const error: unknown = await started.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "CONNECTION_FAILED" });
    expect(((error as Error).cause as Error).message).toMatch(cause);
  });
});
