/** Messages whose time has not come. They wait here, each for itself, and then go where they were sent. */
import type { Clock, Timer } from "@posthorn/core/transport";
import type { Destination } from "./catalog.ts";
import { createHeap } from "./heap.ts";
import type { Packet, Refusal } from "./source.ts";

export interface DelaySettings {
  readonly clock: Clock;
  /** What is to wait longer goes on its way after this time, early. */
  readonly longestDelayMs: number;
  /** Most messages that wait here, whatever their destinations. */
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export interface Delays {
  readonly size: number;
  add(destination: Destination, packet: Packet, notBefore: number): Refusal | undefined;
  /** Nothing goes on its way until `start`. */
  stop(): void;
  /** What fell due meanwhile goes at once. */
  start(): void;
}

interface Delayed {
  readonly destination: Destination;
  readonly packet: Packet;
  readonly order: number;
  dueAt: number;
}

/** After which a message is tried again whose destination had no room for it, or was gone. */
const retryMs = 250;

/**
 * @param deliver takes a message that is due, or says why not; then it is kept, and tried again until it is taken: what was
 * accepted is not lost because a queue is full, or deleted and not yet made again
 */
export function createDelays(
  settings: DelaySettings,
  deliver: (destination: Destination, packet: Packet) => Refusal | undefined,
): Delays {
  const { clock, longestDelayMs, maxMessages, maxBytes } = settings;
  const waiting = createHeap<Delayed>((one, other) =>
    one.dueAt === other.dueAt ? one.order < other.order : one.dueAt < other.dueAt,
  );
  let bytes = 0;
  let orders = 0;
  let running = true;
  let timer: Timer | undefined;
  let timerAt = Infinity;

  function watch(): void {
    const dueAt = running ? (waiting.first?.dueAt ?? Infinity) : Infinity;
    if (dueAt === timerAt) return;
    timer?.cancel();
    timer = undefined;
    timerAt = dueAt;
    if (dueAt < Infinity) timer = clock.setTimeout(onDue, Math.max(0, dueAt - clock.now()), { unref: true });
  }

  function onDue(): void {
    timer = undefined;
    timerAt = Infinity;
    const now = clock.now();
    while (waiting.first !== undefined && waiting.first.dueAt <= now) {
      const delayed = waiting.takeFirst();
      if (delayed === undefined) break;
      if (deliver(delayed.destination, delayed.packet) === undefined) {
        bytes -= delayed.packet.bytes.byteLength;
      } else {
        delayed.dueAt = now + retryMs;
        waiting.push(delayed);
      }
    }
    watch();
  }

  return {
    get size() {
      return waiting.size;
    },
    add(destination, packet, notBefore) {
      const size = packet.bytes.byteLength;
      if (waiting.size >= maxMessages)
        return { reason: "full", detail: `The broker holds ${maxMessages} delayed messages, its limit (maxMessages).` };
      if (bytes + size > maxBytes)
        return {
          reason: "full",
          detail: `The broker holds ${bytes} bytes of delayed messages; its limit is ${maxBytes} (maxBytes).`,
        };
      bytes += size;
      const dueAt = Math.min(notBefore, clock.now() + longestDelayMs);
      waiting.push({ destination, packet, order: orders++, dueAt });
      watch();
      return undefined;
    },
    stop() {
      running = false;
      watch();
    },
    start() {
      running = true;
      watch();
    },
  };
}
