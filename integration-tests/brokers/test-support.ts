import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

/** A new folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "posthorn-test-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Another process that runs a script, which is to print a line and stay. */
export interface OtherProcess {
  readonly firstLine: string;
  /** Ends it with SIGKILL. */
  kill(): void;
}

export async function startOtherProcess(script: string, env: NodeJS.ProcessEnv = process.env): Promise<OtherProcess> {
  const child = spawn(
    process.execPath,
    ["--input-type=module", "-e", `${script}; setInterval(() => undefined, 60_000);`],
    {
      stdio: ["ignore", "pipe", "inherit"],
      env,
    },
  );
  const kill = (): void => void child.kill("SIGKILL");
  onTestFinished(kill);
  const ended = once(child, "close").then(() =>
    Promise.reject(new Error("the other process ended before it printed a line")),
  );
  const [firstLine] = (await Promise.race([once(createInterface(child.stdout), "line"), ended])) as [string];
  ended.catch(() => undefined); // from now on it may end
  return { firstLine, kill };
}

/** An import of a module beside this one, for a script. */
export function importOf(module: string): string {
  return `await import(${JSON.stringify(new URL(module, import.meta.url).href)})`;
}

/** Names the process namespace that a process lives in. */
export function namespaceOf(pid: number | string): Promise<string> {
  return readlink(`/proc/${pid}/ns/pid`);
}

/** The names of the programs that run in a process namespace. */
export async function programsIn(namespace: string): Promise<string[]> {
  const programs = await Promise.all(
    (await readdir("/proc"))
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (pid) => {
        try {
          return (await namespaceOf(pid)) === namespace
            ? (await readFile(`/proc/${pid}/comm`, "utf8")).trim()
            : undefined;
        } catch {
          return undefined; // it ended while we looked
        }
      }),
  );
  return programs.filter((program) => program !== undefined);
}

/** The process namespaces, other than our own, of the processes that have the text in their command line. */
export async function namespacesOfCommands(text: string): Promise<string[]> {
  const found = new Set<string>();
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const command = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => ""); // it ended while we looked
    if (command.includes(text)) found.add(await namespaceOf(entry));
  }
  found.delete(await namespaceOf("self"));
  return [...found];
}
