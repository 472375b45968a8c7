// One of several instances that handle a topic in order: node ordered-consumer.ts BROKER_URL TOPIC GROUP.
// Prints what it has handled and when, unless the message was taken from it meanwhile; one handling in twenty fails.
import { setTimeout as sleep } from "node:timers/promises";
import { createBus } from "@posthorn/core";
import { say } from "./say.ts";
import { steps } from "./steps.ts";
import { transportFor } from "../transport-for.ts";

const [url = "", name = "", group = ""] = process.argv.slice(2);
const failing = 0.05;

const bus = createBus({
  service: group,
  transport: await transportFor(url),
  observe: () => undefined,
  concurrency: 16,
  retry: { attempts: 20, backoff: { initialMs: 5, maxMs: 20 } },
});
bus.subscribe(steps(name).Taken, async ({ data }, { signal }) => {
  await sleep(Math.random() * 4);
  if (Math.random() < failing) throw new Error("fails now and then");
  if (!signal.aborted) say("handled", data.key, data.number, String(process.hrtime.bigint()));
});
await bus.start();
say("ready");
process.once("SIGTERM", () => void bus.close());
