import { inspect } from "node:util";
import { isPosthornError } from "@posthorn/core/transport";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readOptions } from "./options.ts";

type Config = Parameters<typeof readOptions>[0];

function refusal(config: Config): string {
  try {
    readOptions(config);
  } catch (error) {
    if (isPosthornError(error, "INVALID_OPTION")) return `${String(error.details["option"])}: ${inspect(error)}`;
    throw error;
  }
  throw new Error("The options were accepted.");
}

/** The option that is named as the wrong one. */
function wrong(config: unknown): string {
  return refusal(config as Config).split(":")[0] ?? "";
}

beforeEach(() => {
  vi.stubEnv("AWS_REGION", undefined);
  vi.stubEnv("AWS_DEFAULT_REGION", undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test("everything but the region has a default", () => {
  const defaults = {
    region: "eu-central-1",
    endpoint: undefined,
    snsEndpoint: undefined,
    credentials: undefined,
    requestHandler: undefined,
    prefix: "",
    tags: {},
    visibilitySeconds: 30,
    waitSeconds: 20,
    deliveryLimit: 50,
    maxMessageBytes: 1_048_576,
    longestDelayMs: 900_000,
    retentionSeconds: 1_209_600,
    requestTimeoutMs: 10_000,
    connectTimeoutMs: 5_000,
    accountId: undefined,
  };
  expect(readOptions({ region: "eu-central-1" })).toEqual(defaults);
  expect(readOptions("sqs://eu-central-1")).toEqual(defaults);
  expect(readOptions("SQS://eu-central-1/")).toEqual(defaults);
});

describe("the region", () => {
  test("comes from the environment where it is not given", () => {
    vi.stubEnv("AWS_DEFAULT_REGION", "us-east-2");
    expect(readOptions({}).region).toBe("us-east-2");
    vi.stubEnv("AWS_REGION", "us-east-1");
    for (const config of [{}, "sqs:", "sqs://", "sqs://a:b@", "sqs:?prefix=a"])
      expect(readOptions(config).region).toBe("us-east-1");
    expect(readOptions("sqs://eu-west-1").region).toBe("eu-west-1");
  });

  test("is asked for where it is missing everywhere", () => {
    vi.stubEnv("AWS_REGION", "");
    expect(refusal("sqs://")).toMatch(/^region: .*AWS_REGION/);
  });

  test("is checked wherever it comes from", () => {
    vi.stubEnv("AWS_REGION", "eu.central");
    expect(wrong({})).toBe("region");
  });
});

describe("a URL", () => {
  test("may have the keys, percent-encoded", () => {
    expect(readOptions("sqs://AK%40ID:s%2Fe+c%3A%25@us-east-1").credentials).toEqual({
      accessKeyId: "AK@ID",
      secretAccessKey: "s/e+c:%",
    });
    expect(readOptions("sqs://AKID:a:b@c@us-east-1")).toMatchObject({
      region: "us-east-1",
      credentials: { accessKeyId: "AKID", secretAccessKey: "a:b@c" },
    });
  });

  test("has options of the right types", () => {
    const url =
      "sqs://us-east-1?endpoint=http%3A%2F%2F127.0.0.1%3A4566&snsEndpoint=http%3A%2F%2F127.0.0.1%3A4567&prefix=dev-&visibilitySeconds=5&waitSeconds=2&deliveryLimit=3" +
      "&maxMessageBytes=1000&longestDelayMs=2000&retentionSeconds=60&requestTimeoutMs=7&connectTimeoutMs=8&accountId=012345678901";
    expect(readOptions(url)).toEqual({
      region: "us-east-1",
      endpoint: "http://127.0.0.1:4566",
      snsEndpoint: "http://127.0.0.1:4567",
      credentials: undefined,
      requestHandler: undefined,
      prefix: "dev-",
      tags: {},
      visibilitySeconds: 5,
      waitSeconds: 2,
      deliveryLimit: 3,
      maxMessageBytes: 1_000,
      longestDelayMs: 2_000,
      retentionSeconds: 60,
      requestTimeoutMs: 7,
      connectTimeoutMs: 8,
      accountId: "012345678901",
    });
    expect(readOptions("sqs://us-east-1/?endpoint=http://[::1]:4566/base").endpoint).toBe("http://[::1]:4566/base");
  });
});

test("single options win over the URL", () => {
  const url = "sqs://a:b@us-east-1?prefix=x&waitSeconds=3";
  const credentials = { accessKeyId: "c", secretAccessKey: "d", sessionToken: "e" };
  expect(readOptions({ transport: "sqs", url, region: "eu-west-1", prefix: "", credentials })).toMatchObject({
    region: "eu-west-1",
    prefix: "",
    credentials,
    waitSeconds: 3,
  });
});

test("SNS is where SQS is, unless it is said where", () => {
  const both = "sqs://r?endpoint=http://a&snsEndpoint=http://b";
  const places = (config: Config): unknown[] => {
    const { endpoint, snsEndpoint } = readOptions(config);
    return [endpoint, snsEndpoint];
  };
  expect(places("sqs://r?endpoint=http://a")).toEqual(["http://a", "http://a"]);
  expect(places(both)).toEqual(["http://a", "http://b"]);
  expect(places({ url: both, snsEndpoint: "http://c" })).toEqual(["http://a", "http://c"]);
  expect(places({ url: both, endpoint: "http://c" })).toEqual(["http://c", "http://b"]);
  expect(places({ region: "r", snsEndpoint: "http://c" })).toEqual([undefined, "http://c"]);
});

test("providers, handlers and tags are kept as they are", () => {
  const credentials = (): Promise<never> => Promise.reject(new Error("not asked"));
  const requestHandler = { handle: credentials, destroy: () => undefined };
  const tags = { team: "billing", empty: "" };
  const settings = readOptions({ region: "r", credentials, requestHandler, tags });
  expect(settings.credentials).toBe(credentials);
  expect(settings.requestHandler).toBe(requestHandler);
  expect(settings.tags).toEqual(tags);
});

describe("what is wrong is named", () => {
  test.each([
    [{ visibility: 5 }, "visibility"],
    [{ transport: "sns" }, "transport"],
    [{ url: 5 }, "url"],
    [{ region: "" }, "region"],
    [{ region: "eu central" }, "region"],
    [{ region: 5 }, "region"],
    [{ endpoint: "127.0.0.1:4566" }, "endpoint"],
    [{ endpoint: "ftp://h" }, "endpoint"],
    [{ endpoint: "http://u:p@h" }, "endpoint"],
    [{ endpoint: "http://h?x=1" }, "endpoint"],
    [{ snsEndpoint: "127.0.0.1:4566" }, "snsEndpoint"],
    [{ credentials: { accessKeyId: "a" } }, "credentials"],
    [{ credentials: { accessKeyId: "", secretAccessKey: "b" } }, "credentials.accessKeyId"],
    [{ credentials: "a:b" }, "credentials"],
    [{ requestHandler: {} }, "requestHandler"],
    [{ requestHandler: { requestTimeout: 5 } }, "requestHandler"],
    [{ prefix: "a.b" }, "prefix"],
    [{ prefix: "a".repeat(41) }, "prefix"],
    [{ tags: { team: 5 } }, "tags.team"],
    [{ tags: { "aws:team": "a" } }, "tags.aws"],
    [{ tags: { "posthorn-kind": "a" } }, "tags.posthorn-kind"],
    [{ tags: Object.fromEntries(Array.from({ length: 41 }, (_, index) => [`t${index}`, ""])) }, "tags"],
    [{ visibilitySeconds: 0 }, "visibilitySeconds"],
    [{ visibilitySeconds: 43_201 }, "visibilitySeconds"],
    [{ waitSeconds: 0 }, "waitSeconds"],
    [{ waitSeconds: 21 }, "waitSeconds"],
    [{ deliveryLimit: 1_001 }, "deliveryLimit"],
    [{ maxMessageBytes: 1_048_577 }, "maxMessageBytes"],
    [{ longestDelayMs: 999 }, "longestDelayMs"],
    [{ longestDelayMs: 900_001 }, "longestDelayMs"],
    [{ retentionSeconds: 59 }, "retentionSeconds"],
    [{ requestTimeoutMs: 1.5 }, "requestTimeoutMs"],
    [{ connectTimeoutMs: "5" }, "connectTimeoutMs"],
    [{ accountId: "12345" }, "accountId"],
    [{ accountId: 123_456_789_012 }, "accountId"],
    ["http://h", "url"],
    ["sqs:/us-east-1", "url"],
    ["sqs://us-east-1/path", "url"],
    ["sqs://us-east-1#x", "url"],
    ["sqs://a@us-east-1", "url"],
    ["sqs://a:b/c@us-east-1", "url"],
    ["sqs://us-east-1:4566", "region"],
    ["sqs://a%zz:b@us-east-1", "credentials.accessKeyId"],
    ["sqs://a:b%zz@us-east-1", "credentials.secretAccessKey"],
    ["sqs://:b@us-east-1", "credentials.accessKeyId"],
    ["sqs://r?tags=a", "tags"],
    ["sqs://r?credentials=a", "credentials"],
    ["sqs://r?waitSeconds=5s", "waitSeconds"],
    ["sqs://r?waitSeconds=", "waitSeconds"],
    ["sqs://r?endpoint=", "endpoint"],
    ["sqs://r?__proto__=1", "__proto__"],
  ])("%j", (config, option) => {
    expect(wrong(typeof config === "string" ? config : { region: "r", ...config })).toBe(option);
  });
});

describe("secrets are told nowhere", () => {
  test.each([
    ["sqs://AKID:s3cret@us-east-1:99999"],
    ["sqs://AKID:s3cret"],
    ["sqs://AKID:s3cret@us-east-1/s3cret"],
    ["sqs://AKID:s3cret%zz@us-east-1"],
    ["sqs://AKID:s3/cret@us-east-1"],
    ["sqs://AKID:s3?cret@us-east-1"],
    ["sqs://AKID:3?cret=@us-east-1"],
    ["sqs://AKID:s3#cret@us-east-1"],
    ["sqs://AKID:s3cret@us-east-1?waitSeconds=s3cret"],
    [{ region: "r", endpoint: "http://u:s3cret@h" }],
  ])("%j", (config) => {
    expect(refusal(config)).not.toMatch(/s3|cret@|cret=/);
  });
});
