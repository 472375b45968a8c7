import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { KafkaVersion } from "./broker.ts";
import { buildDeadlineMs, cacheFolder } from "./cache.ts";
import type { NativeOptions } from "./native-server.ts";
import { run } from "./run.ts";
import { ensureTool } from "./tools.ts";

/** The release that stands for each version. */
export const kafkaReleases: Readonly<Record<KafkaVersion, string>> = { "3.9": "3.9.2", "4.4": "4.4.0" };

const script = fileURLToPath(new URL("kafka-libraries.sh", import.meta.url));

/**
 * A folder with the jars of a Kafka broker, got from Maven Central on the first use (see
 * `kafka-libraries.sh`) and cached.
 *
 * @throws Error that says why it cannot be had.
 */
export async function kafkaLibraries(version: KafkaVersion, options: NativeOptions): Promise<string> {
  const release = kafkaReleases[version];
  const folder = join(cacheFolder(), `kafka-${release}`);
  if (existsSync(folder)) return folder;

  await ensureTool("java", options); // which Maven needs too
  const mvn = await ensureTool("mvn", options);
  options.log(`getting Kafka ${release} into ${folder}, once`);
  await run(["sh", script, release, folder, mvn], {
    name: "kafka-libraries.sh",
    signal: options.signal,
    timeoutMs: buildDeadlineMs,
  });
  return folder;
}
