/** Tells trouble once: what is tried several times a second would fill a log with the same line otherwise. */
import type { Clock } from "@posthorn/core/transport";
import { messageOf } from "@posthorn/core/transport";

/** The same is told again after so long. */
const againMs = 60_000;
/** Most that is remembered. */
const mostTold = 1_000;

/** @returns a function that passes on what it was not given lately: the same words with the same error's message */
export function createTelling(
  clock: Clock,
  tell: (what: string, error: unknown) => void,
): (what: string, error: unknown) => void {
  const told = new Map<string, number>();
  return (what, error) => {
    const now = clock.monotonic();
    const text = `${what}: ${error === undefined ? "" : messageOf(error)}`;
    const toldAt = told.get(text);
    if (toldAt !== undefined && now - toldAt < againMs) return;
    told.delete(text);
    told.set(text, now);
    for (const [oldest, at] of told) {
      if (told.size <= mostTold && now - at < againMs) break;
      told.delete(oldest);
    }
    tell(what, error);
  };
}
