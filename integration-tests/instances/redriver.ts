// Redrives the dead letters of a group, slowly enough to be killed meanwhile: node redriver.ts BROKER_URL TOPIC GROUP.
import { createBus, topic } from "@posthorn/core";
import { say } from "./say.ts";
import { transportFor } from "../transport-for.ts";

const [url = "", name = "", group = ""] = process.argv.slice(2);

const bus = createBus({
  service: "operator",
  transport: await transportFor(url),
  observe: (event) => {
    if (event.name === "dead-letter.redriven") say("redriven", event.id);
  },
});
await bus.start();
const { redriven } = await bus.deadLetters(topic(name), group).redrive({ messagesPerSecond: 500 });
say("done", redriven);
await bus.close();
