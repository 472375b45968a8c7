import type { QueryKind } from "@posthorn/core/transport";
import { checkOptions, decodeUrlPart, invalidOption, queryOptions } from "@posthorn/core/transport";
import { z } from "zod";
import { longestDelayMs, tickMs } from "./ladder.ts";

/** How to reach RabbitMQ, and how to use it. Everything has a default; a URL and single options may be mixed, single options win. */
export interface RabbitmqOptions {
  /** Names the adapter in a configuration object. */
  readonly transport?: "amqp" | "amqps" | undefined;
  /** `amqp://user:password@host:5672/vhost?option=value`; `amqps://` for TLS. Parts are percent-encoded, options bear the names below. */
  readonly url?: string | undefined;
  /** Default `localhost`. */
  readonly hostname?: string | undefined;
  /** Default 5672, with TLS 5671. */
  readonly port?: number | undefined;
  /** Default `guest`. */
  readonly username?: string | undefined;
  /** Default `guest`. */
  readonly password?: string | undefined;
  /** Default `/`. */
  readonly vhost?: string | undefined;
  /** TLS: `true`, or what differs from Node.js's defaults. */
  readonly tls?: boolean | RabbitmqTlsOptions | undefined;
  /** The name operators see; default `posthorn`. */
  readonly connectionName?: string | undefined;
  /** A silent connection is given up after two to three times this. Default 20. */
  readonly heartbeatSeconds?: number | undefined;
  /** Largest AMQP frame; default 131,072. Properties and headers of a message must fit into one. */
  readonly frameMaxBytes?: number | undefined;
  /** For each try to connect; default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * How often the broker hands out a message that nobody settles before it moves it to the dead-letter queue. Default 50.
   * An argument of every queue: it cannot be changed afterwards, and must be the same in all services.
   */
  readonly deliveryLimit?: number | undefined;
  /** Largest body. Must not exceed the broker's `max_message_size`. Default 16,777,216, the default of RabbitMQ 4. */
  readonly maxMessageBytes?: number | undefined;
  /**
   * The longest way of a delayed message on the broker; one that is due later is delivered then, and sent on. From 100 to
   * 13,107,150 (three hours and 38 minutes), the default: mostly for tests.
   */
  readonly longestDelayMs?: number | undefined;
  /** Adds the `cloudEvents:` headers of the CloudEvents AMQP binding, for readers that speak AMQP 1.0. Default false. */
  readonly cloudEvents?: boolean | undefined;
}

/** As in `node:tls`. */
export interface RabbitmqTlsOptions {
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
  readonly passphrase?: string | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
}

/** The options, complete and checked. */
export interface Settings {
  readonly hostname: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  readonly tls: RabbitmqTlsOptions | undefined;
  readonly connectionName: string;
  readonly heartbeatSeconds: number;
  readonly frameMaxBytes: number;
  readonly connectTimeoutMs: number;
  readonly deliveryLimit: number;
  readonly maxMessageBytes: number;
  readonly longestDelayMs: number;
  readonly cloudEvents: boolean;
}

const pem = z.union([z.string(), z.instanceof(Uint8Array)]);
const whole = (from: number, to: number): z.ZodOptional<z.ZodInt> => z.int().min(from).max(to).optional();

const optionsSchema = z.strictObject({
  transport: z.enum(["amqp", "amqps"]).optional(),
  url: z.string().optional(),
  hostname: z.string().min(1).optional(),
  port: whole(1, 65_535),
  username: z.string().optional(),
  password: z.string().optional(),
  vhost: z.string().min(1).optional(),
  tls: z
    .union([
      z.boolean(),
      z.strictObject({
        ca: z.union([pem, z.array(pem).readonly()]).optional(),
        cert: pem.optional(),
        key: pem.optional(),
        passphrase: z.string().optional(),
        servername: z.string().optional(),
        rejectUnauthorized: z.boolean().optional(),
      }),
    ])
    .optional(),
  connectionName: z.string().min(1).max(100).optional(),
  heartbeatSeconds: whole(1, 3_600),
  // RabbitMQ refuses less since 4.1.
  frameMaxBytes: whole(8_192, 16_777_216),
  connectTimeoutMs: whole(1, 600_000),
  deliveryLimit: whole(1, 1_000_000),
  // The broker knows no larger message.
  maxMessageBytes: whole(1, 536_870_912),
  longestDelayMs: whole(tickMs, longestDelayMs),
  cloudEvents: z.boolean().optional(),
});

