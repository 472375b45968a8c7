import { execFile } from "node:child_process";

export interface RunOptions {
  /** What to call the command in an error message; its first word if absent. */
  readonly name?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
  /** Default 60,000. */
  readonly timeoutMs?: number;
  /** Which of its outputs to resolve to; stdout if absent. */
  readonly output?: "stdout" | "stderr";
}

/**
 * Runs a command to its end and resolves to what it wrote.
 *
 * @throws Error that tells the command and the last lines it wrote; the reason of `signal` when that ended it.
 */
export function run(command: readonly [string, ...string[]], options: RunOptions = {}): Promise<string> {
  const [file, ...args] = command;
  const { name = file, signal, timeoutMs = 60_000, env = process.env, output = "stdout" } = options;
  return new Promise((resolve, reject) => {
    execFile(
      file,
      args,
      { env, signal, timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (error === null) resolve(output === "stdout" ? stdout : stderr);
        else if (signal?.aborted === true) reject(signal.reason);
        else {
          const ending =
            error.killed === true ? `did not end within ${timeoutMs} ms` : `ended with ${error.signal ?? error.code}`;
          reject(new Error(`${name} ${ending}: ${lastLines(stdout + stderr, 8)}`));
        }
      },
    );
  });
}

/** The last lines of a text that are not blank, for an error message. */
export function lastLines(text: string, count: number): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.slice(-count).join("\n");
}

/** What an unknown thrown value says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
