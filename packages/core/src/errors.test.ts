import { readFileSync } from "node:fs";
import path from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { deadLetterReasons } from "./dead-letter.ts";
import { errorCodes, isPosthornError, PosthornError } from "./errors.ts";

const docs = readFileSync(path.resolve(import.meta.dirname, "../../../docs/errors.md"), "utf8");
const documented = (heading: string): string[] => {
  const section = docs.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  return [...section.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1] ?? "");
};

describe("the docs", () => {
  test("have a line for every error code, and for no other", () => {
    expect(documented("Error codes")).toEqual(Object.keys(errorCodes));
  });

  test("have a line for every dead-letter reason, and for no other", () => {
    expect(documented("Dead-letter reasons")).toEqual(Object.keys(deadLetterReasons));
  });
});

describe("PosthornError", () => {
  test("says whether trying again can help, and keeps its cause", () => {
    const cause = new Error("socket");
    const error = new PosthornError("CONNECTION_LOST", "gone", { cause });
    expect(error).toMatchObject({ code: "CONNECTION_LOST", retryable: true, cause, name: "PosthornError" });
    expect(inspect(error)).toContain("gone");
  });

  test("is recognised across copies of the package", () => {
    const foreign = Object.assign(new Error("x"), { code: "CLOSED", [Symbol.for("posthorn.error")]: true });
    expect(isPosthornError(foreign, "CLOSED")).toBe(true);
    expect(isPosthornError(foreign, "ABORTED")).toBe(false);
    expect(isPosthornError(new Error("x"))).toBe(false);
    expect(isPosthornError(null)).toBe(false);
  });
});
