import { expect, test } from "vitest";
import { aMessage } from "./fake-transport.fixture.ts";
import type { Verdict, WalkOptions } from "./transport.ts";
import type { WaitingMessages } from "./walk.ts";
import { walkThrough } from "./walk.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Messages 0, 1, … that wait, and what was said of them. */
function line(count: number, breaksAt = Infinity) {
  const said: string[] = [];
  let next = 0;
  let finished = 0;
  const waiting: WaitingMessages = {
    async next() {
      if (next === breaksAt) throw new TypeError("it breaks");
      if (next === count) return undefined;
      const id = String(next++);
      return {
        message: aMessage({ id }),
        settle: (remove) => void said.push(remove ? `-${id}` : id),
      };
    },
    async finish() {
      finished++;
    },
  };
  return {
    said,
    finished: () => finished,
    walk: (
      visit: (id: string) => Verdict | Promise<Verdict>,
      options: Partial<WalkOptions> = {},
      end = new AbortController().signal,
    ) => walkThrough(waiting, async ({ id }) => visit(id), { limit: 100, maxPending: 1, ...options }, end),
  };
}

test("each is visited once, and what is said of it counts", async () => {
  const { walk, said, finished } = line(5);
  await walk((id) => (id === "3" ? "remove" : "keep"));
  expect(said).toEqual(["0", "1", "2", "-3", "4"]);
  expect(finished()).toBe(1);
});

test("it ends at its limit, and where it is told to stop", async () => {
  const limited = line(5);
  await limited.walk(() => "remove", { limit: 2 });
  expect(limited.said).toEqual(["-0", "-1"]);
  const stopped = line(5);
  await stopped.walk((id) => (id === "2" ? "stop" : "remove"));
  expect(stopped.said).toEqual(["-0", "-1", "2"]);
});

test("as many visits are pending as allowed, and no more", async () => {
  const { walk, said } = line(10);
  let pending = 0;
  const most: number[] = [];
  await walk(
    async (): Promise<Verdict> => {
      most.push(++pending);
      await turn();
      pending--;
      return "remove";
    },
    { maxPending: 3 },
  );
  expect(Math.max(...most)).toBe(3);
  expect(said).toHaveLength(10);
});

test("a visit that fails is the last one that is begun; those that are pending still count", async () => {
  const { walk, said, finished } = line(10);
  const failure = new RangeError("enough");
  const visited: string[] = [];
  const walked = walk(
    async (id): Promise<Verdict> => {
      visited.push(id);
      if (id === "1") throw failure;
      await turn();
      await turn();
      return "remove";
    },
    { maxPending: 3 },
  );
  await expect(walked).rejects.toBe(failure);
  expect(visited).toEqual(["0", "1", "2"]);
  expect(said).toEqual(["1", "-0", "-2"]);
  expect(finished()).toBe(1);
});

test("what was being fetched when a visit failed is not visited", async () => {
  const { walk } = line(10);
  const visited: string[] = [];
  const walked = walk(
    (id) => {
      visited.push(id);
      throw new Error("no");
    },
    { maxPending: 5 },
  );
  await expect(walked).rejects.toThrow("no");
  expect(visited).toEqual(["0"]);
});

test("what waits and cannot be had ends it when those that are pending have ended", async () => {
  const { walk, said, finished } = line(5, 2);
  await expect(walk((): Promise<Verdict> => turn().then(() => "remove"), { maxPending: 5 })).rejects.toThrow(
    "it breaks",
  );
  expect(said).toEqual(["-0", "-1"]);
  expect(finished()).toBe(1);
});

test("an end from outside is one at once, and what is said later does not count", async () => {
  const { walk, said, finished } = line(5);
  const end = new AbortController();
  const gate = Promise.withResolvers<Verdict>();
  let visits = 0;
  const walked = walk(
    () => {
      visits++;
      return gate.promise;
    },
    { maxPending: 2 },
    end.signal,
  );
  await turn();
  end.abort(new Error("the end"));
  await expect(walked).rejects.toThrow("the end");
  gate.resolve("remove");
  await turn();
  expect([visits, said, finished()]).toEqual([2, [], 0]);
});
