// A consumer to be killed: node consumer.ts BROKER_URL QUEUE. Prints what it begins and what it has handled.
import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createBus } from "@posthorn/core";
import { work } from "./contracts.ts";
import { transportFor } from "../transport-for.ts";

const [url = "", name = ""] = process.argv.slice(2);
/** At once, so that a kill loses nothing of what was said. */
const say = (line: string): void => void writeSync(1, `${line}\n`);

const bus = createBus({
  service: "killed-consumer",
  transport: await transportFor(url),
  observe: () => undefined,
  concurrency: 5,
  retry: { attempts: 2, backoff: { initialMs: 5, maxMs: 5 } },
});
bus.handle(work(name), async ({ data }) => {
  say(`begun ${data.number}`);
  await sleep(10);
  if (data.number % 25 === 0) throw new Error("cannot be handled");
  say(`handled ${data.number}`);
});
await bus.start();
say("ready");
process.once("SIGTERM", () => void bus.close());
