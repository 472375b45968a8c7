import { homedir } from "node:os";
import { join } from "node:path";

/** Where brokers are kept between runs. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const own = env["POSTHORN_CACHE"];
  const shared = env["XDG_CACHE_HOME"];
  return join(own || join(shared || join(homedir(), ".cache"), "posthorn"), "brokers");
}

/** How long it may take to get a broker into the cache: half a minute by rule; longer from a slow mirror, or behind others. */
export const buildDeadlineMs: number = 15 * 60_000;
