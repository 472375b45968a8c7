import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test, vi } from "vitest";
import type { OffsetCommit } from "./client.ts";
import type { Committable } from "./commits.ts";
import { createCommits } from "./commits.ts";
import type { CommitOutcome } from "./membership.ts";

const partition = (front: number): Committable & { front: number } => ({
  topic: "orders",
  partition: 0,
  front,
  committed: 0,
  stale: false,
});

function committing(windows: readonly Committable[], outcomes: readonly (readonly CommitOutcome[])[] = []) {
  const clock = createVirtualClock();
  const sent: (readonly OffsetCommit[])[] = [];
  const answers: (() => void)[] = [];
  const failed: unknown[] = [];
  const commits = createCommits({
    membership: {
      commit: (offsets) =>
        new Promise((resolve) => {
          sent.push(offsets);
          const outcome = outcomes[sent.length - 1] ?? ["done"];
          answers.push(() => resolve(offsets.map((_, index) => outcome[index] ?? "done")));
        }),
    },
    environment: { clock, random: () => 0 },
    windows: () => windows,
    note: () => "note",
    onFailed: (error) => failed.push(error),
  });
  return {
    clock,
    windows,
    commits,
    sent,
    failed,
    answer: () => answers.shift()?.(),
    offsets: () => sent.map((each) => each.map(({ offset }) => Number(offset))),
  };
}

test("one commit is under way at a time, and what is settled meanwhile goes with the next", async () => {
  const window = partition(3);
  const { commits, offsets, answer, clock } = committing([window]);
  commits.wake();
  commits.wake();
  await vi.waitFor(() => expect(offsets()).toEqual([[3]]));
  window.front = 5;
  commits.wake();
  window.front = 8;
  answer();
  await vi.waitFor(() => expect(window.committed).toBe(3));
  await vi.waitFor(async () => {
    await clock.advance(20);
    expect(offsets()).toEqual([[3], [8]]);
  });
});

test("what the group does not take now is tried again", async () => {
  const window = partition(3);
  const { commits, offsets, answer, clock } = committing([window], [["later"]]);
  commits.wake();
  await vi.waitFor(() => expect(offsets()).toEqual([[3]]));
  answer();
  await vi.waitFor(async () => {
    await clock.advance(100);
    expect(offsets()).toEqual([[3], [3]]);
  });
  answer();
  await vi.waitFor(() => expect(window.committed).toBe(3));
});

test("a flush resolves when what was settled is on record", async () => {
  const window = partition(3);
  const { commits, answer, offsets, windows } = committing([window]);
  let flushed = false;
  const done = commits.flush(windows, new AbortController().signal).then(() => (flushed = true));
  await vi.waitFor(() => expect(offsets()).toEqual([[3]]));
  expect(flushed).toBe(false);
  answer();
  await done;
  await commits.flush(windows, new AbortController().signal);
});

test("a flush that is given up resolves at once, as does one after the end", async () => {
  const { commits, windows } = committing([partition(3)]);
  await expect(commits.flush(windows, AbortSignal.abort())).resolves.toBeUndefined();
  commits.end();
  await expect(commits.flush(windows, new AbortController().signal)).resolves.toBeUndefined();
});

test("a stale note is written although the front has not moved", async () => {
  const window = { ...partition(0), stale: true };
  const { commits, sent, answer } = committing([window]);
  commits.wake();
  await vi.waitFor(() => expect(sent).toEqual([[{ topic: "orders", partition: 0, offset: 0n, metadata: "note" }]]));
  answer();
  await vi.waitFor(() => expect(window.stale).toBe(false));
});

test("a partition that is refused holds up no other; it is told, and tried again later", async () => {
  const [first, second] = [partition(3), { ...partition(5), partition: 1 }];
  const refusal = new Error("The account may not.");
  const { commits, offsets, answer, failed, clock } = committing([first, second], [[refusal, "done"]]);
  commits.wake();
  await vi.waitFor(() => expect(offsets()).toEqual([[3, 5]]));
  answer();
  await vi.waitFor(() => expect(second.committed).toBe(5));
  expect(first.committed).toBe(0);
  expect(failed).toEqual([refusal]);
  await clock.advance(1_000);
  second.front = 6;
  commits.wake();
  await vi.waitFor(() => expect(offsets()).toEqual([[3, 5], [6]]));
  answer();
  await vi.waitFor(async () => {
    await clock.advance(5_000);
    expect(offsets().at(-1)).toEqual([3]);
  });
});

test("a flush does not wait for what is refused", async () => {
  const window = partition(3);
  const { commits, answer, offsets, windows } = committing([window], [[new Error("The account may not.")]]);
  const done = commits.flush(windows, new AbortController().signal);
  await vi.waitFor(() => expect(offsets()).toEqual([[3]]));
  answer();
  await done;
  expect(window.committed).toBe(0);
});
