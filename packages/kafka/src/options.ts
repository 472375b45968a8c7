import type { QueryKind } from "@posthorn/core/transport";
import { checkOptions, decodeUrlPart, invalidOption, queryOptions } from "@posthorn/core/transport";
import { z } from "zod";
import { hasZstd } from "./compression.ts";
import type { Codec, Codecs, Compression } from "./compression.ts";

/**
 * How to reach Kafka, and how to use it. Everything has a default; a URL and single options may be mixed, single options win.
 *
 * Partitions, replicas and retention are for topics that are made. What exists stays as it is.
 */
export interface KafkaOptions {
  /** Names the adapter in a configuration object. `kafkas` is TLS. */
  readonly transport?: "kafka" | "kafkas" | undefined;
  /**
   * `kafka://user:password@host1:9092,host2:9092?option=value`; `kafkas://` for TLS. User and password are percent-encoded
   * and mean SASL PLAIN, unless `saslMechanism` is `scram-sha-256` or `scram-sha-512`. The other options bear the names below.
   */
  readonly url?: string | undefined;
  /** `host:port` each, an IPv6 address in brackets; without a port 9092, with TLS 9093. Some of the cluster are enough. Default `["localhost:9092"]`. */
  readonly brokers?: readonly string[] | undefined;
  /** TLS: `true`, or what differs from Node.js's defaults. Default false. */
  readonly tls?: boolean | KafkaTlsOptions | undefined;
  /** How to log in; by default not at all. Without TLS, `plain` shows the password to everybody on the way. */
  readonly sasl?: KafkaSasl | undefined;
  /** The name operators see; default `posthorn`. */
  readonly clientId?: string | undefined;
  /** For each try to connect, in milliseconds; default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a connection that does not answer is believed, in milliseconds; default 10,000. Above `fetchMaxWaitMs`. */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * How long a consumer that died keeps its partitions, in milliseconds; default 30,000, from 1,000. The broker has bounds of
   * its own: `group.min.session.timeout.ms`, by default 6,000, and `group.max.session.timeout.ms`, by default 1,800,000.
   */
  readonly sessionTimeoutMs?: number | undefined;
  /** How often a consumer shows that it lives, in milliseconds. Less than a third of `sessionTimeoutMs`; default a tenth of it, at most 3,000. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** How long a consumer may take to come along when its group shares the partitions out anew, in milliseconds; default 60,000. */
  readonly rebalanceTimeoutMs?: number | undefined;
  /** Partitions of a channel's topic: at most so many consumers of a group have work at a time. Default 12. */
  readonly partitions?: number | undefined;
  /** Copies of each partition. By default 3, or as many as there are brokers where they are fewer. */
  readonly replicationFactor?: number | undefined;
  /** Copies that must be up to date for a message to be accepted; by default what the broker is configured to. */
  readonly minInsyncReplicas?: number | undefined;
  /** How long a channel's topic keeps a message, handled or not, in milliseconds. -1 is for ever; default 604,800,000 (seven days). */
  readonly retentionMs?: number | undefined;
  /** What is different for single channels, by their names. Not in a URL. */
  readonly channels?: Readonly<Record<string, KafkaChannelOptions>> | undefined;
  /** Of what is sent. `zstd` needs Node.js 22.15, 23.8 or later. Default `none`. */
  readonly compression?: Compression | undefined;
  /** For topics whose messages others compress with snappy or LZ4, which Node.js does not have. Not in a URL. */
  readonly codecs?: Codecs | undefined;
  /** Largest record: body, key and headers, uncompressed. Must not exceed the topics' `max.message.bytes`, by default 1,048,588. Default 1,000,000. */
  readonly maxMessageBytes?: number | undefined;
  /**
   * How often partitions that were added to a topic are looked for, and what was done with is deleted from the groups' own topics, in
   * milliseconds; default 60,000, from 1,000.
   */
  readonly metadataMaxAgeMs?: number | undefined;
  /** How long the broker waits for messages before it answers that there are none, in milliseconds; default 500. */
  readonly fetchMaxWaitMs?: number | undefined;
  /** How much a consumption holds fetched at most, in bytes, one message aside, and an eighth more of delayed ones; default 8,388,608. */
  readonly fetchMaxBytes?: number | undefined;
  /**
   * How often a message is handed out by itself, after its neighbourhood crashed the process twice, before it is
   * dead-lettered. From 1; default 5.
   */
  readonly deliveryLimit?: number | undefined;
}

