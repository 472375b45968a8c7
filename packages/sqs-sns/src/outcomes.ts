/** What became of each entry of a batch, also when the batch as a whole failed. */
import type { EntryResult } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import type { FailureClass } from "./errors.ts";
import { awsError, classOf } from "./errors.ts";

/** An entry's own result, or what the whole request failed with. */
export type Outcome = EntryResult | Error;

/** As many as there are entries, in their order. Never rejects. */
export async function outcomesOf(request: Promise<readonly EntryResult[]>, count: number): Promise<readonly Outcome[]> {
  try {
    const results = await request;
    const none = new RequestFailure("The answer does not speak of the entry.", { sent: true });
    return Array.from({ length: count }, (_, index) => results[index] ?? none);
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    return Array.from({ length: count }, () => failure);
  }
}

/** Each entry with what became of it. Never rejects. */
export async function outcomeOfEach<Entry>(
  entries: readonly Entry[],
  request: Promise<readonly EntryResult[]>,
): Promise<readonly (readonly [Entry, Outcome])[]> {
  const outcomes = await outcomesOf(request, entries.length);
  return outcomes.map((outcome, index) => [entries[index] as Entry, outcome] as const);
}

export function isDone(outcome: Outcome | undefined): boolean {
  return outcome !== undefined && "ok" in outcome && outcome.ok;
}

/** Whether the same request can never succeed: the handle is worth nothing any more, or its queue is gone. */
export function isFinal(outcome: Outcome): boolean {
  // Some servers do not blame the sender for a handle that is out of use.
  if ("ok" in outcome) return !outcome.ok && (outcome.senderFault || isUseless(classOf(outcome.code)));
  if (!(outcome instanceof RequestFailure) || outcome.code === undefined) return false;
  return isUseless(classOf(outcome.code, outcome.httpStatus));
}

function isUseless(kind: FailureClass): boolean {
  return kind === "missing" || kind === "stale" || kind === "invalid";
}

/** Whether nobody knows if the service has done it. */
export function isUnknown(outcome: Outcome): boolean {
  if ("ok" in outcome ? outcome.ok : !(outcome instanceof RequestFailure)) return false;
  return awsError(outcome as RequestFailure, "a message").code === "UNKNOWN_OUTCOME";
}

/** In words. */
export function errorOf(outcome: Outcome): Error {
  if (!("ok" in outcome)) return outcome;
  return new Error(outcome.ok ? "Nothing is wrong." : `SQS says ${outcome.code}: ${outcome.message}`);
}
