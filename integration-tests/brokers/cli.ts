// node cli.ts rabbitmq [3.10|4.0|4.3]: starts a broker, prints its URL, stops it on Ctrl-C, SIGTERM or the end of stdin.
import { once } from "node:events";
import { fstatSync } from "node:fs";
import type { RabbitmqVersion } from "./broker.ts";
import { resolveRabbitmq } from "./resolve.ts";
import { messageOf } from "./run.ts";

const versions: readonly RabbitmqVersion[] = ["3.10", "4.0", "4.3"];
const [kind, wanted = "4.0"] = process.argv.slice(2);
const version = versions.find((known) => known === wanted);

if (kind !== "rabbitmq" || version === undefined) {
  console.error(`usage: broker rabbitmq [${versions.join("|")}]`);
  process.exitCode = 2;
} else {
  await serve(version);
}

async function serve(version: RabbitmqVersion): Promise<void> {
  const alive = setInterval(() => undefined, 60_000); // a broker keeps no process alive
  const ending = new AbortController();
  const enough = Promise.race([once(ending.signal, "abort"), stdinEnd().then(() => ending.abort())]);
  // Not `once`: a library that finds itself the only listener left would end this process before its work.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => ending.abort());
  try {
    const { brokers, missing } = await resolveRabbitmq({
      versions: [version],
      signal: ending.signal,
      log: console.error,
    });
    const [broker] = brokers;
    if (broker === undefined) throw new Error(missing.map(({ reason }) => reason).join("; "));
    console.error(`RabbitMQ ${broker.version} (${broker.origin}), until Ctrl-C:`);
    console.log(broker.url);
    await enough;
    await broker.stop();
  } catch (error) {
    if (!ending.signal.aborted) {
      console.error(`no RabbitMQ ${version}: ${messageOf(error)}`);
      process.exitCode = 1;
    }
  } finally {
    clearInterval(alive);
    process.stdin.destroy();
  }
}

/** The end of a pipe or terminal; a stdin that is a file or /dev/null (a job in the background) never counts as ended. */
async function stdinEnd(): Promise<void> {
  const stdin = fstatSync(0);
  if (!process.stdin.isTTY && !stdin.isFIFO() && !stdin.isSocket()) return new Promise(() => undefined);
  process.stdin.resume();
  await once(process.stdin, "end");
}
