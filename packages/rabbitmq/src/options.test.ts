import { inspect } from "node:util";
import { isPosthornError } from "@posthorn/core/transport";
import { describe, expect, test } from "vitest";
import { readOptions } from "./options.ts";
import { createTransport, rabbitmq } from "./transport.ts";

function refusal(config: Parameters<typeof readOptions>[0]): string {
  try {
    readOptions(config);
  } catch (error) {
    if (isPosthornError(error, "INVALID_OPTION")) return `${String(error.details["option"])}: ${inspect(error)}`;
    throw error;
  }
  throw new Error("The options were accepted.");
}

test("everything has a default", () => {
  expect(readOptions({})).toEqual({
    hostname: "localhost",
    port: 5672,
    username: "guest",
    password: "guest",
    vhost: "/",
    tls: undefined,
    connectionName: "posthorn",
    heartbeatSeconds: 20,
    frameMaxBytes: 131_072,
    connectTimeoutMs: 10_000,
    deliveryLimit: 50,
    maxMessageBytes: 16_777_216,
    longestDelayMs: 13_107_150,
    cloudEvents: false,
  });
});

test("a URL is percent-decoded part by part", () => {
  const settings = readOptions(
    "amqps://us%40er:p%2Fw%3A%25@[::1]:5555/a%2Fb?heartbeatSeconds=7&cloudEvents=true&connectionName=my%20shop",
  );
  expect(settings).toMatchObject({
    username: "us@er",
    password: "p/w:%",
    hostname: "::1",
    port: 5555,
    vhost: "a/b",
    tls: {},
    heartbeatSeconds: 7,
    cloudEvents: true,
    connectionName: "my shop",
  });
});

test("options win over the URL, and TLS moves the default port", () => {
  expect(readOptions({ transport: "amqp", url: "amqp://a:b@h:1/v", port: 2, password: "c" })).toMatchObject({
    username: "a",
    password: "c",
    port: 2,
    hostname: "h",
    vhost: "v",
  });
  expect(readOptions("amqps://h").port).toBe(5671);
  expect(readOptions({ tls: { rejectUnauthorized: false } })).toMatchObject({
    port: 5671,
    tls: { rejectUnauthorized: false },
  });
  expect(readOptions("amqp://h/").vhost).toBe("/");
});

describe("what is wrong is named", () => {
  test.each([
    [{ heartbeat: 5 }, "heartbeat"],
    [{ heartbeatSeconds: "5" }, "heartbeatSeconds"],
    [{ port: 70_000 }, "port"],
    [{ tls: { pfx: "x" } }, "tls"],
    [{ deliveryLimit: 0 }, "deliveryLimit"],
    [{ transport: "kafka" }, "transport"],
    ["amqp://h?heartbeat=5", "heartbeat"],
    ["amqp://h?port=5", "port"],
    ["amqp://h?heartbeatSeconds=5s", "heartbeatSeconds"],
    ["amqp://h?cloudEvents=yes", "cloudEvents"],
    ["http://h", "url"],
    ["amqp:// h", "url"],
  ])("%j", (config, option) => {
    expect(refusal(config as string)).toContain(option);
  });
});

describe("secrets are told nowhere", () => {
  test.each([
    ["amqp://user:s3cret@h:99999"],
    ["amqp://user:s3cret@h/%zz"],
    ["amqp://user:s3cret%zz@h"],
    ["http://user:s3cret@h"],
    ["amqp://user:s3cret@h?nope=1"],
    ["amqp://user:s3c#ret@h"],
  ])("not by the error on %s", (url) => {
    expect(refusal(url)).not.toMatch(/s3c/);
  });

  test("not by the error on an option of the wrong type", () => {
    expect(refusal({ password: ["s3cret"] })).not.toContain("s3cret");
  });

  test("not by a look into the transport", () => {
    for (const transport of [
      createTransport("amqp://user:s3cret@h"),
      rabbitmq({ password: "s3cret", tls: { passphrase: "s3cret" } }),
    ]) {
      expect(inspect(transport, { depth: 10, showHidden: true })).not.toContain("s3cret");
      expect(JSON.stringify(transport)).not.toContain("s3cret");
    }
  });
});
