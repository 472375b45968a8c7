import { spawn } from "node:child_process";
import path from "node:path";

export const root: string = path.resolve(import.meta.dirname, "..");

/** Runs a program of the toolchain in the repository's root, its output to ours. Resolves to its exit code. */
export function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<number> {
  const bin = path.join(root, "node_modules", ".bin");
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, ...environment, PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}` },
    });
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
    process.on("SIGINT", forward);
    process.on("SIGTERM", forward);
    child.on("error", reject);
    child.on("exit", (code) => {
      process.off("SIGINT", forward);
      process.off("SIGTERM", forward);
      resolve(code ?? 1);
    });
  });
}

/** Runs our own program with this Node. */
export function runNode(
  file: string,
  args: readonly string[],
  environment?: Readonly<Record<string, string>>,
): Promise<number> {
  return run(process.execPath, [path.join(root, file), ...args], environment);
}