/** As in `node:tls`. */
export interface KafkaTlsOptions {
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
  readonly passphrase?: string | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
}

export type KafkaSasl = KafkaPasswordLogin | KafkaTokenLogin;

export interface KafkaPasswordLogin {
  readonly mechanism: "plain" | "scram-sha-256" | "scram-sha-512";
  readonly username: string;
  readonly password: string;
}

export interface KafkaTokenLogin {
  readonly mechanism: "oauthbearer";
  /** Asked for each connection, and again before a token expires. */
  readonly token: () => Promise<string>;
}

/** What is different for one channel. */
export interface KafkaChannelOptions {
  readonly partitions?: number | undefined;
  readonly retentionMs?: number | undefined;
  /** Keeps the last message of each key for ever, instead of every message for a time. Takes only messages with a key. Default false. */
  readonly compact?: boolean | undefined;
}

/** The options, complete and checked. */
export interface Settings {
  /** Not empty. */
  readonly brokers: readonly Broker[];
  readonly tls: KafkaTlsOptions | undefined;
  readonly sasl: KafkaSasl | undefined;
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly partitions: number;
  readonly replicationFactor: number | undefined;
  readonly minInsyncReplicas: number | undefined;
  readonly retentionMs: number;
  /** By channel name; ask {@link channelSettings}. */
  readonly channels: ReadonlyMap<string, KafkaChannelOptions>;
  readonly compression: Compression;
  readonly codecs: Codecs;
  readonly maxMessageBytes: number;
  readonly metadataMaxAgeMs: number;
  readonly fetchMaxWaitMs: number;
  readonly fetchMaxBytes: number;
  readonly deliveryLimit: number;
}

