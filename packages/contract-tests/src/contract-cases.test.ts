import { expect, test } from "vitest";
import type { SwitchableCapability } from "./case.ts";
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

test("for each capability that cases need one of them says what a transport without it does", () => {
  const needed = new Set<SwitchableCapability>(contractCases.flatMap(({ needs = [] }) => needs));
  for (const capability of needed) {
    const inverses = contractCases.filter(({ needs, inverse }) => needs?.[0] === capability && inverse !== undefined);
    expect(
      inverses.map(({ id }) => id),
      capability,
    ).toHaveLength(1);
  }
});

test("an inverse belongs to a case that needs one capability", () => {
  const wrong = contractCases.filter(({ needs, inverse }) => inverse !== undefined && needs?.length !== 1);
  expect(wrong).toEqual([]);
});

test("a case whose capability is there runs itself, its inverse where it is not, and is none where it has no inverse", () => {
  const delayed = contractCases.find(({ id }) => id === "G1");
  expect(delayed && partFor(delayed, { ...capabilities, delayedDelivery: true })?.title).toBe(delayed?.title);
  expect(delayed && partFor(delayed, capabilities)?.title).toBe(delayed?.inverse?.title);
  const another = contractCases.find(({ id }) => id === "G2");
  expect(another && partFor(another, { ...capabilities, delayedDelivery: true })?.title).toBe(another?.title);
  expect(another && partFor(another, capabilities)).toBe(undefined);
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
