import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildDeadlineMs, cacheFolder } from "./cache.ts";
import { openRoom } from "./room.ts";
import { run } from "./run.ts";

export interface DebianRootOptions {
  /** Names the folder in the cache, for example `rabbitmq-trixie`. */
  readonly name: string;
  readonly suite: string;
  readonly packages: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly log: (line: string) => void;
}

const script = fileURLToPath(new URL("debian-root.sh", import.meta.url));

/**
 * A folder with a Debian system and the packages in it, built on the first use (see `debian-root.sh`) and cached.
 *
 * @throws Error that says why it cannot be had.
 */
export async function debianRoot(options: DebianRootOptions): Promise<string> {
  if (process.platform !== "linux")
    throw new Error(`native brokers are Debian packages: they need Linux, this is ${process.platform}`);
  if (process.getuid?.() !== 0) throw new Error("native brokers need root: they run in a chroot");
  const root = join(cacheFolder(), options.name);
  if (existsSync(root)) return root;

  options.log(`building Debian ${options.suite} with ${options.packages.join(", ")} in ${root}, once`);
  await using room = await openRoom();
  const build = room.enter("sh", script, options.suite, root, ...options.packages);
  await run(build, { name: "debian-root.sh", signal: options.signal, timeoutMs: buildDeadlineMs });
  return root;
}
