import type { Context, Handler, Received } from "@posthorn/core";
import type { Pulse } from "./waiting.ts";
import { eventually } from "./waiting.ts";

/** One call of a handler. */
export interface Call<Data> {
  readonly message: Received<Data>;
  readonly context: Context;
  readonly data: Data;
  /** Milliseconds, monotonic. */
  readonly startedAt: number;
}

/** A handler that remembers its calls. */
export interface Recorder<Data> {
  readonly handler: Handler<Data>;
  readonly calls: readonly Call<Data>[];
  /** Handlers that have started and not ended. */
  readonly running: number;
  /** Most that ever ran at a time. */
  readonly mostRunning: number;
  /** Resolves when it has been called `count` times. */
  waitFor(count: number, withinMs?: number): Promise<readonly Call<Data>[]>;
}

/** What the handler does once it has remembered the call; `index` counts the calls from 0. */
export type Reaction<Data> = (call: Call<Data>, index: number) => unknown;

export function createRecorder<Data>(pulse: Pulse, patienceMs: number, react?: Reaction<Data>): Recorder<Data> {
  const calls: Call<Data>[] = [];
  let running = 0;
  let mostRunning = 0;
  return {
    calls,
    get running() {
      return running;
    },
    get mostRunning() {
      return mostRunning;
    },
    async handler(message, context) {
      const call: Call<Data> = { message, context, data: message.data, startedAt: performance.now() };
      const index = calls.push(call) - 1;
      mostRunning = Math.max(mostRunning, ++running);
      pulse.beat();
      try {
        return await react?.(call, index);
      } finally {
        running--;
        pulse.beat();
      }
    },
    async waitFor(count, withinMs = patienceMs) {
      await eventually(pulse, `${count} calls of the handler`, () => calls.length >= count, {
        withinMs,
        seen: () =>
          `${calls.length} calls, the last of them ${JSON.stringify(calls.slice(-5).map(({ message, context }) => ({ id: message.id, attempt: context.attempt })))}`,
      });
      return calls;
    },
  };
}
