/** The doomed consumer as a process: this file starts it, and is what it runs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { TransportConfig, TransportRegistry } from "@posthorn/core";
import { openTransport } from "@posthorn/core";
import type { HangingConsumer, HangingJob } from "@posthorn/contract-tests";
import { runHangingConsumer } from "@posthorn/contract-tests";
import { createStarts } from "./starts.ts";

const registry: TransportRegistry = {
  amqp: () => import("@posthorn/rabbitmq"),
  kafka: () => import("@posthorn/kafka"),
  sqs: () => import("@posthorn/sqs-sns"),
};

export async function spawnHangingConsumer(config: TransportConfig, job: HangingJob): Promise<HangingConsumer> {
  const child = spawn(process.execPath, [import.meta.filename, JSON.stringify({ config, job } satisfies Order)], {
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

/** What the process is told. */
interface Order {
  readonly config: TransportConfig;
  readonly job: HangingJob;
}

if (import.meta.main) {
  const { config, job } = JSON.parse(process.argv[2] ?? "{}") as Order;
  await runHangingConsumer(await openTransport(config, registry), job, (messageId) => console.log(messageId));
}
