import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";

/**
 * Sees to it that a container ends with this process, however it ends. Testcontainers has a container of its own for
 * that (Ryuk); where that is switched off, a process that waits for the end of a pipe from here does the same.
 */
export function guardContainer(id: string): void {
  if (process.env["TESTCONTAINERS_RYUK_DISABLED"] !== "true") return;
  const guard = spawn(process.execPath, [fileURLToPath(import.meta.url), id], {
    detached: true, // a Ctrl-C in the terminal must not end the guard before its work
    stdio: ["pipe", "ignore", "inherit"],
  });
  guard.unref();
  (guard.stdin as Socket).unref();
}

/** Ends a container and removes it with its volumes. One that is gone already is no error. */
export async function removeContainer(id: string): Promise<void> {
  const { getContainerRuntimeClient } = await import("testcontainers");
  const client = await getContainerRuntimeClient();
  try {
    await client.container.getById(id).remove({ force: true, v: true });
  } catch (error) {
    if (!(error instanceof Error && "statusCode" in error && error.statusCode === 404)) throw error;
  }
}

if (import.meta.main) {
  const [id = ""] = process.argv.slice(2);
  process.stdin.resume();
  await once(process.stdin, "end");
  await removeContainer(id);
}
