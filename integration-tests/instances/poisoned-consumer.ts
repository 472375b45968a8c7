// A consumer that one message kills: node poisoned-consumer.ts BROKER_URL QUEUE.
import { createBus, queue } from "@posthorn/core";
import { z } from "zod";
import { transportFor } from "../transport-for.ts";
import { say } from "./say.ts";

const [url = "", name = ""] = process.argv.slice(2);
const Work = queue(name).command("work", { schema: z.object({ poison: z.boolean() }) });

const transport = await transportFor(url, { deliveryLimit: 3 });
const bus = createBus({ service: "consumer", transport, observe: () => undefined, concurrency: 1 });
bus.handle(Work, ({ data, id }) => {
  say("begun", id);
  if (data.poison) process.kill(process.pid, "SIGKILL");
  say("handled", id);
});
await bus.start();
say("ready");
process.once("SIGTERM", () => void bus.close());
