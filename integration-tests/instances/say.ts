import { writeSync } from "node:fs";

/** A line to whoever started this program. At once, so that a kill loses nothing of what was said. */
export function say(...words: readonly (string | number)[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}
