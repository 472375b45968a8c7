// node cli.ts rabbitmq|kafka|sqs [version]: starts a broker, prints its URL, stops it on Ctrl-C, SIGTERM or the end of stdin.
import { once } from "node:events";
import { fstatSync } from "node:fs";
import type { RunningBroker } from "./broker.ts";
import { resolveKafka, resolveRabbitmq, resolveSqs } from "./resolve.ts";
import { messageOf } from "./run.ts";
import type { Resolved, ResolveOptions } from "./ways.ts";

interface Offer {
  readonly kind: RunningBroker["kind"];
  readonly name: string;
  readonly version: string;
  readonly resolve: (options: Omit<ResolveOptions<never>, "versions">) => Promise<Resolved<RunningBroker>>;
}

/** Of each kind, the version that is meant when none is named comes first. */
const offers: readonly Offer[] = [
  ...(["4.0", "3.10", "4.3"] as const).map((version): Offer => ({
    kind: "rabbitmq",
    name: "RabbitMQ",
    version,
    resolve: (options) => resolveRabbitmq({ ...options, versions: [version] }),
  })),
  ...(["4.4", "3.9"] as const).map((version): Offer => ({
    kind: "kafka",
    name: "Kafka",
    version,
    resolve: (options) => resolveKafka({ ...options, versions: [version] }),
  })),
  { kind: "sqs", name: "SQS and SNS", version: "", resolve: resolveSqs },
];

const [kind, wanted] = process.argv.slice(2);
const offer = offers.find(({ kind: known, version }) => known === kind && version === (wanted ?? version));

if (offer === undefined) {
  const [rabbitmq, kafka] = ["rabbitmq", "kafka"].map((kind) =>
    offers.flatMap((offer) => (offer.kind === kind ? [offer.version] : [])).join("|"),
  );
  console.error(`usage: broker rabbitmq [${rabbitmq}] | kafka [${kafka}] | sqs`);
  process.exitCode = 2;
} else {
  await serve(offer);
}

async function serve({ name, version, resolve }: Offer): Promise<void> {
  const alive = setInterval(() => undefined, 60_000); // a broker keeps no process alive
  const ending = new AbortController();
  const enough = Promise.race([once(ending.signal, "abort"), stdinEnd().then(() => ending.abort())]);
  // Not `once`: a library that finds itself the only listener left would end this process before its work.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => ending.abort());
  try {
    const { brokers, missing } = await resolve({ signal: ending.signal, log: console.error });
    const [broker] = brokers;
    if (broker === undefined) throw new Error(missing.map(({ reason }) => reason).join("; "));
    console.error(`${name} ${broker.version} (${broker.origin}), until Ctrl-C:`);
    console.log(broker.url);
    await enough;
    await broker.stop();
  } catch (error) {
    if (!ending.signal.aborted) {
      console.error(`no ${[name, version].join(" ").trim()}: ${messageOf(error)}`);
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
