import { expect, test } from "vitest";
import { poll } from "./poll.ts";

test("asks until there is an answer; an error counts as not yet", async () => {
  let asked = 0;
  const answer = await poll(
    "the third time",
    async () => {
      asked++;
      if (asked === 1) throw new Error("too early");
      return asked === 3 ? "here" : undefined;
    },
    { deadlineMs: 5_000 },
  );
  expect([answer, asked]).toEqual(["here", 3]);
});

test("an answer that is false is an answer", async () => {
  expect(await poll("anything", async () => false, { deadlineMs: 0 })).toBe(false);
});

test("a deadline tells what was waited for, and the last error", async () => {
  const cause = new Error("refused");
  const vain = poll("Godot", () => Promise.reject(cause), { deadlineMs: 0 });
  await expect(vain).rejects.toMatchObject({ message: expect.stringContaining("Godot"), cause });
});

test("an aborted signal ends the wait with its reason", async () => {
  const ending = new AbortController();
  const vain = poll("Godot", async () => undefined, { deadlineMs: 60_000, signal: ending.signal });
  ending.abort(new Error("enough"));
  await expect(vain).rejects.toThrow("enough");
});
