/** The doomed consumer as a process: this file starts it, and is what it runs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { HangingConsumer, HangingJob } from "@posthorn/contract-tests";
import { runHangingConsumer } from "@posthorn/contract-tests";
import { rabbitmq } from "@posthorn/rabbitmq";
import { createStarts } from "./starts.ts";

export async function spawnHangingConsumer(url: string, job: HangingJob): Promise<HangingConsumer> {
  const child = spawn(process.execPath, [import.meta.filename, url, JSON.stringify(job)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const starts = createStarts();
  createInterface({ input: child.stdout }).on("line", starts.started);
  return {
    handling: (count) =>
      Promise.race([
        starts.reached(count),
        exited.then(() => {
          throw new Error(`The consumer's process ended by itself (${child.exitCode}).`);
        }),
      ]),
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

if (import.meta.main) {
  const [url = "", job = "{}"] = process.argv.slice(2);
  await runHangingConsumer(rabbitmq({ url }), JSON.parse(job) as HangingJob, (messageId) => console.log(messageId));
}
