import { expect, test } from "vitest";
import { RequestFailure } from "./aws.ts";
import { isFinal } from "./outcomes.ts";

const entry = (code: string, senderFault: boolean) => ({ ok: false, code, message: "No.", senderFault }) as const;

test("an entry whose handle is out of use can never succeed, whether or not the server blames the sender", () => {
  for (const senderFault of [true, false]) {
    expect(isFinal(entry("ReceiptHandleIsInvalid", senderFault))).toBe(true);
    expect(isFinal(entry("InvalidParameterValueException", senderFault))).toBe(true);
  }
  expect(isFinal(entry("AnythingElse", true))).toBe(true);
});

test("an entry that AWS has failed on may succeed later, and so may one of which it says nothing", () => {
  expect(isFinal(entry("InternalError", false))).toBe(false);
  expect(isFinal({ ok: true })).toBe(false);
  expect(isFinal(new RequestFailure("The answer does not speak of the entry.", { sent: true }))).toBe(false);
});
