import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { poll } from "./poll.ts";
import { lastLines, messageOf } from "./run.ts";

export interface ServerProcessOptions {
  readonly command: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  /** The file that its stdout and stderr are appended to. */
  readonly log: string;
  /** What it writes when it is ready. */
  readonly readyText: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ServerProcess {
  readonly hasEnded: boolean;
  /** Resolves when the process has ended, however it did. */
  ended(): Promise<void>;
}

/**
 * Starts a server and resolves when it says that it is ready.
 *
 * @throws Error with the last lines of its log when it ends or the deadline passes before that; then it is for the
 * caller to end what may still run.
 */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { readyText, deadlineMs, signal } = options;
  const log = await open(options.log, "a");
  const { size: logStart } = await log.stat();
  const [file, ...args] = options.command;
  // Detached: a Ctrl-C in the terminal is for the test run, which then stops its servers.
  const child = spawn(file, args, { env: options.env, detached: true, stdio: ["ignore", log.fd, log.fd] });
  let hasEnded = false;
  const closed = once(child, "close").finally(() => (hasEnded = true));
  closed.catch(() => undefined); // told by ended()
  child.unref();
  await log.close();

  const logged = async (): Promise<string> => (await readFile(options.log)).subarray(logStart).toString();
  try {
    await poll(
      `"${readyText}" in its log`,
      async () => {
        const wasOver = hasEnded; // before the log is read: the last it wrote may be that it is ready
        if ((await logged()).includes(readyText)) return true;
        return wasOver ? false : undefined;
      },
      { deadlineMs, signal },
    );
    if (hasEnded) {
      await closed; // rejects where it could not even be spawned
      throw new Error(`it ended with ${child.signalCode ?? child.exitCode}`);
    }
  } catch (error) {
    signal?.throwIfAborted();
    const log = lastLines(await logged(), 20);
    throw new Error(`${options.command.at(-1)} did not start: ${messageOf(error)}; its log ends so:\n${log}`, {
      cause: error,
    });
  }

  return {
    get hasEnded() {
      return hasEnded;
    },
    async ended() {
      child.ref();
      await closed;
    },
  };
}
