import { describe, expect, test } from "vitest";
import type { ForeignParts } from "./foreign.ts";
import { adoptTrace, readForeign } from "./foreign.ts";

const body = new TextEncoder().encode("{}");

function read(attributes: Record<string, string>, more: Partial<ForeignParts> = {}) {
  return readForeign({
    attributes: { ...attributes },
    attributePrefix: "ce_",
    contentType: "application/json",
    type: "placed",
    headers: {},
    body,
    id: "broker-1",
    time: 1_000,
    ...more,
  });
}

const event = { specversion: "1.0", id: "e-1", type: "shipped", source: "/shop" };

describe("a CloudEvent", () => {
  test("is read by its attributes; its time is the broker's where it has none", () => {
    const { message, defect } = read({ ...event, partitionkey: "k" });
    expect(message).toMatchObject({ id: "e-1", type: "shipped", source: "/shop", key: "k", time: 1_000, body });
    expect(defect).toBeUndefined();
  });

  test.each([
    ["of another version", { ...event, specversion: "2.0" }, /specversion/],
    ["whose media types contradict each other", { ...event, datacontenttype: "text/plain" }, /content-type/],
    ["without an id", { specversion: "1.0", type: "shipped" }, /no id/],
    ["with a time that is none", { ...event, time: "yesterday" }, /time/],
  ])("%s has a defect, and all that can be read", (_, attributes, defect) => {
    const found = read(attributes);
    expect(found.defect).toMatch(defect);
    expect(found.message).toMatchObject({ type: "shipped", time: 1_000, body });
    expect(found.message.id).toBe("id" in attributes ? "e-1" : "broker-1");
  });
});

describe("anything else", () => {
  test("has the id that its broker gave it, or that of its header", () => {
    expect(read({}).message).toMatchObject({ id: "broker-1", type: "placed", version: 1, attempt: 1, time: 1_000 });
    expect(read({}, { headers: { id: "own" } }).message.id).toBe("own");
  });

  test("keeps attributes that mean nothing without an event as headers, and its key and trace", () => {
    const { message } = read({ subject: "x", partitionkey: "k", traceparent: "00-1" });
    expect(message).toMatchObject({ key: "k", traceparent: "00-1", headers: { ce_subject: "x" } });
  });

  test.each([Number.NaN, -1, 0.5, 9e15])("has no time where its broker says %s", (time) => {
    expect(read({}, { time }).message.time).toBe(0);
    expect(read(event, { time }).message.time).toBe(0);
  });
});

test("trace context beside an event counts where it has none of its own", () => {
  const own: Record<string, string> = { traceparent: "own", baggage: "own" };
  adoptTrace(own, { traceparent: "beside", tracestate: "beside", baggage: "beside" });
  expect(own).toEqual({ traceparent: "own", baggage: "own" });
  const none: Record<string, string> = {};
  adoptTrace(none, { traceparent: "beside", tracestate: "beside", baggage: "beside" });
  expect(none).toEqual({ traceparent: "beside", tracestate: "beside", baggage: "beside" });
});
