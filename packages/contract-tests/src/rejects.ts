import assert from "node:assert/strict";
import type { ErrorCode, PosthornError } from "@posthorn/core";
import { isPosthornError } from "@posthorn/core";

/** Holds the call to failing with one of these codes, synchronously or not. Resolves to the error. */
export async function rejectsWith(
  code: ErrorCode | readonly ErrorCode[],
  call: () => unknown,
  what: string,
): Promise<PosthornError> {
  const codes: readonly string[] = typeof code === "string" ? [code] : code;
  let failure: unknown;
  try {
    await call();
  } catch (error) {
    failure = error;
    if (isPosthornError(error) && codes.includes(error.code)) return error;
  }
  return assert.fail(
    `${what} was to fail with ${codes.join(" or ")}, and ${failure === undefined ? "succeeded" : `failed with ${describe(failure)}`}.`,
  );
}

function describe(failure: unknown): string {
  return isPosthornError(failure) ? `${failure.code}: ${failure.message}` : String(failure);
}
