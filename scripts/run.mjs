// The one door to the toolchain: `node scripts/run.mjs TASK [ARG …]`, on any Node from 20 on.
// Installs what the lockfile says when it has changed, then runs the task with the Node that came with it.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "..");
const pnpm = "pnpm@10.34.9";
const marker = path.join(root, "node_modules", ".posthorn-installed");
const node = path.join(root, "node_modules", "node", "bin", "node");

/** Of all files that decide what is installed. */
function fingerprint() {
  const hash = createHash("sha256");
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"])
    hash.update(readFileSync(path.join(root, file)));
  return hash.digest("hex");
}

function install() {
  const wanted = fingerprint();
  if (existsSync(marker) && existsSync(node) && readFileSync(marker, "utf8") === wanted) return;
  console.error("Installing the toolchain …");
  const { status, error } = spawnSync("npx", ["-y", pnpm, "install", "--frozen-lockfile"], {
    cwd: root,
    stdio: ["ignore", process.stderr, process.stderr],
  });
  if (status !== 0) {
    console.error(`The install failed${error === undefined ? "" : `: ${error.message}`}.`);
    process.exit(status ?? 1);
  }
  writeFileSync(marker, wanted);
}

install();
const child = spawn(node, [path.join(root, "scripts", "tasks.ts"), ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH ?? ""}` },
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