/** Where a broker listens. */
export interface Broker {
  /** An IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

/** How the topic of one channel is made. */
export interface ChannelSettings {
  readonly partitions: number;
  readonly retentionMs: number;
  readonly compact: boolean;
}

export function channelSettings(settings: Settings, channel: string): ChannelSettings {
  const own = settings.channels.get(channel);
  return {
    partitions: own?.partitions ?? settings.partitions,
    retentionMs: own?.retentionMs ?? settings.retentionMs,
    compact: own?.compact ?? false,
  };
}

const pem = z.union([z.string(), z.instanceof(Uint8Array)]);
const whole = (from: number, to: number): z.ZodOptional<z.ZodInt> => z.int().min(from).max(to).optional();
const passwordMechanism = z.enum(["plain", "scram-sha-256", "scram-sha-512"]);

const partitions = whole(1, 100_000);
const retentionMs = z
  .int()
  .refine((value) => value === -1 || value >= 1, "it must be -1 (for ever) or from 1 on")
  .optional();

const codec = z.custom<Codec>(isCodec, "it must be an object with the functions compress and decompress").optional();

const optionsSchema = z.strictObject({
  transport: z.enum(["kafka", "kafkas"]).optional(),
  url: z.string().optional(),
  brokers: z.array(z.string()).min(1).readonly().optional(),
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
  sasl: z
    .discriminatedUnion("mechanism", [
      z.strictObject({ mechanism: passwordMechanism, username: z.string().min(1), password: z.string() }),
      z.strictObject({
        mechanism: z.literal("oauthbearer"),
        token: z.custom<() => Promise<string>>(
          (value) => typeof value === "function",
          "it must be a function that gives a token",
        ),
      }),
    ])
    .optional(),
  clientId: z.string().min(1).max(100).optional(),
  connectTimeoutMs: whole(1, 600_000),
  requestTimeoutMs: whole(1, 600_000),
  sessionTimeoutMs: whole(1_000, 3_600_000),
  heartbeatIntervalMs: whole(1, 600_000),
  rebalanceTimeoutMs: whole(1_000, 3_600_000),
  partitions,
  // The protocol has 16 bits for it.
  replicationFactor: whole(1, 32_767),
  minInsyncReplicas: whole(1, 32_767),
  retentionMs,
  channels: z
    .record(z.string().min(1), z.strictObject({ partitions, retentionMs, compact: z.boolean().optional() }))
    .optional(),
  compression: z.enum(["none", "gzip", "zstd"]).optional(),
  codecs: z.strictObject({ snappy: codec, lz4: codec }).optional(),
  maxMessageBytes: whole(1, 536_870_912),
  metadataMaxAgeMs: whole(1_000, 3_600_000),
  fetchMaxWaitMs: whole(1, 60_000),
  fetchMaxBytes: whole(1, 1_073_741_824),
  deliveryLimit: whole(1, 1_000_000),
});

const queryKinds: Readonly<Record<string, QueryKind>> = {
  saslMechanism: "text",
  clientId: "text",
  connectTimeoutMs: "number",
  requestTimeoutMs: "number",
  sessionTimeoutMs: "number",
  heartbeatIntervalMs: "number",
  rebalanceTimeoutMs: "number",
  partitions: "number",
  replicationFactor: "number",
  minInsyncReplicas: "number",
  retentionMs: "number",
  compression: "text",
  maxMessageBytes: "number",
  metadataMaxAgeMs: "number",
  fetchMaxWaitMs: "number",
  fetchMaxBytes: "number",
  deliveryLimit: "number",
};

const whose = "the Kafka transport";

/** @throws INVALID_OPTION naming the option; never with its value, which may be a secret */
export function readOptions(config: string | Readonly<Record<string, unknown>>): Settings {
  const given = checkOptions(whose, optionsSchema, typeof config === "string" ? { url: config } : config);
  const fromUrl = given.url === undefined ? {} : checkOptions(whose, optionsSchema, readUrl(given.url));
  const tls = given.tls ?? fromUrl.tls ?? given.transport === "kafkas";
  const sessionTimeoutMs = given.sessionTimeoutMs ?? fromUrl.sessionTimeoutMs ?? 30_000;
  const settings: Settings = {
    brokers: readBrokers(given.brokers ?? fromUrl.brokers ?? ["localhost"], tls === false ? 9092 : 9093),
    tls: tls === false ? undefined : tls === true ? {} : tls,
    sasl: given.sasl ?? fromUrl.sasl,
    clientId: given.clientId ?? fromUrl.clientId ?? "posthorn",
    connectTimeoutMs: given.connectTimeoutMs ?? fromUrl.connectTimeoutMs ?? 10_000,
    requestTimeoutMs: given.requestTimeoutMs ?? fromUrl.requestTimeoutMs ?? 10_000,
    sessionTimeoutMs,
    heartbeatIntervalMs:
      given.heartbeatIntervalMs ?? fromUrl.heartbeatIntervalMs ?? Math.min(Math.floor(sessionTimeoutMs / 10), 3_000),
    rebalanceTimeoutMs: given.rebalanceTimeoutMs ?? fromUrl.rebalanceTimeoutMs ?? 60_000,
    partitions: given.partitions ?? fromUrl.partitions ?? 12,
    replicationFactor: given.replicationFactor ?? fromUrl.replicationFactor,
    minInsyncReplicas: given.minInsyncReplicas ?? fromUrl.minInsyncReplicas,
    retentionMs: given.retentionMs ?? fromUrl.retentionMs ?? 604_800_000,
    channels: new Map(Object.entries(given.channels ?? {})),
    compression: given.compression ?? fromUrl.compression ?? "none",
    codecs: given.codecs ?? {},
    maxMessageBytes: given.maxMessageBytes ?? fromUrl.maxMessageBytes ?? 1_000_000,
    metadataMaxAgeMs: given.metadataMaxAgeMs ?? fromUrl.metadataMaxAgeMs ?? 60_000,
    fetchMaxWaitMs: given.fetchMaxWaitMs ?? fromUrl.fetchMaxWaitMs ?? 500,
    fetchMaxBytes: given.fetchMaxBytes ?? fromUrl.fetchMaxBytes ?? 8_388_608,
    deliveryLimit: given.deliveryLimit ?? fromUrl.deliveryLimit ?? 5,
  };
  checkTogether(settings);
  return settings;
}

/** What is right by itself can be wrong with the rest. */
function checkTogether(settings: Settings): void {
  const { heartbeatIntervalMs, sessionTimeoutMs, fetchMaxWaitMs, requestTimeoutMs } = settings;
  const { replicationFactor, minInsyncReplicas } = settings;
  if (heartbeatIntervalMs >= sessionTimeoutMs / 3)
    throw invalidOption("heartbeatIntervalMs", "it must be less than a third of sessionTimeoutMs");
  if (fetchMaxWaitMs >= requestTimeoutMs)
    throw invalidOption("fetchMaxWaitMs", "it must be less than requestTimeoutMs");
  if (replicationFactor !== undefined && minInsyncReplicas !== undefined && minInsyncReplicas > replicationFactor)
    throw invalidOption("minInsyncReplicas", "it must not exceed replicationFactor");
  if (settings.compression === "zstd" && !hasZstd)
    throw invalidOption("compression", "this Node.js has no zstd: use 22.15, 23.8 or later, or gzip");
}

/**
 * Scheme, user and password, brokers, options. `URL` knows only one host. No "@" stands behind the "?": what looks like options
 * there may be the rest of a password.
 */
const urlPattern = /^(kafkas?):\/\/(?:([^/?]*)@)?([^/?@]*)\/?(?:\?([^@]*))?$/i;

function readUrl(text: string): Readonly<Record<string, unknown>> {
  if (text.includes("#")) throw invalidOption("url", `it has a "#"; write it as %23`);
  const match = urlPattern.exec(text);
  if (match === null)
    throw invalidOption(
      "url",
      `it must look like kafka://user:password@host1:9092,host2:9092?option=value, or begin with kafkas://; write "/" and "?" in user and password as %2F and %3F, and "@" in options as %40`,
    );
  const [, scheme, login, hosts, query] = match;
  const options: Record<string, unknown> = { tls: scheme?.toLowerCase() === "kafkas" };
  if (hosts !== undefined && hosts !== "") options["brokers"] = hosts.split(",");
  const { saslMechanism: mechanism, ...others } = queryOptions(whose, queryKinds, new URLSearchParams(query));
  Object.assign(options, others);
  if (login !== undefined) options["sasl"] = readLogin(login, mechanism);
  else if (mechanism !== undefined) throw invalidOption("saslMechanism", "it needs user and password in the URL");
  return options;
}

function readLogin(login: string, given: unknown): KafkaPasswordLogin {
  const mechanism = passwordMechanism.safeParse(given ?? "plain");
  if (!mechanism.success)
    throw invalidOption("saslMechanism", `in a URL it must be one of ${passwordMechanism.options.join(", ")}`);
  const colon = login.indexOf(":");
  if (colon < 0) throw invalidOption("url", "it has a user without a password");
  return {
    mechanism: mechanism.data,
    username: decodeUrlPart("username", login.slice(0, colon)),
    password: decodeUrlPart("password", login.slice(colon + 1)),
  };
}

/** `host`, `host:port`, `[address]` or `[address]:port`. */
const brokerPattern = /^(?:\[([\da-f:.]+(?:%[\w.-]+)?)\]|([^\s:[\]/?#@,]+))(?::(\d{1,5}))?$/i;

function readBrokers(brokers: readonly string[], defaultPort: number): readonly Broker[] {
  return brokers.map((text) => {
    const match = brokerPattern.exec(text);
    const host = match?.[1] ?? match?.[2];
    const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
    if (host === undefined || port < 1 || port > 65_535)
      throw invalidOption(
        "brokers",
        "each must be host:port, with a port from 1 to 65535 and an IPv6 address in brackets",
      );
    return { host, port };
  });
}

function isCodec(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    "compress" in value &&
    typeof value.compress === "function" &&
    "decompress" in value &&
    typeof value.decompress === "function"
  );
}
