import type { Bus, Transport } from "@posthorn/core";
import { createBus, queue } from "@posthorn/core";
import type { HangingJob } from "./harness.ts";
import { anything } from "./schema.ts";

/**
 * The consumer of the crash cases: it takes `concurrency` messages, tells of each that it has started, and never finishes one.
 * A harness runs it in a process that it can kill.
 */
export async function runHangingConsumer(
  transport: Transport,
  job: HangingJob,
  started: (messageId: string) => void,
): Promise<Bus> {
  const bus = createBus({ service: "hanging", transport, concurrency: job.concurrency });
  bus.handle(queue(job.queue).command(job.type, { schema: anything<unknown>() }), async (message, { signal }) => {
    started(message.id);
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    // Only a consumer that was not killed comes here: the message must not count as handled.
    signal.throwIfAborted();
  });
  await bus.start();
  return bus;
}
