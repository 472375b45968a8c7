import { accepted, failed } from "@posthorn/core/transport";
import type { Receipt } from "@posthorn/core/transport";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import type { OffsetCommit } from "./client.ts";
import { notSent } from "./errors.ts";
import { HeldSlot } from "./held-slot.ts";
import type { CommitOutcome, Membership } from "./membership.ts";
import { HeldWindow } from "./places.ts";
import type { PartitionAppend, Producer } from "./producer.ts";
import { createQuarantine } from "./quarantine.ts";
import { decodeNote, readStarts } from "./starts.ts";
import type { Entry } from "./window.ts";

const note = (tries: number): string => JSON.stringify({ by: "before", crashes: 5, alone: 0, tries });

/** A process that takes over where another one ended while it handled offset 0 for the `tries`th time. */
function setting(tries: number, receipt: Receipt = accepted) {
  const clock = createVirtualClock();
  const commits: OffsetCommit[] = [];
  const outcomes: CommitOutcome[] = [];
  const appends: PartitionAppend[] = [];
  const told: string[] = [];
  const slot = new HeldSlot({ kind: "messages", number: 0 });
  const starts = readStarts(decodeNote(note(tries)), "me", 0, 1);
  const window = new HeldWindow(slot, { topic: "orders", partition: 0 }, 0, starts);
  const value = Buffer.from("body");
  const headers = [["ce_id", Buffer.from("m-1")]] as const;
  window.append([{ topic: "orders", partition: 0, offset: 0n, timestamp: 0, key: null, value, headers }], 1);
  const entry = window.take() as Entry;
  const ending = new AbortController();
  const quarantine = createQuarantine({
    membership: {
      async commit(offsets: readonly OffsetCommit[]) {
        commits.push(...offsets);
        return [outcomes.shift() ?? "done"];
      },
    } as unknown as Membership,
    producer: {
      async send(given: readonly PartitionAppend[]) {
        appends.push(...given);
        return [receipt];
      },
    } as unknown as Producer,
    environment: { clock, random: () => 0 },
    instance: "me",
    deadLetterTopic: "orders.dlq",
    deliveryLimit: 3,
    ending: ending.signal,
    onFailed: (what) => void told.push(what),
  });
  return { clock, commits, outcomes, appends, told, slot, window, entry, quarantine };
}

test("what is begun alone is on record before it is handed out", async () => {
  const { quarantine, window, entry, commits } = setting(1);
  await expect(quarantine.begin(window, entry)).resolves.toBe(true);
  expect(commits).toEqual([
    { topic: "orders", partition: 0, offset: 0n, metadata: `{"by":"me","crashes":6,"alone":0,"tries":2}` },
  ]);
  expect(entry.state).toBe("pending");
});

test("it is not handed out before that, however often the group puts it off", async () => {
  const { quarantine, window, entry, commits, outcomes, clock } = setting(1);
  outcomes.push("later", "later");
  const begun = quarantine.begin(window, entry);
  await clock.advance(1_000);
  await clock.advance(1_000);
  await expect(begun).resolves.toBe(true);
  expect(commits).toHaveLength(3);
});

test("nor when its partition was lost meanwhile", async () => {
  const { quarantine, window, entry, outcomes, slot, clock } = setting(1);
  outcomes.push("lost");
  const begun = quarantine.begin(window, entry);
  slot.void(new Error("lost"));
  await clock.advance(100);
  await expect(begun).resolves.toBe(false);
});

test("what was begun as often as it may is dead-lettered as it came, and settled", async () => {
  const { quarantine, window, entry, appends, told } = setting(3);
  await expect(quarantine.begin(window, entry)).resolves.toBe(false);
  expect(appends).toMatchObject([{ topic: "orders.dlq", partition: 0, record: { value: Buffer.from("body") } }]);
  expect(String(appends[0]?.record.key)).toMatch(/./);
  expect(window.front).toBe(1);
  expect(told).toEqual([
    `The message at offset 0 of partition 0 of "orders" ended its process 3 times and was dead-lettered`,
  ]);
});

test("what cannot be dead-lettered now stays, and is tried again", async () => {
  const { quarantine, window, entry, told, clock } = setting(3, failed(notSent()));
  const begun = quarantine.begin(window, entry);
  await clock.advance(2_000);
  await expect(begun).resolves.toBe(false);
  expect([window.front, window.waiting]).toEqual([0, 1]);
  expect(told).toHaveLength(1);
});
