import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildDeadlineMs, cacheFolder } from "./cache.ts";
import type { NativeOptions } from "./native-server.ts";
import { run } from "./run.ts";

/** The release of ministack that `sqs-emulator.txt` names. */
const release = "1.5.33";

const script = fileURLToPath(new URL("sqs-packages.sh", import.meta.url));
const requirements = fileURLToPath(new URL("sqs-emulator.txt", import.meta.url));

/**
 * A folder with the Python packages of the emulator of SQS and SNS, got from PyPI on the first use (see
 * `sqs-packages.sh`) and cached.
 *
 * @throws Error that says why it cannot be had.
 */
export async function sqsPackages(python: string, options: NativeOptions): Promise<string> {
  const folder = join(cacheFolder(), `ministack-${release}`);
  if (existsSync(folder)) return folder;

  options.log(`getting ministack ${release} into ${folder}, once`);
  await run(["sh", script, requirements, folder, python], {
    name: "sqs-packages.sh",
    signal: options.signal,
    timeoutMs: buildDeadlineMs,
  });
  return folder;
}
