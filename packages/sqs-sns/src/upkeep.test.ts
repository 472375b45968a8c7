import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import { noAnswer, refusal } from "./aws.fixture.ts";
import { unroutable } from "./errors.ts";
import { createUpkeep } from "./upkeep.ts";

function keeping(found: readonly (Error | undefined)[], restored: readonly (boolean | Error)[] = []) {
  const clock = createVirtualClock();
  const calls: string[] = [];
  const told: string[] = [];
  const finds = [...found];
  const restores = [...restored];
  const upkeep = createUpkeep({
    reach: { ready: async () => void calls.push("ready") },
    environment: { clock, random: () => 0 },
    ending: new AbortController().signal,
    what: 'queue "orders"',
    async find() {
      calls.push("find");
      const failure = finds.shift();
      if (failure !== undefined) throw failure;
    },
    async restore() {
      calls.push("restore");
      const result = restores.shift() ?? false;
      if (result instanceof Error) throw result;
      return result;
    },
    onLost: (error) => told.push(`lost: ${error.message}`),
    onRestored: () => told.push("restored"),
    onFailed: (detail) => told.push(detail),
  });
  return { clock, calls, told, upkeep };
}

const never = new AbortController().signal;

test("a start makes what is missing, where it may, and waits until it is found", async () => {
  const { upkeep, clock, calls } = keeping([unroutable("queue"), unroutable("queue")], [true, true]);
  const starting = upkeep.start(never);
  await clock.advance(1_000);
  await starting;
  expect(calls.filter((call) => call !== "ready")).toEqual(["find", "restore", "find", "restore", "find"]);
});

test("a start asks again when there was no answer, and does not when the answer is no", async () => {
  const passing = keeping([noAnswer(), refusal("ServiceUnavailable", 503)]);
  const starting = passing.upkeep.start(never);
  await passing.clock.advance(1_000);
  await starting;
  expect(passing.calls).not.toContain("restore");
  const no = { code: "ACCESS_REFUSED" };
  await expect(keeping([refusal("AccessDenied", 403)]).upkeep.start(never)).rejects.toMatchObject(no);
  const restoring = keeping([unroutable("queue")], [refusal("AccessDenied", 403)]);
  await expect(restoring.upkeep.start(never)).rejects.toMatchObject(no);
});

test("an outage is waited out, without a word", async () => {
  const { upkeep, clock, calls, told } = keeping([]);
  for (let failure = 0; failure < 8; failure++) {
    const recovering = upkeep.recover(noAnswer());
    await clock.advance(5_000);
    await recovering;
  }
  expect(calls).toEqual(Array.from({ length: 8 }, () => "ready"));
  expect(told).toEqual([]);
});

test("each time it fails anew is told anew", async () => {
  const { upkeep, clock, told } = keeping([]);
  for (const works of [false, true, false]) {
    const recovering = upkeep.recover(refusal("AccessDenied", 403));
    await clock.advance(5_000);
    await recovering;
    if (works) upkeep.worked();
  }
  expect(told).toEqual(Array.from({ length: 2 }, () => 'Nothing can be received from queue "orders"'));
});

test("a queue that cannot be made is told once; it is lost until it answers", async () => {
  const forbidden = refusal("AccessDenied", 403);
  const { upkeep, clock, told } = keeping([], [forbidden, forbidden]);
  for (let failure = 0; failure < 3; failure++) {
    const recovering = upkeep.recover(refusal("QueueDoesNotExist"));
    await clock.advance(5_000);
    await recovering;
  }
  expect(upkeep.lost).toBe(true);
  expect(told).toEqual([
    'lost: There is no queue "orders" on AWS.',
    'There is no queue "orders", and it cannot be made',
  ]);
  upkeep.worked();
  expect(upkeep.lost).toBe(false);
  expect(told.at(-1)).toBe("restored");
});
