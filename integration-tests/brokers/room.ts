import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

/**
 * A mount and process namespace of its own, on Linux. What runs in it sees the machine's files and network; what it
 * mounts nobody else sees; and when the room closes, the kernel ends every process in it, daemons included, and drops
 * every mount.
 *
 * A room closes by itself when this process ends, even by SIGKILL: its guard reads a pipe that ends then.
 */
export interface Room extends AsyncDisposable {
  /** Its first process, as seen from outside. */
  readonly pid: number;
  /** The command line that runs `command` inside. */
  readonly enter: (...command: string[]) => [string, ...string[]];
  /** Resolves when nothing of the room is left, `scratch` included. May be called more than once. */
  close(): Promise<void>;
}

export interface RoomOptions {
  /** A shell script that mounts what the room needs, and its arguments. */
  readonly prepare?: readonly [script: string, ...args: string[]];
  /** A folder that is removed with the room. */
  readonly scratch?: string;
}

// The guard waits for the namespace to be gone, so nothing writes to the scratch folder any more when it removes it.
const guard =
  'unshare $own --mount --pid --fork --kill-child=KILL sh -c "$0" "$@"; [ -z "$scratch" ] || rm -rf -- "$scratch"';
// The namespace's first process: when it ends, everything in the namespace does. It must not be one that a signal to
// "all processes" (-1) inside reaches, so it reads with the shell's own `read`. Its number out here it finds in /proc.
const first =
  'set -e; read -r pid rest </proc/self/stat; prepare=$1; shift; eval "$prepare"; echo "$pid"; while read -r line; do :; done';

// Who is not root becomes so in a user namespace, where the system allows that: enough for what is its own.
const isRoot = process.getuid?.() === 0;
const own = isRoot ? "" : "--user --map-root-user";
const enterOwn = isRoot ? [] : ["--user", "--preserve-credentials"];

/** @throws Error with what was written to stderr when a namespace cannot be had or `prepare` fails. */
export async function openRoom(options: RoomOptions = {}): Promise<Room> {
  const [script, ...args] = options.prepare ?? [":"];
  const child = spawn("sh", ["-c", guard, first, "room", script, ...args], {
    detached: true, // a Ctrl-C in the terminal must not end the guard before its work
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, own, scratch: options.scratch ?? "" },
  });
  const ended = once(child, "close");
  const complaint = text(child.stderr);
  const lines = createInterface(child.stdout);
  const [pid] = (await Promise.race([once(lines, "line"), ended.then(() => [undefined])])) as [string | undefined];
  if (pid === undefined) throw new Error(`no namespace of its own for the broker: ${(await complaint).trim()}`);
  // The room keeps no run alive that has come to its end.
  child.unref();
  for (const pipe of [child.stdin, child.stdout, child.stderr]) (pipe as Socket).unref();

  const close = async (): Promise<void> => {
    child.ref();
    child.stdin.end();
    await ended;
  };
  return {
    pid: Number(pid),
    enter: (...command) => ["nsenter", `--target=${pid}`, ...enterOwn, "--mount", "--pid", "--", ...command],
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * A room with a new scratch folder in the system's temporary one. `furnish` fills the folder and resolves to how the room
 * is prepared.
 *
 * @throws as `openRoom` and `furnish` do; then no folder is left.
 */
export async function openRoomWithScratch(
  name: string,
  furnish: (scratch: string) => Promise<NonNullable<RoomOptions["prepare"]>>,
): Promise<{ readonly room: Room; readonly scratch: string }> {
  const scratch = await mkdtemp(join(tmpdir(), `posthorn-${name}-`));
  try {
    return { room: await openRoom({ prepare: await furnish(scratch), scratch }), scratch };
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }
}
