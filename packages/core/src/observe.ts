import type { ChannelInfo } from "./address.ts";
import type { Clock } from "./clock.ts";
import { messageOf } from "./errors.ts";
import type { TransportEvent } from "./transport.ts";
import { isThenable } from "./validation.ts";

/** Where and what a message is, in an event. Never its payload. */
export interface MessageFacts {
  readonly id: string;
  readonly type: string;
  readonly channel: ChannelInfo;
  readonly group: string;
  readonly attempt: number;
}

/** Everything that a bus tells of itself. For logs, counters and tests. */
export type BusEvent =
  | {
      readonly name: "message.sent";
      readonly level: "debug";
      readonly id: string;
      readonly type: string;
      readonly channel: ChannelInfo;
    }
  | {
      readonly name: "message.handled";
      readonly level: "debug";
      readonly message: MessageFacts;
      readonly durationMs: number;
    }
  | { readonly name: "message.ignored"; readonly level: "debug"; readonly message: MessageFacts }
  | {
      readonly name: "message.discarded";
      readonly level: "info";
      readonly message: MessageFacts;
      readonly reason: string;
    }
  | {
      readonly name: "message.failed";
      readonly level: "info";
      readonly message: MessageFacts;
      readonly error: unknown;
      readonly retryInMs: number;
      /** Where it waits: its lease kept (`process`), or sent to its group again (`broker`). */
      readonly waits: "process" | "broker";
    }
  | {
      readonly name: "message.early";
      readonly level: "debug";
      readonly message: MessageFacts;
      readonly dueInMs: number;
    }
  | {
      readonly name: "message.dead-lettered";
      readonly level: "warn";
      readonly message: MessageFacts;
      readonly reason: string;
      readonly error: unknown;
    }
  | {
      readonly name: "message.released";
      readonly level: "info";
      readonly message: MessageFacts;
      readonly reason: string;
    }
  | {
      readonly name: "message.overdue";
      readonly level: "error";
      readonly message: MessageFacts;
      readonly maxHandlingMs: number;
    }
  | {
      readonly name: "message.handover-failed";
      readonly level: "error";
      readonly message: MessageFacts;
      /** What the broker does not take: its next attempt, or its dead letter. */
      readonly to: "inlet" | "dead-letters";
      readonly error: unknown;
      readonly retryInMs: number;
    }
  | {
      readonly name: "dead-letter.redriven";
      readonly level: "info";
      readonly id: string;
      readonly type: string;
      readonly channel: ChannelInfo;
      readonly group: string;
      readonly redriveCount: number;
    }
  | { readonly name: "bus.failed"; readonly level: "error"; readonly detail: string; readonly error: unknown }
  | {
      readonly name: "publish.retried";
      readonly level: "info";
      readonly address: string;
      readonly messages: number;
      readonly error: unknown;
      readonly retryInMs: number;
    }
  | (TransportEvent & { readonly level: "info" | "warn" | "error" });

/** Takes an event. What it throws is reported to the console and goes no further. */
export type Observe = (event: BusEvent) => void;

/** Lines about events of one name within {@link quietMs}; what is over is counted. */
const mostLines = 10;
const quietMs = 10_000;

/**
 * The default: warnings and errors on the console, a line each. Of one kind at most ten within ten seconds: the next line
 * after that says how many were left out.
 */
export function observeOnConsole(clock: Clock): Observe {
  const kinds = new Map<BusEvent["name"], { since: number; lines: number; left: number }>();
  return (event) => {
    if (event.level === "debug" || event.level === "info") return;
    const now = clock.monotonic();
    let kind = kinds.get(event.name);
    if (kind === undefined || now - kind.since >= quietMs) {
      kind = { since: now, lines: 0, left: kind?.left ?? 0 };
      kinds.set(event.name, kind);
    }
    if (kind.lines === mostLines) {
      kind.left++;
      return;
    }
    const more = kind.left === 0 ? "" : ` (and ${kind.left} more like it before)`;
    kind.lines++;
    kind.left = 0;
    const line = `posthorn ${event.name}: ${oneLine(describeEvent(event))}${more}`;
    if (event.level === "error") console.error(line);
    else console.warn(line);
  };
}

function describeEvent(event: BusEvent): string {
  if ("detail" in event) return event.detail;
  const facts =
    "message" in event
      ? `${event.message.type} ${event.message.id} on ${event.message.channel.name} for ${event.message.group}, attempt ${event.message.attempt}`
      : "";
  const reason = "reason" in event ? ` ${event.reason}` : "";
  const error = "error" in event && event.error !== undefined ? `: ${messageOf(event.error)}` : "";
  return `${facts}${reason}${error}`;
}

/** An observer whose own failures go no further, also when it is asynchronous. */
export function guardObserver(observe: Observe): Observe {
  const failed = (name: string, error: unknown): void =>
    console.error(`posthorn: the observer failed on ${name}: ${oneLine(messageOf(error))}`);
  return (event) => {
    try {
      const result: unknown = observe(event);
      if (isThenable(result)) result.then(undefined, (error: unknown) => failed(event.name, error));
    } catch (error) {
      failed(event.name, error);
    }
  };
}

const longestText = 500;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/** What others wrote cannot forge a line, or flood it. */
function oneLine(text: string): string {
  const line = text.slice(0, longestText).replace(controlCharacters, " ");
  return text.length > longestText ? `${line}…` : line;
}

/** How loud a transport's own events are. */
export const transportLevels: Readonly<Record<TransportEvent["name"], "info" | "warn" | "error">> = {
  "transport.connected": "info",
  "transport.disconnected": "warn",
  "transport.blocked": "warn",
  "transport.unblocked": "info",
  "transport.consumer-lost": "warn",
  "transport.consumer-restored": "info",
  "transport.failed": "error",
};
