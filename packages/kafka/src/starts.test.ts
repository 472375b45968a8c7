import { expect, test } from "vitest";
import { begin, decodeNote, encodeNote, isSuspect, noteFor, readStarts } from "./starts.ts";
import { PartitionWindow } from "./window.ts";

const windowAt = (position: number): PartitionWindow => new PartitionWindow("orders", 0, position);

/** A process that takes the partition over at the offset, and what it leaves there. */
function takeOver(note: string, instance: string, from: number, end: number): ReturnType<typeof readStarts> {
  return readStarts(decodeNote(note), instance, from, end);
}

test("whoever comes first, or after one who left in good order, suspects nobody", () => {
  const starts = takeOver("", "a", 0, 10);
  expect(isSuspect(starts, windowAt(0))).toBe(false);
  expect(noteFor(starts, "a", 0)).toBe(`{"by":"a"}`);
});

test("after two crashes at one offset all that lies there is suspect, up to the end of that moment", () => {
  let note = noteFor(takeOver("", "a", 5, 20), "a", 5);
  note = noteFor(takeOver(note, "b", 5, 20), "b", 5);
  expect(note).toBe(`{"by":"b","crashes":1}`);
  const starts = takeOver(note, "c", 5, 20);
  expect(isSuspect(starts, windowAt(5))).toBe(true);
  expect(isSuspect(starts, windowAt(19))).toBe(true);
  expect(isSuspect(starts, windowAt(20))).toBe(false);
});

test("who has come further has not crashed there", () => {
  const first = takeOver("", "a", 5, 20);
  const second = takeOver(noteFor(first, "a", 7), "b", 7, 20);
  expect(second.crashes).toBe(1);
  expect(noteFor(second, "b", 9)).toBe(`{"by":"b"}`);
  expect(takeOver(noteFor(second, "b", 9), "c", 9, 20).suspectUntil).toBe(9);
});

test("the same process finding its own name, after it lost its place for a while, is no crash", () => {
  const note = noteFor(takeOver("", "a", 5, 20), "a", 5);
  expect(takeOver(note, "a", 5, 20).crashes).toBe(0);
});

test("a message that is begun alone is counted over the crashes that it causes, and no other one is", () => {
  let note = encodeNote({ by: "b", crashes: 1, alone: undefined, tries: 0 });
  for (const [index, instance] of ["c", "d", "e"].entries()) {
    const starts = takeOver(note, instance, 5, 20);
    expect(begin(starts, 5)).toBe(index + 1);
    note = noteFor(starts, instance, 5);
  }
  expect(note).toBe(`{"by":"e","crashes":4,"alone":5,"tries":3}`);
  const starts = takeOver(note, "f", 5, 20);
  expect(begin(starts, 6)).toBe(1);
  expect(noteFor(starts, "f", 6)).toBe(`{"by":"f","crashes":5,"alone":6,"tries":1}`);
});

test("beyond what was suspect everything is forgotten", () => {
  const starts = takeOver(encodeNote({ by: "b", crashes: 4, alone: 5, tries: 3 }), "c", 5, 8);
  begin(starts, 5);
  expect(noteFor(starts, "c", 8)).toBe(`{"by":"c"}`);
});

test("a note that is not ours says nothing", () => {
  for (const text of ["", "null", "[]", "{", `"x"`, "{}", `{"by":1}`]) expect(decodeNote(text)).toBeUndefined();
  expect(decodeNote(`{"by":"a","crashes":"many","tries":-1}`)).toEqual({
    by: "a",
    crashes: 0,
    alone: undefined,
    tries: 0,
  });
});
