import assert, { AssertionError } from "node:assert";
import { contractCases } from "@posthorn/contract-tests";
import { expect, test } from "vitest";
import type { Excuse } from "./sqs-emulators.ts";
import { excuses, excusing } from "./sqs-emulators.ts";
import { vitestRunner } from "./vitest-runner.ts";

const excuse: Excuse = {
  emulator: "localstack",
  cases: ["A1"],
  fails: "always",
  does: "forgets",
  rule: "SQS remembers",
  documentation: "https://example.org",
};

interface Declared {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** What an excusing runner makes of a case. */
function declared(emulator: string, name: string, body: () => Promise<void>, list = [excuse]): Declared {
  const tests: Declared[] = [];
  const { test } = excusing(emulator, { ...vitestRunner, test: (name, run) => void tests.push({ name, run }) }, list);
  test(name, body, 1);
  return tests[0] ?? assert.fail("nothing was declared");
}

const fails = (): Promise<void> => Promise.reject(new AssertionError({ message: "a message was lost" }));
const passes = async (): Promise<void> => undefined;

test("an excused case has to fail, by an expectation, and its name says what AWS does", async () => {
  const failing = declared("localstack 4.14.0", "A1 it works", fails);
  expect(failing.name).toBe(
    "A1 it works (fails on localstack 4.14.0: it forgets; AWS: SQS remembers, https://example.org)",
  );
  await failing.run();
  await expect(declared("localstack 4.14.0", "A1 it works", passes).run()).rejects.toThrow("Take it off the list");
  const broken = declared("localstack 4.14.0", "A1 it works", () => Promise.reject(new TypeError("no function")));
  await expect(broken.run()).rejects.toThrow("no function");
});

test("one that fails sometimes has to pass once in three times", async () => {
  const failing = (times: number): Declared => {
    let runs = 0;
    return declared("localstack 4.14.0", "A1 it works", () => (runs++ < times ? fails() : passes()), [
      { ...excuse, fails: "sometimes" },
    ]);
  };
  expect(failing(0).name).toMatch(/^A1 it works \(may fail on localstack 4.14.0: it forgets; AWS: SQS remembers/);
  await failing(0).run();
  await failing(2).run();
  await expect(failing(3).run()).rejects.toThrow("a message was lost");
});

test.for([
  ["localstack 4.14.0", "A1b it works"],
  ["ministack 1.5.33", "A1 it works"],
] as const)("on %s nothing is excused of %s", async ([emulator, name]) => {
  const test = declared(emulator, name, fails);
  expect(test.name).toBe(name);
  await expect(test.run()).rejects.toThrow("a message was lost");
});

test("what is excused are cases that exist, each for one reason", () => {
  const ids = contractCases.map(({ id }) => id);
  const excused = excuses.flatMap(({ emulator, cases }) => cases.map((id) => `${emulator} ${id}`));
  expect(excuses.flatMap(({ cases }) => cases).filter((id) => !ids.includes(id))).toEqual([]);
  expect(new Set(excused).size).toBe(excused.length);
});
