import { inspect } from "node:util";
import { isPosthornError } from "@posthorn/core/transport";
import { describe, expect, test, vi } from "vitest";
import { channelSettings, readOptions } from "./options.ts";

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

test("everything has a default", () => {
  const defaults = {
    brokers: [{ host: "localhost", port: 9092 }],
    tls: undefined,
    sasl: undefined,
    clientId: "posthorn",
    connectTimeoutMs: 10_000,
    requestTimeoutMs: 10_000,
    sessionTimeoutMs: 30_000,
    heartbeatIntervalMs: 3_000,
    rebalanceTimeoutMs: 60_000,
    partitions: 12,
    replicationFactor: undefined,
    minInsyncReplicas: undefined,
    retentionMs: 604_800_000,
    channels: new Map(),
    compression: "none",
    codecs: {},
    maxMessageBytes: 1_000_000,
    metadataMaxAgeMs: 60_000,
    fetchMaxWaitMs: 500,
    fetchMaxBytes: 8_388_608,
    deliveryLimit: 5,
  };
  expect(readOptions({})).toEqual(defaults);
  expect(readOptions("kafka://localhost")).toEqual(defaults);
  expect(readOptions("kafka://")).toEqual(defaults);
});

describe("a URL", () => {
  test("has several brokers", () => {
    expect(readOptions("kafka://a:1,b,[::1]:3,[fe80::1%25eth0],10.0.0.1:5/").brokers).toEqual([
      { host: "a", port: 1 },
      { host: "b", port: 9092 },
      { host: "::1", port: 3 },
      { host: "fe80::1%25eth0", port: 9092 },
      { host: "10.0.0.1", port: 5 },
    ]);
  });

  test("may have user and password, percent-encoded", () => {
    expect(readOptions("kafka://us%40er:p%2Fw%3A%25,%3F@h1,h2:2")).toMatchObject({
      sasl: { mechanism: "plain", username: "us@er", password: "p/w:%,?" },
      brokers: [
        { host: "h1", port: 9092 },
        { host: "h2", port: 2 },
      ],
    });
    expect(readOptions("kafka://u:a:b@c@h").sasl).toEqual({ mechanism: "plain", username: "u", password: "a:b@c" });
    expect(readOptions("kafka://u:@h").sasl).toEqual({ mechanism: "plain", username: "u", password: "" });
    expect(readOptions("kafka://u:p@h?saslMechanism=scram-sha-512").sasl).toEqual({
      mechanism: "scram-sha-512",
      username: "u",
      password: "p",
    });
  });

  test("has options of the right types", () => {
    const url =
      "kafkas://h?clientId=my%20shop&connectTimeoutMs=1&requestTimeoutMs=2000&sessionTimeoutMs=6000&heartbeatIntervalMs=500" +
      "&rebalanceTimeoutMs=7000&partitions=3&replicationFactor=2&minInsyncReplicas=1&retentionMs=-1&compression=gzip" +
      "&maxMessageBytes=9&metadataMaxAgeMs=1001&fetchMaxWaitMs=10&fetchMaxBytes=11&deliveryLimit=12";
    expect(readOptions(url)).toEqual({
      brokers: [{ host: "h", port: 9093 }],
      tls: {},
      sasl: undefined,
      clientId: "my shop",
      connectTimeoutMs: 1,
      requestTimeoutMs: 2_000,
      sessionTimeoutMs: 6_000,
      heartbeatIntervalMs: 500,
      rebalanceTimeoutMs: 7_000,
      partitions: 3,
      replicationFactor: 2,
      minInsyncReplicas: 1,
      retentionMs: -1,
      channels: new Map(),
      compression: "gzip",
      codecs: {},
      maxMessageBytes: 9,
      metadataMaxAgeMs: 1_001,
      fetchMaxWaitMs: 10,
      fetchMaxBytes: 11,
      deliveryLimit: 12,
    });
  });

  test("may be written in capitals", () => {
    expect(readOptions("KAFKAS://Host")).toMatchObject({ tls: {}, brokers: [{ host: "Host", port: 9093 }] });
  });
});

