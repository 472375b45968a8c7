import { constants } from "node:fs";
import { access, mkdir, readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { buildDeadlineMs, cacheFolder } from "./cache.ts";
import type { NativeOptions } from "./native-server.ts";
import { messageOf, run } from "./run.ts";

interface Tool {
  /** Debian packages that bring it, best first. */
  readonly packages: readonly string[];
  /** What it must be able to do, where not every program of its name will do. */
  readonly fits?: (path: string) => Promise<boolean>;
  /** Folders to look in behind those of `PATH`. */
  readonly folders?: () => Promise<string[]>;
}

const tools = {
  java: {
    packages: ["openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless"],
    fits: async (path) => (await majorOfJava(path)) >= 17,
    folders: javaFolders,
  },
  kcat: { packages: ["kcat"] },
  mvn: { packages: ["maven"] },
  openssl: { packages: ["openssl"] },
  python3: { packages: ["python3-pip"], fits: runsEmulators },
} as const satisfies Record<string, Tool>;

/**
 * The path of a program of this machine, which is installed by apt where it is missing: java (17 or newer), mvn, openssl,
 * kcat, python3 (3.11 or newer, with pip).
 *
 * @throws Error that says which package is missing where apt or the right to use it is, too.
 */
export async function ensureTool(name: keyof typeof tools, options: NativeOptions): Promise<string> {
  const tool: Tool = tools[name];
  const there = await find(name, tool);
  if (there !== undefined) return there;

  const what = `${tool.fits === undefined ? name : `fitting ${name}`} (Debian's package ${tool.packages[0]})`;
  if ((await find("apt-get", { packages: [] })) === undefined) throw new Error(`no ${what} here, and no apt-get`);
  if (process.getuid?.() !== 0) throw new Error(`no ${what} here, and only root can install it`);
  options.log(`installing ${tool.packages[0]}, once`);
  try {
    await install(tool.packages, options.signal);
  } catch (error) {
    throw new Error(`no ${what} here, and it cannot be installed: ${messageOf(error)}`, { cause: error });
  }
  const installed = await find(name, tool);
  if (installed === undefined) throw new Error(`no ${what} here, even after its installation`);
  return installed;
}

/** Installs the first of the packages that the suite has. One installation at a time, over all runs. */
async function install(packages: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const script = `
    set -eu
    export LC_ALL=C DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    for package; do
      [ -n "$(apt-cache madison "$package")" ] || continue
      exec apt-get -qy -o DPkg::Lock::Timeout=120 install --no-install-recommends "$package"
    done
    echo "the suite has none of: $*" >&2
    exit 1`;
  await mkdir(cacheFolder(), { recursive: true });
  const lock = join(cacheFolder(), "lock");
  await run(["flock", lock, "sh", "-c", script, "sh", ...packages], {
    name: "apt-get",
    signal,
    timeoutMs: buildDeadlineMs,
  });
}

async function find(name: string, tool: Tool): Promise<string | undefined> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...((await tool.folders?.()) ?? [])];
  for (const folder of folders) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere && (tool.fits === undefined || (await tool.fits(path)))) return path;
  }
  return undefined;
}

/** A machine's default may be an old one, with a new one beside it. */
async function javaFolders(): Promise<string[]> {
  const parent = "/usr/lib/jvm";
  const homes = await readdir(parent).catch(() => []); // no Java at all
  const own = process.env["JAVA_HOME"];
  return [...(own ? [join(own, "bin")] : []), ...homes.map((home) => join(parent, home, "bin"))];
}

async function majorOfJava(path: string): Promise<number> {
  const settings = await run([path, "-XshowSettings:properties", "-version"], { output: "stderr" }).catch(() => "");
  return Number(/java\.specification\.version = (\d+)/.exec(settings)?.[1] ?? 0);
}

async function runsEmulators(path: string): Promise<boolean> {
  const check = "import sys, pip; sys.exit(sys.version_info < (3, 11))";
  return run([path, "-c", check]).then(
    () => true,
    () => false,
  );
}
