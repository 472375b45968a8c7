import { setImmediate as turn } from "node:timers/promises";
import { createVirtualClock } from "@posthorn/core/testing";
import { expect, test } from "vitest";
import { createSettlements } from "./settlements.ts";

function tracker(failing = false) {
  const frames: string[] = [];
  const write = (frame: string): void => {
    if (failing) throw new Error("Channel closed");
    frames.push(frame);
  };
  const clock = createVirtualClock();
  const settlements = createSettlements(
    {
      ack: (tag, upTo) => write(`ack ${tag}${upTo ? "+" : ""}`),
      giveBack: (tag) => write(`nack ${tag}`),
    },
    clock,
  );
  const add = (count: number, from = 1): void => {
    for (let tag = from; tag < from + count; tag++) settlements.add(tag);
  };
  return { frames, settlements, add, clock };
}

test("an unbroken run is one frame, at the end of the turn", async () => {
  const { frames, settlements, add } = tracker();
  add(5);
  for (const tag of [3, 1, 2, 5, 4]) settlements.accept(tag);
  expect(frames).toEqual([]);
  await turn();
  expect(frames).toEqual(["ack 5+"]);
  expect(settlements.open).toBe(0);
});

test("one alone is acknowledged alone", async () => {
  const { frames, settlements, add } = tracker();
  add(2);
  settlements.accept(1);
  await turn();
  expect(frames).toEqual(["ack 1"]);
});

test("a slow one holds up nobody, and is not swept along", async () => {
  const { frames, settlements, add } = tracker();
  add(6);
  for (const tag of [1, 2, 4, 6]) settlements.accept(tag);
  await turn();
  expect(frames).toEqual(["ack 2+", "ack 4", "ack 6"]);
  settlements.accept(3);
  settlements.accept(5);
  await turn();
  expect(frames.slice(3)).toEqual(["ack 5+"]);
});

test("what was given back is not acknowledged", async () => {
  const { frames, settlements, add } = tracker();
  add(3);
  settlements.accept(1);
  settlements.release(2);
  settlements.accept(3);
  await turn();
  expect(frames).toEqual(["nack 2", "ack 3+"]);
});

test("a second settlement, or one of an unknown tag, is nothing", async () => {
  const { frames, settlements, add } = tracker();
  add(1);
  settlements.accept(1);
  settlements.release(1);
  await turn();
  settlements.accept(1);
  settlements.release(1);
  settlements.accept(9);
  await turn();
  expect(frames).toEqual(["ack 1"]);
});

test("many in one turn are not gathered without bound", () => {
  const { frames, settlements, add } = tracker();
  add(300);
  for (let tag = 1; tag <= 300; tag++) settlements.accept(tag);
  expect(frames).toEqual(["ack 128+", "ack 256+"]);
  settlements.flush();
  expect(frames.at(-1)).toBe("ack 300+");
});

test("after the channel is gone nothing is said and nothing thrown", async () => {
  const gone = tracker(true);
  gone.add(3);
  gone.settlements.accept(1);
  gone.settlements.flush();
  gone.settlements.release(2);
  expect(gone.settlements.open).toBe(0);
  const { frames, settlements, add } = tracker();
  add(2);
  settlements.accept(1);
  settlements.discard();
  settlements.accept(2);
  settlements.add(3);
  await turn();
  expect(frames).toEqual([]);
  expect(settlements.open).toBe(0);
});

test("a burst is more than the queue takes at once, until it has had time to", async () => {
  const { settlements, add, clock } = tracker();
  add(60);
  // All but every other: none of them go together.
  for (let tag = 2; tag <= 32; tag += 2) settlements.accept(tag);
  settlements.flush();
  expect(settlements.bursting).toBe(false);
  await clock.advance(200);
  for (let tag = 34; tag <= 40; tag += 2) settlements.accept(tag);
  settlements.flush();
  expect(settlements.bursting).toBe(true);
  await clock.advance(250);
  expect(settlements.bursting).toBe(false);
  settlements.accept(42);
  settlements.flush();
  expect(settlements.bursting).toBe(false);
});
