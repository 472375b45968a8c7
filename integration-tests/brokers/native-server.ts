import type { ServerControl } from "./broker.ts";
import type { Room } from "./room.ts";
import { run } from "./run.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

export interface NativeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told, a line at a time, what takes long. */
  readonly log: (line: string) => void;
}

export interface NativeServerOptions {
  readonly room: Room;
  /** The command line that runs a command where the server does. */
  readonly inside: (...command: string[]) => [string, ...string[]];
  /**
   * Starts the server as a child, waits for it, and writes the number of its process to `pidFile`. It is not the server
   * itself: who enters a room (nsenter) stops with its child when that is stopped, and does not go on with it.
   */
  readonly command: readonly [string, ...string[]];
  readonly pidFile: string;
  readonly env: NodeJS.ProcessEnv;
  /** The file that its output is appended to. */
  readonly log: string;
  /** What it writes when it is ready. */
  readonly readyText: string;
  /** Resolves when clients can work with it, some time after it is ready by its own account. */
  readonly awaitReady: (signal?: AbortSignal) => Promise<void>;
  /** What `kill` sends; KILL by default. Another one is for a server that has to be told to end as suddenly. */
  readonly killSignal?: "KILL" | "USR1";
}

/** A server in a room, not running yet. */
export interface NativeServer extends Omit<ServerControl, "start"> {
  start(signal?: AbortSignal): Promise<void>;
}

export function nativeServer(options: NativeServerOptions): NativeServer {
  const { room, inside, pidFile, env, log, readyText, awaitReady, killSignal = "KILL" } = options;
  let server: ServerProcess | undefined;
  const running = (): ServerProcess => {
    if (server === undefined || server.hasEnded) throw new Error("the broker is not running");
    return server;
  };
  /** Runs a line of shell that finds the number of the broker's process in `$pid`. */
  const withPid = async (line: string): Promise<void> => {
    running();
    await run(inside("sh", "-c", `read -r pid <"$0"; ${line}`, pidFile), { env });
  };

  return {
    async kill() {
      const process = running();
      // A paused one would not notice another signal than KILL.
      await withPid(`kill -${killSignal} "$pid" && { kill -CONT "$pid" 2>/dev/null || :; }`);
      await process.ended(); // of the script around the broker, which waits for the broker
    },
    async shutDown() {
      const process = running();
      await withPid('kill -TERM "$pid" && kill -CONT "$pid"'); // a paused one must go on to be able to stop
      await process.ended();
    },
    async pause() {
      await withPid('kill -STOP "$pid" && until grep -q "^State:.T" "/proc/$pid/status"; do sleep 0.01; done');
    },
    async resume() {
      await withPid('kill -CONT "$pid"');
    },
    async start(signal) {
      if (server?.hasEnded === false) throw new Error("the broker is running already");
      const command = inside(...options.command);
      try {
        server = await startServerProcess({ command, env, log, readyText, deadlineMs: 90_000, signal });
        await awaitReady(signal);
      } catch (error) {
        // What was started must not be in the way of the next try. That fails only where the room has been closed.
        await run(room.enter("sh", "-c", "kill -KILL -1")).catch(() => undefined);
        throw error;
      }
    },
  };
}