test("single options win over the URL", () => {
  const sasl = { mechanism: "scram-sha-256", username: "x", password: "y" } as const;
  const url = "kafkas://u:p@h:1?partitions=3&clientId=a";
  expect(readOptions({ transport: "kafkas", url, partitions: 4, sasl })).toMatchObject({
    partitions: 4,
    clientId: "a",
    sasl,
    tls: {},
    brokers: [{ host: "h", port: 1 }],
  });
  expect(readOptions({ url, brokers: ["other"], tls: false })).toMatchObject({
    tls: undefined,
    brokers: [{ host: "other", port: 9092 }],
  });
});

test("TLS moves the default port, and its settings are passed on", () => {
  const tls = { ca: ["a", Uint8Array.of(1)], cert: "c", key: "k", rejectUnauthorized: false };
  expect(readOptions({ transport: "kafkas", brokers: ["a", "b:1"] })).toMatchObject({
    tls: {},
    brokers: [
      { host: "a", port: 9093 },
      { host: "b", port: 1 },
    ],
  });
  expect(readOptions({ tls }).tls).toEqual(tls);
  expect(readOptions({ tls: true }).brokers).toEqual([{ host: "localhost", port: 9093 }]);
});

test("a token comes from a function", async () => {
  const { sasl } = readOptions({ sasl: { mechanism: "oauthbearer", token: () => Promise.resolve("t") } });
  expect(sasl?.mechanism === "oauthbearer" && (await sasl.token())).toBe("t");
});

test("the heartbeat follows the session", () => {
  expect(readOptions({ sessionTimeoutMs: 1_000 }).heartbeatIntervalMs).toBe(100);
  expect(readOptions({ sessionTimeoutMs: 600_000 }).heartbeatIntervalMs).toBe(3_000);
  expect(readOptions({ sessionTimeoutMs: 1_000, heartbeatIntervalMs: 333 }).heartbeatIntervalMs).toBe(333);
});

test("a channel has the general settings, but for its own", () => {
  const channels = JSON.parse(`{"a":{"partitions":3,"compact":true},"b":{"retentionMs":-1}}`) as object;
  const settings = readOptions({ partitions: 7, retentionMs: 1_000, channels });
  expect(channelSettings(settings, "a")).toEqual({ partitions: 3, retentionMs: 1_000, compact: true });
  expect(channelSettings(settings, "b")).toEqual({ partitions: 7, retentionMs: -1, compact: false });
  for (const name of ["c", "constructor", "__proto__"])
    expect(channelSettings(settings, name)).toEqual({ partitions: 7, retentionMs: 1_000, compact: false });
});

test("codecs of one's own are kept as they are", () => {
  const snappy = {
    compress: () => Promise.resolve(Uint8Array.of()),
    decompress: () => Promise.resolve(Uint8Array.of()),
  };
  expect(readOptions({ codecs: { snappy } }).codecs.snappy).toBe(snappy);
});

