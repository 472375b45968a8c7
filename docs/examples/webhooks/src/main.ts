// npm run demo [-- --broker amqp://… --rate 150]
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createBus, openTransport } from "@posthorn/core";
import type { Bus } from "@posthorn/core";
import { gateway } from "./gateway.ts";
import { createLedger } from "./ledger.ts";
import { loadDeliveries } from "./payloads.ts";
import type { Delivery } from "./payloads.ts";
import { summarise } from "./report.ts";
import type { Group } from "./report.ts";
import { audit, mailer, metrics, notifier } from "./services.ts";

const { values } = parseArgs({
  options: {
    broker: { type: "string" },
    rate: { type: "string", default: "150" },
    timeout: { type: "string", default: "120" },
  },
});
const broker = values.broker ?? process.env["BROKER_URL"] ?? "memory:";
const perSecond = Number(values.rate);
const timeoutMs = Number(values.timeout) * 1_000;
const tell = (line: string): void => console.log(line);

const ledger = createLedger(tell);
await using stack = new AsyncDisposableStack();

/** The default goes on for a quarter of an hour. Here the last wait, of two seconds, is spent on the broker. */
const retry = { attempts: 4, backoff: { initialMs: 100, maxMs: 2_000, factor: 5, jitter: 0.2 } };

/** One instance of a service: its own connection to the broker. The only place that knows which brokers there are. */
async function instance(service: string, name = service): Promise<Bus> {
  const transport = await openTransport(broker, {
    memory: () => import("@posthorn/memory"),
    amqp: () => import("@posthorn/rabbitmq"),
    kafka: () => import("@posthorn/kafka"),
    sqs: () => import("@posthorn/sqs-sns"),
  });
  return stack.use(createBus({ service, transport, retry, observe: ledger.observe(name) }));
}

const counts = new Map<string, number>();
const log: string[] = [];
const buses = await Promise.all(
  ["gateway", "notifier", "metrics", "audit"]
    .map((service) => instance(service))
    .concat(["1", "2"].map((worker) => instance("mailer", `mailer-${worker}`))),
);
const [gatewayBus, notifierBus, metricsBus, auditBus, mailerOne, mailerTwo] = buses as [Bus, Bus, Bus, Bus, Bus, Bus];

const deliveries = loadDeliveries();
const webhookIds: ReadonlySet<string> = new Set(deliveries.map(({ id }) => id));
const http = gateway(gatewayBus);
const groups: readonly Group[] = [
  { name: "notifier", expected: webhookIds, subscription: notifier(notifierBus) },
  { name: "metrics", expected: webhookIds, subscription: metrics(metricsBus, counts) },
  { name: "audit", expected: webhookIds, subscription: audit(auditBus, log) },
  { name: "mailers", expected: ledger.commands, subscription: mailer(mailerOne) },
];
mailer(mailerTwo);

tell(`Six instances of five services start on ${broker.split(":")[0]} …`);
await Promise.all(buses.map((bus) => bus.start()));

tell(
  `GitHub delivers ${deliveries.length} webhooks of ${new Set(deliveries.map(({ event }) => event)).size} types, ${perSecond} a second:`,
);
await using _server = await listen();
for (const [index, delivery] of deliveries.entries()) {
  const due = sleep(1_000 / perSecond);
  await deliver(delivery);
  if ((index + 1) % 50 === 0 || index + 1 === deliveries.length) tell(progress(index + 1));
  await due;
}

const settled = (group: Group): boolean => {
  const { handled, dead } = ledger.account(group.subscription.group);
  return [...group.expected].every((id) => handled.has(id) || dead.has(id));
};
await ledger.until(() => groups.slice(0, 3).every(settled), timeoutMs);
await ledger.until(() => groups.every(settled), timeoutMs);

tell("\nWho did what (a duplicate counts twice here):");
for (const { name, subscription } of groups) {
  const shares = [...ledger.account(subscription.group).byInstance].map(([who, count]) => `${who} ${count}`);
  tell(`  ${name.padEnd(12)} ${shares.toSorted().join(", ")}`);
}
tell(
  `  most frequent events: ${[...counts]
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, 4)
    .map(([event, count]) => `${event} ${count}`)
    .join(", ")}`,
);

const { lines, problems } = await summarise(ledger, groups);
tell(`\nSummary\n${lines.map((line) => `  ${line}`).join("\n")}`);
if (problems.length === 0) tell("  checked: in = handled + dead for every group, nothing lost");
else {
  for (const problem of problems) tell(`  PROBLEM: ${problem}`);
  process.exitCode = 1;
}
// The demo's own dead letters have been shown; the next run begins without them.
for (const { subscription } of groups) await subscription.deadLetters.purge();

/** As GitHub does: an answer other than 2xx means deliver again. */
async function deliver({ id, event, payload }: Delivery): Promise<void> {
  const { port } = http.address() as AddressInfo;
  for (const startedAt = Date.now(); Date.now() - startedAt < timeoutMs;) {
    const response = await fetch(`http://127.0.0.1:${port}/webhooks`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-github-event": event, "x-github-delivery": id },
      body: JSON.stringify(payload),
    });
    if (response.ok) return;
    await sleep(200);
  }
  throw new Error(`The gateway does not take ${event} ${id}.`);
}

function progress(delivered: number): string {
  const shares = groups.map(({ name, subscription }) => {
    const { handled, dead } = ledger.account(subscription.group);
    return `${name} ${handled.size}${dead.size === 0 ? "" : ` (${dead.size} dead)`}`;
  });
  return `→ ${String(delivered).padStart(3)} delivered · ${shares.join(" · ")}`;
}

async function listen(): Promise<AsyncDisposable> {
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
}
