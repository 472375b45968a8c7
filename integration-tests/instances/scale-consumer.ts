// Handles a long backlog, one message in a hundred only at its third attempt: node scale-consumer.ts BROKER_URL QUEUE.
// Prints every thousand messages how many there were, and how many bytes the process uses; and how often it was given a message again.
import { createBus } from "@posthorn/core";
import { transportFor } from "../transport-for.ts";
import { numbered } from "./numbered.ts";
import { say } from "./say.ts";

const [url = "", name = ""] = process.argv.slice(2);
const handled = new Set<number>();
let again = 0;

const bus = createBus({
  service: "scale",
  transport: await transportFor(url),
  concurrency: 100,
  retry: { attempts: 3, backoff: { initialMs: 20, maxMs: 100 } },
  observe(event) {
    if (event.name === "message.dead-lettered") say("dead", event.message.id);
  },
});
bus.handle(numbered(name), ({ data }, { attempt }) => {
  if (data.number % 100 === 0 && attempt < 3) throw new Error("not yet");
  if (handled.has(data.number)) again++;
  handled.add(data.number);
  if (handled.size % 1_000 !== 0) return;
  const { heapUsed, external } = process.memoryUsage();
  say("handled", handled.size, heapUsed + external, again);
});
await bus.start();
say("ready");
process.once("SIGTERM", () => void bus.close());
