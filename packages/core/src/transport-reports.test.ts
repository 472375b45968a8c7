import { expect, test } from "vitest";
import type { TransportEvent } from "./transport.ts";
import { createReports } from "./transport-reports.ts";

function reporting() {
  const told: TransportEvent[] = [];
  const reports = createReports("Pigeon");
  reports.listen((event) => told.push(event));
  return { reports, told, details: () => told.map(({ name, detail }) => `${name}: ${detail}`) };
}

test("an outage is told once, and over when it is", () => {
  const { reports, details } = reporting();
  expect(reports.health()).toEqual({ status: "connecting" });
  reports.disconnected(new Error("never connected"));
  reports.connected("the loft");
  expect(reports.health()).toEqual({ status: "connected" });
  reports.disconnected(new Error("hawk"));
  reports.disconnected(new Error("hawk"));
  expect(reports.health()).toEqual({ status: "disconnected" });
  reports.connected("the loft");
  reports.disconnected(undefined);
  expect(details()).toEqual([
    "transport.connected: Connected to Pigeon at the loft.",
    "transport.disconnected: The connection to Pigeon was lost: hawk. Connecting again.",
    "transport.connected: Connected to Pigeon at the loft.",
    "transport.disconnected: The connection to Pigeon was lost. Connecting again.",
  ]);
});

test("publishers that are held up degrade it", () => {
  const { reports, details } = reporting();
  reports.connected("the loft");
  reports.blocked("fog");
  expect(reports.health()).toEqual({ status: "degraded", detail: "Pigeon takes no messages at present: fog" });
  reports.blocked(undefined);
  expect(reports.health()).toEqual({ status: "connected" });
  expect(details().slice(1)).toEqual([
    "transport.blocked: Pigeon takes no messages at present: fog.",
    "transport.unblocked: Pigeon takes messages again.",
  ]);
});

test("it is degraded as long as one of its consumers is lost", () => {
  const { reports, details } = reporting();
  reports.connected("the loft");
  const [one, other] = [reports.consumer("The consumer of one"), reports.consumer("The consumer of the other")];
  one.lost(new Error("asleep."));
  other.lost(new Error("away"));
  one.restored();
  expect(reports.health()).toEqual({ status: "degraded", detail: "A consumer is being restored." });
  other.ended();
  expect(reports.health()).toEqual({ status: "connected" });
  expect(details().slice(1)).toEqual([
    "transport.consumer-lost: The consumer of one was lost: asleep.",
    "transport.consumer-lost: The consumer of the other was lost: away.",
    "transport.consumer-restored: The consumer of one is back.",
  ]);
});

test("what fails is told with its error", () => {
  const { reports, told } = reporting();
  const error = new Error("no corn");
  reports.failed("It cannot fly", error);
  reports.failed("It has landed elsewhere", undefined);
  expect(told).toEqual([
    { name: "transport.failed", detail: "It cannot fly: no corn.", error },
    { name: "transport.failed", detail: "It has landed elsewhere.", error: undefined },
  ]);
});

test("what is closed stays closed", () => {
  const { reports } = reporting();
  reports.connected("the loft");
  reports.closed();
  reports.connected("the loft");
  expect(reports.health()).toEqual({ status: "closed" });
});
