import { expect, test } from "vitest";
import type { Fault, Handling, History, Publish } from "./history.ts";
import { excerptOf, violationsOf } from "./history.ts";

function publish(id: string, changes: Partial<Publish> = {}): Publish {
  const [key = "k", seq = "0"] = id.split("/");
  return {
    id,
    key,
    seq: Number(seq),
    body: `body of ${id}`,
    notBefore: undefined,
    invokedAt: 1_000 + 10 * Number(seq),
    endedAt: 1_005 + 10 * Number(seq),
    outcome: "acked",
    ...changes,
  };
}

function handling(id: string, changes: Partial<Handling> = {}): Handling {
  const startedAt = 2_000 + 10 * Number(id.split("/")[1] ?? 0);
  return {
    id,
    group: "billing",
    instance: "one",
    attempt: 1,
    body: `body of ${id}`,
    startedAt,
    endedAt: startedAt + 5,
    outcome: "handled",
    ...changes,
  };
}

const killed: Fault = { what: "the broker was killed", from: 6_000, to: 7_000 };

/** Two keys; one message failed twice before it was handled, one died, one was said not to be sent, one is not known, one is delayed. */
const healthy: History = {
  groups: ["billing", "shipping"],
  ordered: true,
  settlement: "message",
  maxAttempts: 3,
  publishes: [
    publish("a/0"),
    publish("a/1"),
    publish("a/2"),
    publish("b/0"),
    publish("b/1", { outcome: "failed" }),
    publish("b/2", { outcome: "unknown" }),
    publish("b/3", { notBefore: 3_000 }),
    publish("b/4"),
  ],
  handlings: ["billing", "shipping"].flatMap((group) => [
    handling("a/0", { group }),
    handling("a/1", { group, outcome: "failed" }),
    handling("a/1", { group, outcome: "failed", attempt: 2, startedAt: 2_020, endedAt: 2_022 }),
    handling("a/1", { group, attempt: 3, startedAt: 2_030, endedAt: 2_032 }),
    handling("a/2", { group, startedAt: 2_040, endedAt: 2_041 }),
    ...[1, 2, 3].map((attempt) => handling("b/0", { group, attempt, outcome: "failed" })),
    handling("b/4", { group }),
    handling("b/3", { group, startedAt: 3_001, endedAt: 3_002 }),
  ]),
  deaths: ["billing", "shipping"].map((group) => ({ id: "b/0", group, attempts: 3, body: "body of b/0" })),
  faults: [killed],
};

const rulesOf = (history: History): readonly string[] => [...new Set(violationsOf(history).map(({ rule }) => rule))];

/** The healthy history with some of its handlings changed. */
function withHandlings(change: (handling: Handling) => Handling | undefined, ...more: readonly Handling[]): History {
  const handlings = healthy.handlings.map(change).filter((each) => each !== undefined);
  return { ...healthy, handlings: [...handlings, ...more] };
}

const same = (each: Handling): Handling => each;

test("a history of what may happen has no violations", () => {
  expect(violationsOf(healthy)).toEqual([]);
});

test("an accepted message that one group neither handled nor has among its dead letters is lost", () => {
  const lost = withHandlings((each) => (each.id === "a/2" && each.group === "shipping" ? undefined : each));
  expect(rulesOf(lost)).toEqual(["lost"]);
});

test("a message whose only handling did not count is lost", () => {
  const lost = withHandlings((each) => (each.id === "b/4" ? { ...each, outcome: "void" } : each));
  expect(rulesOf(lost)).toEqual(["lost"]);
});

test("a message that failed, was not handled and is not dead is lost", () => {
  expect(rulesOf({ ...healthy, deaths: healthy.deaths.slice(1) })).toEqual(["lost"]);
});

test("what was said for sure not to be sent must not come", () => {
  expect(rulesOf(withHandlings(same, handling("b/1")))).toEqual(["surfaced"]);
});

test("what nobody sent must not come, and nothing to a group that is none", () => {
  expect(rulesOf(withHandlings(same, handling("c/0")))).toEqual(["phantom"]);
  expect(rulesOf(withHandlings(same, handling("a/0", { group: "strangers" })))).toEqual(["phantom"]);
});

test("first handlings of a key in another order than its publishes are a disorder", () => {
  const swapped = withHandlings((each) =>
    each.id === "a/2" && each.group === "billing" ? { ...each, startedAt: 2_001, endedAt: 2_002 } : each,
  );
  expect(rulesOf(swapped)).toEqual(["order"]);
  expect(rulesOf({ ...swapped, ordered: false })).toEqual([]);
});

