import type { QueryKind } from "@posthorn/core/transport";
import { checkOptions, decodeUrlPart, invalidOption, queryOptions } from "@posthorn/core/transport";
import { z } from "zod";

/**
 * How to reach SQS and SNS, and how to use them. Everything but the region has a default; a URL and single options may be mixed,
 * single options win.
 *
 * Retention, tags and the delivery limit are for queues and topics that are made. What exists stays as it is.
 */
export interface SqsOptions {
  /** Names the adapter in a configuration object. */
  readonly transport?: "sqs" | undefined;
  /**
   * `sqs://region?option=value`, or `sqs://accessKeyId:secretAccessKey@region?option=value` with both keys percent-encoded: a secret
   * often has a "/". The other options bear the names below.
   */
  readonly url?: string | undefined;
  /** Such as `eu-central-1`. By default the environment's `AWS_REGION`, or `AWS_DEFAULT_REGION`. */
  readonly region?: string | undefined;
  /**
   * Where SQS is, and SNS: an emulator's, such as `http://127.0.0.1:4566`, or a VPC endpoint's. By default AWS's own in the region, as the
   * AWS SDK finds it: `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL_SNS` and `AWS_ENDPOINT_URL`, `AWS_USE_FIPS_ENDPOINT` and
   * `AWS_USE_DUALSTACK_ENDPOINT`, and the same in a profile. With an endpoint of one's own these last two must not be set: AWS's SDK
   * refuses every request.
   */
  readonly endpoint?: string | undefined;
  /** Where SNS is, if that is elsewhere: each service has a VPC endpoint of its own. Default `endpoint`. */
  readonly snsEndpoint?: string | undefined;
  /** By default what the AWS SDK finds: environment, profile, the role of the machine. In a URL without a session token. */
  readonly credentials?: SqsCredentials | SqsCredentialProvider | undefined;
  /**
   * Sends the requests in place of the adapter's own HTTP connections, for a proxy for one: a `NodeHttpHandler`. It needs room for a
   * waiting poll of each consumer beside all else, has timeouts of its own, and is not ended by `close`. Not in a URL.
   */
  readonly requestHandler?: SqsRequestHandler | undefined;
  /** Stands before the name of every queue and topic: at most 40 letters, digits, "-" and "_". Default none. */
  readonly prefix?: string | undefined;
  /** Of every queue and topic that is made, beside the adapter's own, which begin with `posthorn-`. At most 40. Not in a URL. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /**
   * How long a consumer that died keeps its messages, in seconds; a living one renews the time for as long as it needs. Up to 43,200;
   * default 30.
   */
  readonly visibilitySeconds?: number | undefined;
  /** How long SQS waits for a message before it answers that there is none, in seconds. From 1 to 20: less costs more requests. Default 20. */
  readonly waitSeconds?: number | undefined;
  /** How often SQS delivers a message before it moves it to the dead letters by itself. From 1 to 1,000; default 50. */
  readonly deliveryLimit?: number | undefined;
  /**
   * Largest message: body as sent, and names, types and values of its attributes. Up to 1,048,576,
   * the default. Above 262,144 a topic takes at most 100 groups.
   */
  readonly maxMessageBytes?: number | undefined;
  /** The longest delay that SQS is asked for at a time, in milliseconds; what is due later is sent again. From 1,000 to 900,000, the default. */
  readonly longestDelayMs?: number | undefined;
  /** How long a queue keeps a message that nobody takes, in seconds. From 60 to 1,209,600 (14 days), the default. */
  readonly retentionSeconds?: number | undefined;
  /** How long an answer is waited for, in milliseconds, beside the wait of a poll; default 10,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** For each connection, in milliseconds; default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Twelve digits. With it topics are found without the permission to list them. */
  readonly accountId?: string | undefined;
}

export interface SqsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** When they end: a provider is asked again in time. */
  readonly expiration?: Date | undefined;
}

