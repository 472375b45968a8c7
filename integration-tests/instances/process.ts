/** Programs that tests start, listen to line by line, and kill. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface Instance {
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  end(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a program with the Node that runs the tests.
 *
 * @param onLine called with the words of each line that it prints
 */
export function startInstance(
  program: string,
  args: readonly string[],
  onLine: (words: readonly string[]) => void,
): Instance {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const read = once(lines, "close");
  lines.on("line", (line) => onLine(line.split(" ")));
  const ended = Promise.all([exited, read]).then(() => undefined);
  return {
    ended,
    async end(signal) {
      child.kill(signal);
      await ended;
    },
  };
}