describe("what is wrong is named", () => {
  test.each([
    [{ heartbeat: 5 }, "heartbeat"],
    [{ transport: "amqp" }, "transport"],
    [{ url: 5 }, "url"],
    [{ brokers: "a:1" }, "brokers"],
    [{ brokers: [] }, "brokers"],
    [{ brokers: ["a:0"] }, "brokers"],
    [{ brokers: ["a:65536"] }, "brokers"],
    [{ brokers: ["a:1:2"] }, "brokers"],
    [{ brokers: ["::1"] }, "brokers"],
    [{ brokers: ["[::1"] }, "brokers"],
    [{ brokers: ["a,b"] }, "brokers"],
    [{ brokers: [""] }, "brokers"],
    [{ brokers: ["a b"] }, "brokers"],
    [{ brokers: ["kafka://a"] }, "brokers"],
    [{ tls: { pfx: "x" } }, "tls.pfx"],
    [{ sasl: { mechanism: "gssapi" } }, "sasl.mechanism"],
    [{ sasl: { mechanism: "plain", username: "", password: "p" } }, "sasl.username"],
    [{ sasl: { mechanism: "plain", username: "u" } }, "sasl.password"],
    [{ sasl: { mechanism: "oauthbearer", token: "t" } }, "sasl.token"],
    [{ sasl: { mechanism: "plain", username: "u", password: "p", token: "t" } }, "sasl.token"],
    [{ saslMechanism: "plain" }, "saslMechanism"],
    [{ clientId: "" }, "clientId"],
    [{ connectTimeoutMs: "5" }, "connectTimeoutMs"],
    [{ requestTimeoutMs: 1.5 }, "requestTimeoutMs"],
    [{ sessionTimeoutMs: 999 }, "sessionTimeoutMs"],
    [{ heartbeatIntervalMs: 10_000 }, "heartbeatIntervalMs"],
    [{ sessionTimeoutMs: 1_000, heartbeatIntervalMs: 334 }, "heartbeatIntervalMs"],
    [{ fetchMaxWaitMs: 500, requestTimeoutMs: 500 }, "fetchMaxWaitMs"],
    [{ partitions: 0 }, "partitions"],
    [{ replicationFactor: 0 }, "replicationFactor"],
    [{ replicationFactor: 1, minInsyncReplicas: 2 }, "minInsyncReplicas"],
    [{ retentionMs: 0 }, "retentionMs"],
    [{ retentionMs: -2 }, "retentionMs"],
    [{ channels: { a: { partitions: 0 } } }, "channels.a.partitions"],
    [{ channels: { a: { replicas: 1 } } }, "channels.a.replicas"],
    [{ channels: { a: { compact: "yes" } } }, "channels.a.compact"],
    [{ compression: "snappy" }, "compression"],
    [{ codecs: { snappy: {} } }, "codecs.snappy"],
    [{ codecs: { brotli: {} } }, "codecs.brotli"],
    [{ maxMessageBytes: 0 }, "maxMessageBytes"],
    [{ deliveryLimit: 0 }, "deliveryLimit"],
    ["http://h", "url"],
    ["kafka:/h", "url"],
    ["kafka://h/path", "url"],
    ["kafka://u@h", "url"],
    ["kafka://u:p/w@h", "url"],
    ["kafka://h#x", "url"],
    ["kafka://h,", "brokers"],
    ["kafka:// h", "brokers"],
    ["kafka://u%zz:p@h", "username"],
    ["kafka://u:p%zz@h", "password"],
    ["kafka://:p@h", "sasl.username"],
    ["kafka://u:p@h?saslMechanism=oauthbearer", "saslMechanism"],
    ["kafka://h?saslMechanism=plain", "saslMechanism"],
    ["kafka://h?channels=a", "channels"],
    ["kafka://h?tls=true", "tls"],
    ["kafka://h?partitions=5s", "partitions"],
    ["kafka://h?partitions=1e3", "partitions"],
    ["kafka://h?partitions=", "partitions"],
    ["kafka://h?__proto__=1", "__proto__"],
  ])("%j", (config, option) => {
    expect(wrong(config)).toBe(option);
  });

  test("zstd on a Node.js that has none", async () => {
    vi.resetModules();
    vi.doMock("./compression.ts", () => ({ hasZstd: false }));
    try {
      const older = await import("./options.ts");
      expect(() => older.readOptions("kafka://h?compression=zstd")).toThrow(/compression.*22\.15/);
      expect(older.readOptions("kafka://h?compression=gzip").compression).toBe("gzip");
    } finally {
      vi.doUnmock("./compression.ts");
      vi.resetModules();
    }
  });
});

describe("secrets are told nowhere", () => {
  test.each([
    ["kafka://user:s3cret@h:99999"],
    ["kafka://user:s3cret@h:s3cret"],
    ["kafka://user:s3cret@h/s3cret"],
    ["kafka://user:s3cret%zz@h"],
    ["kafka://user:s3/cret@h"],
    ["kafka://user:s3?cret@h"],
    ["kafka://user:3?cret=@h"],
    ["kafka://s3cret@h"],
    ["kafka://:s3cret@h"],
    ["http://user:s3cret@h"],
    ["kafka://user:s3cret@h?nope=1"],
    ["kafka://user:s3cret@h?saslMechanism=s3cret"],
    ["kafka://user:s3c#ret@h"],
  ])("not by the error on %s", (url) => {
    expect(refusal(url)).not.toMatch(/s3|cret/);
  });

  test.each([
    [{ sasl: { mechanism: "plain", username: "u", password: ["s3cret"] } }],
    [{ sasl: { mechanism: "oauthbearer", token: "s3cret" } }],
    [{ sasl: { mechanism: "s3cret", username: "u", password: "s3cret" } }],
    [{ sasl: "s3cret" }],
    [{ tls: { passphrase: ["s3cret"] } }],
    [{ brokers: ["kafka://user:s3cret@h"] }],
  ])("not by the error on %j", (config) => {
    expect(refusal(config)).not.toContain("s3cret");
  });
});