/** As those of `@aws-sdk/credential-providers`. */
export type SqsCredentialProvider = () => Promise<SqsCredentials>;

/** As the AWS SDK wants it. */
export interface SqsRequestHandler {
  readonly handle: (...given: never[]) => Promise<unknown>;
}

/** The options, complete and checked. */
export interface Settings {
  readonly region: string;
  /** Of SQS. */
  readonly endpoint: string | undefined;
  readonly snsEndpoint: string | undefined;
  readonly credentials: SqsCredentials | SqsCredentialProvider | undefined;
  readonly requestHandler: SqsRequestHandler | undefined;
  readonly prefix: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly visibilitySeconds: number;
  readonly waitSeconds: number;
  readonly deliveryLimit: number;
  readonly maxMessageBytes: number;
  readonly longestDelayMs: number;
  readonly retentionSeconds: number;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly accountId: string | undefined;
}

const whole = (from: number, to: number): z.ZodOptional<z.ZodInt> => z.int().min(from).max(to).optional();

/** AWS allows 50; the rest is for the adapter's own. */
const mostTags = 40;

const endpoint = z
  .string()
  .refine(isEndpoint, "it must look like http://127.0.0.1:4566 or https://host/path, without credentials or options")
  .optional();

const optionsSchema = z.strictObject({
  transport: z.literal("sqs").optional(),
  url: z.string().optional(),
  region: z
    .string()
    .regex(/^[a-z\d-]{1,63}$/, "it must look like eu-central-1")
    .optional(),
  endpoint,
  snsEndpoint: endpoint,
  credentials: z
    .union(
      [
        // The SDK's providers add properties of their own.
        z.looseObject({
          accessKeyId: z.string().min(1),
          secretAccessKey: z.string().min(1),
          sessionToken: z.string().min(1).optional(),
          expiration: z.date().optional(),
        }),
        z.custom<SqsCredentialProvider>((value) => typeof value === "function"),
      ],
      "it must be accessKeyId, secretAccessKey and perhaps sessionToken, or a function that gives them",
    )
    .optional(),
  requestHandler: z
    .custom<SqsRequestHandler>(isRequestHandler, "it must be an object with the function handle")
    .optional(),
  prefix: z
    .string()
    .regex(/^[\w-]{0,40}$/, `it must be at most 40 letters, digits, "-" and "_"`)
    .optional(),
  tags: z
    .record(
      z
        .string()
        .min(1)
        .max(128)
        .regex(/^(?!aws:|posthorn-)/i, `it must not begin with "aws:" or "posthorn-"`),
      z.string().max(256),
    )
    .refine((tags) => Object.keys(tags).length <= mostTags, `it must be at most ${mostTags}`)
    .optional(),
  visibilitySeconds: whole(1, 43_200),
  waitSeconds: whole(1, 20),
  deliveryLimit: whole(1, 1_000),
  maxMessageBytes: whole(1, 1_048_576),
  longestDelayMs: whole(1_000, 900_000),
  retentionSeconds: whole(60, 1_209_600),
  requestTimeoutMs: whole(1, 600_000),
  connectTimeoutMs: whole(1, 600_000),
  accountId: z
    .string()
    .regex(/^\d{12}$/, "it must be twelve digits")
    .optional(),
});

const queryKinds: Readonly<Record<string, QueryKind>> = {
  endpoint: "text",
  snsEndpoint: "text",
  prefix: "text",
  visibilitySeconds: "number",
  waitSeconds: "number",
  deliveryLimit: "number",
  maxMessageBytes: "number",
  longestDelayMs: "number",
  retentionSeconds: "number",
  requestTimeoutMs: "number",
  connectTimeoutMs: "number",
  accountId: "text",
};

const whose = "the SQS transport";

