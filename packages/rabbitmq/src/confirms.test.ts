import type { Message, Receipt } from "@posthorn/core/transport";
import { accepted, failed, PosthornError } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import type { Batch } from "./confirms.ts";
import { createConfirms } from "./confirms.ts";

const refused: Receipt = failed(new PosthornError("REJECTED", "no"));

function batchOf(ids: readonly string[]): Batch & { done: number } {
  const messages = ids.map((id) => ({ id }) as Message);
  return {
    messages,
    receipts: ids.map(() => undefined),
    tried: 0,
    unconfirmed: 0,
    done: 0,
    settled() {
      this.done++;
    },
  };
}

function published(...batches: Batch[]) {
  const confirms = createConfirms();
  for (const batch of batches) batch.messages.forEach((_, index) => confirms.published(batch, index, "q"));
  return confirms;
}

test("confirms come singly, in any order, or up to a tag, and across batches", () => {
  const first = batchOf(["a", "b", "c"]);
  const second = batchOf(["d", "e"]);
  const confirms = published(first, second);
  confirms.settle(2, false, refused);
  confirms.settle(4, true, accepted);
  expect(first.receipts).toEqual([accepted, refused, accepted]);
  expect([first.done, second.done]).toEqual([1, 0]);
  confirms.settle(5, false, accepted);
  expect(second.receipts).toEqual([accepted, accepted]);
  expect([first.done, second.done, confirms.size]).toEqual([1, 1, 0]);
});

test("tags go on counting when the window has been emptied", () => {
  const confirms = createConfirms();
  for (let tag = 1; tag <= 10_000; tag++) {
    const batch = batchOf([String(tag)]);
    confirms.published(batch, 0, "q");
    confirms.settle(tag, false, accepted);
    expect(batch.receipts).toEqual([accepted]);
  }
});

test("what the broker gave back stays refused when it is confirmed afterwards", () => {
  const here = batchOf(["same", "same"]);
  const gone = batchOf(["same", "other"]);
  const confirms = createConfirms();
  here.messages.forEach((_, index) => confirms.published(here, index, "here"));
  gone.messages.forEach((_, index) => confirms.published(gone, index, "gone"));
  confirms.returned("same", "gone", refused);
  confirms.settle(4, true, accepted);
  expect(here.receipts).toEqual([accepted, accepted]);
  expect(gone.receipts).toEqual([refused, accepted]);
});

test("two equal messages that are given back are two", () => {
  const batch = batchOf(["same", "same"]);
  const confirms = published(batch);
  confirms.returned("same", "q", refused);
  confirms.returned("same", "q", refused);
  expect(batch.receipts).toEqual([refused, refused]);
});

test("a closed channel gives every open message a receipt, and says which was the last", () => {
  const batch = batchOf(["a", "b", "c"]);
  const confirms = published(batch);
  confirms.settle(1, false, accepted);
  confirms.fail((_, isLast) => (isLast ? refused : accepted));
  expect(batch.receipts).toEqual([accepted, accepted, refused]);
  expect([batch.done, confirms.size, confirms.confirmedAny]).toEqual([1, 0, true]);
});
