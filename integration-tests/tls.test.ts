import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { connect as connectTcp } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import type { Server, TlsOptions } from "node:tls";
import { promisify } from "node:util";
import { SQSClient } from "@aws-sdk/client-sqs";
import { createBus, queue } from "@posthorn/core";
import type { Bus, Transport } from "@posthorn/core";
import { rabbitmq } from "@posthorn/rabbitmq";
import type { RabbitmqTlsOptions } from "@posthorn/rabbitmq";
import { sqs } from "@posthorn/sqs-sns";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { useRabbitmq, useSqs } from "./brokers-in-use.ts";

const rabbitmqBroker = useRabbitmq("4.0");
const sqsBroker = useSqs();
let folder: string;
let pair: { readonly key: Buffer; readonly cert: Buffer };

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "posthorn-tls-"));
  const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  await promisify(execFile)("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert]);
  pair = { key: await readFile(key), cert: await readFile(cert) };
});

afterAll(() => rm(folder, { recursive: true, force: true }));

type Tls = Pick<RabbitmqTlsOptions, "servername"> & Partial<Record<"ca" | "cert" | "key", Buffer>>;

const PlaceOrder = queue("tls-orders").command("place-order", { schema: z.object({ sku: z.string() }) });

/** TLS in front of a broker. */
async function inFrontOf(brokerUrl: string, options: TlsOptions): Promise<Server> {
  const server = createServer(options, (socket) => {
    const upstream = connectTcp(Number(new URL(brokerUrl).port), "127.0.0.1");
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
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

function start(transport: Transport): { started: Promise<void>; bus: Bus } {
  const bus = createBus({ service: "tls", transport, observe: () => undefined });
  bus.declare(PlaceOrder);
  return { bus, started: bus.start({ timeoutMs: 3_000 }) };
}

describe.each([
  {
    name: "amqps",
    upstreamUrl: () => rabbitmqBroker().url,
    open: (port: number, tls: Tls) => rabbitmq({ url: `amqps://guest:guest@localhost:${port}`, tls }),
  },
  {
    name: "SQS over https",
    upstreamUrl: () => sqsBroker().endpoint,
    open(port: number, tls: Tls) {
      const { region, credentials } = sqsBroker();
      // A `NodeHttpHandler`, as the SDK's own clients make it.
      const { requestHandler } = new SQSClient({ region, requestHandler: { httpsAgent: new Agent(tls) } }).config;
      return sqs({ endpoint: `https://localhost:${port}`, region, credentials, requestHandler });
    },
  },
])("$name", ({ upstreamUrl, open }) => {
  let server: Server;

  /** It asks its clients for a certificate as well. */
  beforeAll(async () => {
    const asking = { ca: pair.cert, requestCert: true, rejectUnauthorized: true };
    server = await inFrontOf(upstreamUrl(), { ...pair, ...asking });
  });

  afterAll(() => {
    server.close();
  });

  test("works with the authority and the client's certificate that are given", async () => {
    const { bus, started } = start(open(portOf(server), { ca: pair.cert, cert: pair.cert, key: pair.key }));
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
    const { started } = start(open(portOf(server), tls()));
    const error: unknown = await started.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "CONNECTION_FAILED" });
    expect(((error as Error).cause as Error).message).toMatch(cause);
  });
});

test("SQS over https without a handler of one's own trusts whom Node trusts", async () => {
  const server = await inFrontOf(sqsBroker().endpoint, pair);
  const { region, credentials } = sqsBroker();
  const open = (): Transport => sqs({ endpoint: `https://localhost:${portOf(server)}`, region, credentials });
  await expect(start(open()).started).rejects.toMatchObject({
    code: "CONNECTION_FAILED",
    message: expect.stringMatching(/self-signed certificate/) as string,
  });
  const known = getCACertificates("default");
  setDefaultCACertificates([...known, pair.cert.toString()]);
  try {
    const { bus, started } = start(open());
    await using _closed = bus;
    await started;
    await expect(bus.send(PlaceOrder, { sku: "a" })).resolves.toBeDefined();
  } finally {
    setDefaultCACertificates(known);
    server.close();
  }
});
