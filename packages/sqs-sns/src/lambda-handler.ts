/** One invocation: its records to the consumptions that they are for, within the function's time, and the answer. */
import type { Clock } from "@posthorn/core/transport";
import type { LambdaContext, SqsBatchResponse, SqsEvent } from "./lambda-events.ts";
import { messageOfRecord, recordsOf } from "./lambda-events.ts";
import type { LambdaRoutes } from "./lambda-routes.ts";

export type SqsLambdaHandler = (event: SqsEvent, context?: LambdaContext) => Promise<SqsBatchResponse>;

/** What is left of the function's time for the answer: a second, or a fifth of it where that is less. */
const longestMarginMs = 1_000;
const largestMargin = 1 / 5;

export function createLambdaHandler(routes: Pick<LambdaRoutes, "find">, clock: Clock): SqsLambdaHandler {
  function deadlineOf(context: LambdaContext | undefined): Deadline {
    const over = new AbortController();
    if (context === undefined) return { signal: over.signal, [Symbol.dispose]: () => undefined };
    const remainingMs = context.getRemainingTimeInMillis();
    const marginMs = Math.min(longestMarginMs, remainingMs * largestMargin);
    const giveUp = (): void => over.abort(new Error("The function's time is almost over."));
    const timer = clock.setTimeout(giveUp, remainingMs - marginMs);
    return { signal: over.signal, [Symbol.dispose]: () => timer.cancel() };
  }

  return async (event, context) => {
    using deadline = deadlineOf(context);
    const { signal } = deadline;
    const byQueue = Map.groupBy(recordsOf(event), ({ eventSourceARN }) => eventSourceARN);
    // All are found before any is handled: whoever throws must have done nothing.
    const batches = await Promise.all(
      Array.from(byQueue, async ([arn, records]) => ({ reader: await routes.find(arn, signal), records })),
    );
    const failed = await Promise.all(
      batches.map(({ reader, records }) => reader.take(records.map(messageOfRecord), signal)),
    );
    return { batchItemFailures: failed.flat().map(({ messageId }) => ({ itemIdentifier: messageId })) };
  };
}

interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}
