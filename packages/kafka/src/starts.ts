/**
 * Messages that kill their process. Kafka counts no deliveries, so whoever takes a partition over writes beside the committed offset who it is; a
 * successor that finds the name of another, who neither came further nor left in good order, knows of one crash.
 *
 * After two crashes at the same offset what lies there is suspect: everything that can have been open is handed out **alone**, one
 * message at a time in this process, and which one is written beside the offset first. A message that was begun alone and did not end
 * killed its process. After `deliveryLimit` such starts it is dead-lettered.
 *
 * Nobody else pays: a front that moves is suspect no more, and neighbours that are merely slow are begun while the killer is not.
 */
import type { PartitionWindow } from "./window.ts";
import { longestWindow } from "./window.ts";

/** What stands beside a committed offset. */
export interface Note {
  /** The instance that wrote it. */
  readonly by: string;
  /** How many instances ended at this offset without coming further. */
  readonly crashes: number;
  /** The offset of the message that was begun alone. */
  readonly alone: number | undefined;
  /** How often. */
  readonly tries: number;
}

const tolerated = 2;

/** The text that an operator sees, for example `{"by":"3f2c…","crashes":1}`. */
export function encodeNote({ by, crashes, alone, tries }: Note): string {
  return JSON.stringify({
    by,
    ...(crashes === 0 ? {} : { crashes }),
    ...(alone === undefined ? {} : { alone, tries }),
  });
}

/** @returns `undefined` for what we have not written, or have written when we left in good order */
export function decodeNote(text: string): Note | undefined {
  if (text === "") return undefined;
  try {
    const value = JSON.parse(text) as Partial<Record<string, unknown>> | null;
    if (typeof value?.["by"] !== "string") return undefined;
    return {
      by: value["by"],
      crashes: count(value["crashes"]),
      alone: typeof value["alone"] === "number" ? value["alone"] : undefined,
      tries: count(value["tries"]),
    };
  } catch {
    return undefined;
  }
}

function count(value: unknown): number {
  return typeof value === "number" && value >= 0 ? Math.floor(value) : 0;
}

/** What is known of the crashes at one partition's front. */
export interface Starts {
  /** Where the group was when we came. */
  readonly from: number;
  readonly crashes: number;
  /** Up to here, exclusive, messages are handed out alone. */
  readonly suspectUntil: number;
  alone: number | undefined;
  tries: number;
}

/**
 * @param note what stood beside the committed offset
 * @param end the log's end now
 */
export function readStarts(note: Note | undefined, instance: string, from: number, end: number): Starts {
  const crashed = note !== undefined && note.by !== instance;
  const crashes = (note?.crashes ?? 0) + (crashed ? 1 : 0);
  const suspect = crashes >= tolerated;
  return {
    from,
    crashes,
    suspectUntil: suspect ? Math.min(from + longestWindow, Math.max(end, (note?.alone ?? from) + 1)) : from,
    alone: note?.alone,
    tries: note?.tries ?? 0,
  };
}

/** The next message of the window may only be handed out alone. */
export function isSuspect(starts: Starts, window: PartitionWindow): boolean {
  return window.front < starts.suspectUntil;
}

/** Before a message is handed out alone. @returns the how manieth start that is */
export function begin(starts: Starts, offset: number): number {
  starts.tries = starts.alone === offset ? starts.tries + 1 : 1;
  starts.alone = offset;
  return starts.tries;
}

/** What was begun alone has come back: it killed nobody, whatever became of it. */
export function survived(starts: Starts): void {
  starts.alone = undefined;
  starts.tries = 0;
}

/** What to write beside an offset that is committed. */
export function noteFor(starts: Starts, instance: string, offset: number): string {
  // Who moves on is no crash, but may have one before it.
  const suspect = offset < starts.suspectUntil;
  const crashes = suspect || offset === starts.from ? starts.crashes : 0;
  const alone = suspect && starts.alone !== undefined && starts.alone >= offset ? starts.alone : undefined;
  return encodeNote({ by: instance, crashes, alone, tries: starts.tries });
}
