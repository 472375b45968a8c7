import { expect, test } from "vitest";
import { partFor } from "./case.ts";
import { contractCases } from "./cases/index.ts";
import { mutants } from "./mutants/index.ts";

const capabilities = {
  maxMessageBytes: 1_000_000,
  durable: false,
  settlement: "prefix",
  delayedDelivery: false,
  ordering: false,
  replies: false,
} as const;

test("every case has an id and a sentence of its own", () => {
  expect(new Set(contractCases.map(({ id }) => id)).size).toBe(contractCases.length);
  expect(new Set(contractCases.map(({ title }) => title)).size).toBe(contractCases.length);
});

test("a transport without any switchable capability runs every case or its inverse", () => {
  for (const each of contractCases) expect(partFor(each, capabilities).title).toBeTruthy();
});

test("a case whose capability is there runs itself, and its inverse where it is not", () => {
  const delayed = contractCases.find(({ id }) => id === "G1");
  expect(delayed && partFor(delayed, { ...capabilities, delayedDelivery: true }).title).toBe(delayed?.title);
  expect(delayed && partFor(delayed, capabilities).title).toBe(delayed?.inverse?.title);
});

test("mutants name cases that exist, and each has a name of its own", () => {
  const ids = new Set(contractCases.map(({ id }) => id));
  for (const { bug, killedBy } of mutants) {
    expect(killedBy.length, bug).toBeGreaterThan(0);
    expect(
      killedBy.filter((id) => !ids.has(id)),
      bug,
    ).toEqual([]);
  }
  expect(new Set(mutants.map(({ bug }) => bug)).size).toBe(mutants.length);
});