const queryKinds: Readonly<Record<string, QueryKind>> = {
  connectionName: "text",
  heartbeatSeconds: "number",
  frameMaxBytes: "number",
  connectTimeoutMs: "number",
  deliveryLimit: "number",
  maxMessageBytes: "number",
  longestDelayMs: "number",
  cloudEvents: "boolean",
};

const whose = "the RabbitMQ transport";

/** @throws INVALID_OPTION naming the option; never with its value, which may be a secret */
export function readOptions(config: string | Readonly<Record<string, unknown>>): Settings {
  const given = checkOptions(whose, optionsSchema, typeof config === "string" ? { url: config } : config);
  const fromUrl = given.url === undefined ? {} : checkOptions(whose, optionsSchema, readUrl(given.url));
  const tls = given.tls ?? fromUrl.tls ?? given.transport === "amqps";
  return {
    hostname: given.hostname ?? fromUrl.hostname ?? "localhost",
    port: given.port ?? fromUrl.port ?? (tls === false ? 5672 : 5671),
    username: given.username ?? fromUrl.username ?? "guest",
    password: given.password ?? fromUrl.password ?? "guest",
    vhost: given.vhost ?? fromUrl.vhost ?? "/",
    tls: tls === false ? undefined : tls === true ? {} : tls,
    connectionName: given.connectionName ?? fromUrl.connectionName ?? "posthorn",
    heartbeatSeconds: given.heartbeatSeconds ?? fromUrl.heartbeatSeconds ?? 20,
    frameMaxBytes: given.frameMaxBytes ?? fromUrl.frameMaxBytes ?? 131_072,
    connectTimeoutMs: given.connectTimeoutMs ?? fromUrl.connectTimeoutMs ?? 10_000,
    deliveryLimit: given.deliveryLimit ?? fromUrl.deliveryLimit ?? 50,
    maxMessageBytes: given.maxMessageBytes ?? fromUrl.maxMessageBytes ?? 16_777_216,
    longestDelayMs: given.longestDelayMs ?? fromUrl.longestDelayMs ?? longestDelayMs,
    cloudEvents: given.cloudEvents ?? fromUrl.cloudEvents ?? false,
  };
}

function readUrl(text: string): Readonly<Record<string, unknown>> {
  // The error of `new URL` holds the whole text, password and all: it must not become a cause.
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "amqp:" && url.protocol !== "amqps:"))
    throw invalidOption("url", "it must look like amqp://user:password@host:5672/vhost, or begin with amqps://");
  // Part of a password: it would become the name of an option, and that is told.
  if (url.search.includes("@"))
    throw invalidOption("url", `it has an "@" behind a "?"; write the "?" of a password as %3F`);
  if (url.hash !== "") throw invalidOption("url", `it has a "#"; write it as %23`);
  const options: Record<string, unknown> = { tls: url.protocol === "amqps:" };
  if (url.hostname !== "") options["hostname"] = url.hostname.replace(/^\[|\]$/g, "");
  if (url.port !== "") options["port"] = Number(url.port);
  if (url.username !== "") options["username"] = decodeUrlPart("username", url.username);
  if (url.password !== "") options["password"] = decodeUrlPart("password", url.password);
  if (url.pathname.length > 1) options["vhost"] = decodeUrlPart("vhost", url.pathname.slice(1));
  return { ...options, ...queryOptions(whose, queryKinds, url.searchParams) };
}
