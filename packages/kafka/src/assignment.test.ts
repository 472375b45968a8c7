import { expect, test } from "vitest";
import type { Claimant, Slot } from "./assignment.ts";
import { assignSlots, decodeClaim, encodeClaim, slotId } from "./assignment.ts";

const messages = (...numbers: number[]): Slot[] => numbers.map((number) => ({ kind: "messages", number }));
const member = (id: string, held: readonly Slot[] = [], generation = 1, leaving = false): Claimant => ({
  id,
  claim: { held, generation, leaving },
});
const result = (members: readonly Claimant[], count: number, delays = 0): Record<string, string[]> =>
  Object.fromEntries(
    Array.from(assignSlots(members, { messages: count, delays }), ([id, slots]) => [id, slots.map(slotId)]),
  );

test("the first member has everything", () => {
  expect(result([member("a")], 2, 1)).toEqual({ a: ["messages:0", "messages:1", "delays:0"] });
});

test("a second member gets nothing that the first one holds: it must be given up first", () => {
  const first = member("a", messages(0, 1, 2, 3));
  expect(result([first, member("b")], 4)).toEqual({ a: ["messages:0", "messages:1"], b: [] });
});

test("what was given up goes to the one who lacks it", () => {
  expect(result([member("a", messages(0, 1)), member("b")], 4)).toEqual({
    a: ["messages:0", "messages:1"],
    b: ["messages:2", "messages:3"],
  });
});

test("what a crashed member held is free at once", () => {
  expect(result([member("a", messages(0)), member("b", messages(2))], 3)).toEqual({
    a: ["messages:0", "messages:1"],
    b: ["messages:2"],
  });
});

test("who leaves keeps nothing, and what it still works on is given to nobody", () => {
  expect(result([member("a", messages(0), 1, true), member("b", messages(1))], 3)).toEqual({
    a: [],
    b: ["messages:1", "messages:2"],
  });
  expect(result([member("a", messages(0), 1, true)], 3)).toEqual({ a: [] });
});

test("of two who claim the same the younger claim holds", () => {
  expect(result([member("a", messages(0), 3), member("b", messages(0), 5)], 2)).toEqual({
    a: ["messages:1"],
    b: ["messages:0"],
  });
});

test("more members than slots: some have none, and nothing moves", () => {
  const held = [member("a", messages(0)), member("b", messages(1)), member("c")];
  expect(result(held, 2)).toEqual({ a: ["messages:0"], b: ["messages:1"], c: [] });
});

test("any history of joining and leaving ends with every slot held once, evenly", () => {
  let seed = 7;
  const random = (below: number): number => ((seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 16) % below;
  for (let round = 0; round < 200; round++) {
    const count = 1 + random(12);
    let holding = new Map<string, Slot[]>();
    for (let step = 0; step < 12; step++) {
      if (random(3) === 0 && holding.size > 1) holding.delete([...holding.keys()][random(holding.size)] ?? "");
      else holding.set(`m${round}-${step}`, []);
      // Until nobody has anything to give up.
      for (let generation = 1; ; generation++) {
        const members = Array.from(holding, ([id, held]) => member(id, held, generation));
        const next = assignSlots(members, { messages: count, delays: 0 });
        const owners = [...next.values()].flat().map(slotId);
        expect(new Set(owners).size).toBe(owners.length);
        const settled = members.every(({ id, claim }) =>
          claim.held.every((slot) => next.get(id)?.some((each) => slotId(each) === slotId(slot))),
        );
        holding = new Map(Array.from(next, ([id, slots]) => [id, [...slots]]));
        if (settled && owners.length === count) break;
        expect(generation).toBeLessThan(4);
      }
      const sizes = [...holding.values()].map((slots) => slots.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }
  }
});

test("a claim survives its way, and what is no claim claims nothing", () => {
  const claim = { held: [...messages(3, 1), { kind: "delays", number: 2 } as const], generation: 7, leaving: true };
  expect(decodeClaim(encodeClaim(claim))).toEqual(claim);
  for (const text of ["", "null", "[]", '{"messages":"x","delays":[-1,0.5]}'])
    expect(decodeClaim(text)).toEqual({ held: [], generation: -1, leaving: false });
});