test("a message that is skipped and handled later is a disorder, also with others in between", () => {
  const skipped = withHandlings((each) =>
    each.id === "a/0" && each.group === "shipping" ? { ...each, startedAt: 2_900, endedAt: 2_901 } : each,
  );
  expect(rulesOf(skipped)).toEqual(["order"]);
});

test("a repetition of an earlier message is no disorder", () => {
  const again = handling("a/0", { startedAt: 4_500, endedAt: 4_501 });
  const late = withHandlings((each) => (each.id === "a/0" ? { ...each, endedAt: 2_015 } : each), again);
  const broken: Fault = { ...killed, from: 2_010, to: 5_000 };
  expect(rulesOf({ ...late, faults: [broken] })).toEqual([]);
});

test("an attempt beyond the policy is one too many, in a handling and in a dead letter", () => {
  expect(rulesOf(withHandlings((each) => (each.id === "a/2" ? { ...each, attempt: 4 } : each)))).toEqual(["attempts"]);
  expect(rulesOf({ ...healthy, deaths: healthy.deaths.map((death) => ({ ...death, attempts: 4 })) })).toEqual([
    "attempts",
  ]);
});

test("more failures than attempts need a cause, although each has a number that is allowed", () => {
  const again = handling("b/0", { outcome: "failed", attempt: 2, startedAt: 2_500, endedAt: 2_501 });
  expect(rulesOf(withHandlings(same, again))).toEqual(["attempts"]);
  expect(rulesOf({ ...withHandlings(same, again), faults: [{ ...killed, from: 2_400 }] })).toEqual([]);
});

test("a body that differs from what was published is told, in a handling and in a dead letter", () => {
  expect(rulesOf(withHandlings((each) => (each.id === "a/2" ? { ...each, body: "other" } : each)))).toEqual(["body"]);
  expect(rulesOf({ ...healthy, deaths: healthy.deaths.map((death) => ({ ...death, body: "other" })) })).toEqual([
    "body",
  ]);
});

test("a message that is handled again long before any fault has no cause to be", () => {
  const again = handling("a/0", { startedAt: 2_100, endedAt: 2_101 });
  expect(rulesOf(withHandlings(same, again))).toEqual(["duplicate"]);
});

test("a message that was handled and is dead as well ended twice", () => {
  const dead = { id: "a/2", group: "billing", attempts: 3, body: "body of a/2" };
  expect(rulesOf({ ...healthy, deaths: [...healthy.deaths, dead] })).toEqual(["duplicate"]);
});

test("a repetition is explained by a fault while it was handled, and by a publisher that did not learn the outcome", () => {
  const again = handling("a/0", { startedAt: 7_100, endedAt: 7_101 });
  expect(rulesOf({ ...withHandlings(same, again), faults: [{ ...killed, from: 2_001 }] })).toEqual([]);
  const unknown = withHandlings(same, handling("b/2"), handling("b/2", { startedAt: 2_300, endedAt: 2_301 }));
  expect(rulesOf(unknown)).toEqual([]);
});

test("a fault of one instance explains what that instance had, and nothing else", () => {
  const again = handling("a/0", { instance: "two", startedAt: 2_600, endedAt: 2_601 });
  const hurt = (instance: string): Fault => ({ what: "it was killed", from: 2_002, to: 2_003, instance });
  expect(rulesOf({ ...withHandlings(same, again), faults: [hurt("one")] })).toEqual([]);
  expect(rulesOf({ ...withHandlings(same, again), faults: [hurt("three")] })).toEqual(["duplicate"]);
});

test("where only a prefix is settled a later fault explains a repetition", () => {
  const again = handling("a/0", { startedAt: 7_100, endedAt: 7_101 });
  expect(rulesOf({ ...withHandlings(same, again), settlement: "prefix" })).toEqual([]);
  expect(rulesOf(withHandlings(same, again))).toEqual(["duplicate"]);
});

test("a delayed message that was handled before its time is early", () => {
  const early = withHandlings((each) => (each.id === "b/3" ? { ...each, startedAt: 2_999 } : each));
  expect(rulesOf(early)).toEqual(["early"]);
});

test("an excerpt shows what happened to the message", () => {
  const swapped = withHandlings((each) =>
    each.id === "a/2" && each.group === "billing" ? { ...each, startedAt: 2_001, endedAt: 2_002 } : each,
  );
  const excerpt = excerptOf(swapped, violationsOf(swapped));
  expect(excerpt).toContain("order: a/2 was handled 30 ms before a/1 in the group billing");
  expect(excerpt).toContain("publish a/2, acked after 5 ms");
  expect(excerpt).toContain("billing one attempt 3 at a/1: handled after 2 ms");
});
