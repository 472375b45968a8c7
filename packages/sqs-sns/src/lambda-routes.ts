/** Which consumption the messages of an invocation are for: an event names its queue by the ARN. */
import { abortable, createNotice, PosthornError } from "@posthorn/core/transport";
import { arnOfUrl } from "./arns.ts";
import type { LambdaReader } from "./lambda-reader.ts";
import { createLambdaReader } from "./lambda-reader.ts";
import type { Settings } from "./options.ts";
import type { OpenReader } from "./reader.ts";

export interface LambdaRoutes {
  readonly openReader: OpenReader;
  /** No other queues than these, by their names, are ever consumed. */
  expect(queues: Iterable<string>): void;
  /**
   * Waits until the queue is consumed.
   *
   * @throws NOT_STARTED when the signal fires first; UNDECLARED_CONTRACT when it is none of those that are expected; CLOSED
   */
  find(queueArn: string, signal: AbortSignal): Promise<LambdaReader>;
  /** For good. */
  close(): void;
}

export function createLambdaRoutes({ region }: Pick<Settings, "region">): LambdaRoutes {
  /** By what identifies their queues. */
  const readers = new Map<string, LambdaReader>();
  const changed = createNotice();
  let expected: ReadonlySet<string> | undefined;
  let closed = false;

  function mayCome(arn: string): boolean {
    const [, , , itsRegion, , name = ""] = arn.split(":");
    return expected === undefined || (itsRegion === region && expected.has(name));
  }

  return {
    openReader(options) {
      let id = "";
      const reader: LambdaReader = createLambdaReader({
        ...options,
        onStarted(url) {
          id = idOf(arnOfUrl(url, region));
          readers.set(id, reader);
          changed.notify();
        },
        onStopped() {
          if (readers.get(id) === reader) readers.delete(id);
        },
      });
      return reader;
    },

    expect(queues) {
      expected = new Set(queues);
      changed.notify();
    },

    async find(arn, signal) {
      const id = idOf(arn);
      for (;;) {
        if (closed) throw closedError(arn);
        const reader = readers.get(id);
        if (reader !== undefined) return reader;
        if (!mayCome(arn)) throw notConsumed(arn, readers.keys());
        await abortable(changed.next, signal).catch((cause: unknown) => {
          throw notStarted(arn, readers.keys(), cause);
        });
      }
    },

    close() {
      closed = true;
      changed.notify();
    },
  };
}

/** Region, account and name. The partition goes with the region. */
function idOf(arn: string): string {
  return arn.split(":").slice(3).join(":");
}

function notConsumed(queue: string, consumed: Iterable<string>): PosthornError {
  const text = `Nothing on this bus handles messages of ${queue}: register a handler for its channel before bus.start(), or take its event source mapping away. The bus consumes ${listOf(consumed)}.`;
  return new PosthornError("UNDECLARED_CONTRACT", text, { details: { queue } });
}

function notStarted(queue: string, consumed: Iterable<string>, cause: unknown): PosthornError {
  const text = `The invocation's time is over, and the bus does not consume ${queue} yet: await bus.start() where the function's module is loaded, with a handler for the queue's channel. By now the bus consumes ${listOf(consumed)}.`;
  return new PosthornError("NOT_STARTED", text, { cause, details: { queue } });
}

function closedError(queue: string): PosthornError {
  const text = `The bus is closed, or could not start, and handles no messages of ${queue}: look at what bus.start() rejected with, and close the bus nowhere.`;
  return new PosthornError("CLOSED", text, { details: { queue } });
}

function listOf(ids: Iterable<string>): string {
  return [...ids].join(", ") || "no queue";
}