/** @throws INVALID_OPTION naming the option; never with its value, which may be a secret */
export function readOptions(config: string | Readonly<Record<string, unknown>>): Settings {
  const given = checkOptions(whose, optionsSchema, typeof config === "string" ? { url: config } : config);
  const fromUrl = given.url === undefined ? {} : checkOptions(whose, optionsSchema, readUrl(given.url));
  const sqsEndpoint = given.endpoint ?? fromUrl.endpoint;
  return {
    region: given.region ?? fromUrl.region ?? regionOfEnvironment(),
    endpoint: sqsEndpoint,
    snsEndpoint: given.snsEndpoint ?? fromUrl.snsEndpoint ?? sqsEndpoint,
    credentials: given.credentials ?? fromUrl.credentials,
    requestHandler: given.requestHandler,
    prefix: given.prefix ?? fromUrl.prefix ?? "",
    tags: given.tags ?? {},
    visibilitySeconds: given.visibilitySeconds ?? fromUrl.visibilitySeconds ?? 30,
    waitSeconds: given.waitSeconds ?? fromUrl.waitSeconds ?? 20,
    deliveryLimit: given.deliveryLimit ?? fromUrl.deliveryLimit ?? 50,
    maxMessageBytes: given.maxMessageBytes ?? fromUrl.maxMessageBytes ?? 1_048_576,
    longestDelayMs: given.longestDelayMs ?? fromUrl.longestDelayMs ?? 900_000,
    retentionSeconds: given.retentionSeconds ?? fromUrl.retentionSeconds ?? 1_209_600,
    requestTimeoutMs: given.requestTimeoutMs ?? fromUrl.requestTimeoutMs ?? 10_000,
    connectTimeoutMs: given.connectTimeoutMs ?? fromUrl.connectTimeoutMs ?? 5_000,
    accountId: given.accountId ?? fromUrl.accountId,
  };
}

function regionOfEnvironment(): string {
  const region = process.env["AWS_REGION"] || process.env["AWS_DEFAULT_REGION"];
  if (region === undefined || region === "")
    throw invalidOption("region", "it is missing; give it here, in the URL (sqs://eu-central-1) or as AWS_REGION");
  return checkOptions(whose, optionsSchema, { region }).region ?? region;
}

/**
 * Keys, region, options. `URL` would take part of a secret with a "/" for the region. No "@" stands behind the "?": what looks
 * like options there may be the rest of a secret.
 */
const urlPattern = /^sqs:(?:\/\/(?:([^/?]*)@)?([^/?@]*)\/?)?(?:\?([^@]*))?$/i;

function readUrl(text: string): Readonly<Record<string, unknown>> {
  if (text.includes("#")) throw invalidOption("url", `it has a "#"; write it as %23`);
  const match = urlPattern.exec(text);
  if (match === null)
    throw invalidOption(
      "url",
      `it must look like sqs://region?option=value or sqs://accessKeyId:secretAccessKey@region; write "/" and "?" in the keys as %2F and %3F, and "@" in options as %40`,
    );
  const [, keys, region, query] = match;
  const options: Record<string, unknown> = {};
  if (region !== undefined && region !== "") options["region"] = region;
  if (keys !== undefined) options["credentials"] = readKeys(keys);
  return { ...options, ...queryOptions(whose, queryKinds, new URLSearchParams(query)) };
}

function readKeys(keys: string): SqsCredentials {
  const colon = keys.indexOf(":");
  if (colon < 0) throw invalidOption("url", "it has an access key without a secret");
  return {
    accessKeyId: decodeUrlPart("credentials.accessKeyId", keys.slice(0, colon)),
    secretAccessKey: decodeUrlPart("credentials.secretAccessKey", keys.slice(colon + 1)),
  };
}

function isEndpoint(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    [url.username, url.password, url.search, url.hash].every((part) => part === "")
  );
}

function isRequestHandler(value: unknown): boolean {
  return typeof value === "object" && value !== null && "handle" in value && typeof value.handle === "function";
}
