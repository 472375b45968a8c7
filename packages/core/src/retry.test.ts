import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { backoffDelay } from "./backoff.ts";
import { checkRetry, defaultRetry } from "./retry.ts";

test("the default policy is what the docs say", () => {
  const docs = readFileSync(path.resolve(import.meta.dirname, "../../../docs/delivery.md"), "utf8").replaceAll("_", "");
  const { attempts, backoff, holdMs } = defaultRetry;
  expect(docs).toContain(
    `retry: { attempts: ${attempts}, backoff: { initialMs: ${backoff.initialMs}, maxMs: ${backoff.maxMs}, factor: ${backoff.factor} }, holdMs: ${holdMs} }`,
  );
  const waits = Array.from({ length: attempts - 1 }, (_, index) => backoffDelay(backoff, index + 1, 0) / 1_000);
  expect(waits).toEqual([0.2, 0.6, 1.8, 5.4, 16.2, 48.6, 145.8, 300, 300]);
});

test.each([
  ["attempts", { attempts: 1.5 }],
  ["backoff", { backoff: undefined }],
  ["initialMs", { backoff: { initialMs: -1, maxMs: 1 } }],
  ["maxMs", { backoff: { initialMs: 10, maxMs: 1 } }],
  ["factor", { backoff: { initialMs: 1, maxMs: 1, factor: 0.5 } }],
  ["jitter", { backoff: { initialMs: 1, maxMs: 1, jitter: 2 } }],
  ["holdMs", { holdMs: -1 }],
])("a policy with a wrong %s is refused by name", (name, changes) => {
  const policy = { ...defaultRetry, ...changes } as unknown as typeof defaultRetry;
  expect(() => checkRetry(policy)).toThrow(new RegExp(name));
});
