import type { Message } from "@posthorn/core/transport";
import { describe, expect, test } from "vitest";
import { differenceOf, fatalConnectError, operationError } from "./errors.ts";
import { forClosedChannel } from "./receipts.ts";

const amqpError = (code: number, text = ""): Error =>
  Object.assign(new Error(`Operation failed: QueueDeclare; ${code} with message "${text}"`), { code });

describe("a refused declaration is a difference", () => {
  test.each([
    [
      "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'",
      { field: "x-queue-type", expected: `"quorum"`, actual: `"classic"` },
    ],
    [
      "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '50' of type 'signedint' but current is none",
      { field: "x-delivery-limit", expected: `"50"` },
    ],
    [
      "inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received none but current is the value 'drop-head' of type 'longstr'",
      { field: "x-overflow", actual: `"drop-head"` },
    ],
    ["something else", {}],
  ])("%s", (text, expected) => {
    expect(differenceOf(amqpError(406, `PRECONDITION_FAILED - ${text}`), "queue", "q")).toEqual({
      problem: "different",
      object: "queue",
      name: "q",
      ...expected,
    });
  });

  test("and other failures are not", () => {
    expect(differenceOf(amqpError(403), "queue", "q")).toBe(undefined);
    expect(differenceOf(new Error("Channel ended"), "queue", "q")).toBe(undefined);
  });
});

test("what can heal while connecting is not fatal", () => {
  expect(fatalConnectError(new Error("connect ECONNREFUSED 127.0.0.1:5672"), "/orders")).toBe(undefined);
  expect(fatalConnectError(new Error("Socket closed abruptly during opening handshake"), "/orders")).toBe(undefined);
  expect(
    fatalConnectError(new Error(`Handshake terminated by server: 403 (ACCESS-REFUSED) with message "x"`), "/orders")
      ?.code,
  ).toBe("AUTHENTICATION_FAILED");
  expect(
    fatalConnectError(new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>"), "/orders")?.code,
  ).toBe("ACCESS_REFUSED");
});

test.each([
  [403, "ACCESS_REFUSED"],
  [404, "UNROUTABLE"],
  [541, "TRANSPORT_FAILED"],
])("an operation that fails with %i is %s and names its object", (code, expected) => {
  expect(operationError(amqpError(code), `queue "q"`)).toMatchObject({
    code: expected,
    message: expect.stringContaining(`queue "q"`) as string,
  });
});

describe("a closed channel", () => {
  const codes = (error: unknown, confirmedAny: boolean): unknown[] =>
    [false, true].map((isLast) => {
      const receipt = forClosedChannel(error, "events", confirmedAny)({ body: new Uint8Array(20) } as Message, isLast);
      return receipt.accepted ? "accepted" : receipt.error.code;
    });

  test.each([
    ["a missing exchange", amqpError(404), false, ["UNROUTABLE", "UNROUTABLE"]],
    ["an exchange that was there before", amqpError(404), true, ["UNKNOWN_OUTCOME", "UNROUTABLE"]],
    ["a missing permission", amqpError(403), false, ["ACCESS_REFUSED", "ACCESS_REFUSED"]],
    [
      "a message that is too large",
      amqpError(406, "message size 20 is larger than configured max size 10"),
      true,
      ["MESSAGE_TOO_LARGE", "MESSAGE_TOO_LARGE"],
    ],
    [
      "another one that is",
      amqpError(406, "message size 99 is larger than configured max size 10"),
      true,
      ["UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME"],
    ],
    ["a lost connection", undefined, false, ["UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME"]],
  ])("by %s", (_, error, confirmedAny, expected) => {
    expect(codes(error, confirmedAny)).toEqual(expected);
  });
});
