import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { openHttpLink } from "./brokers/http-link.ts";
import { durableBrokers, sqsUrl, useBroker, useRabbitmq, useSqs } from "./brokers-in-use.ts";

const main = path.resolve(import.meta.dirname, "../docs/examples/webhooks/src/main.ts");

interface DemoRun {
  readonly code: number | null;
  /** From the line "Summary" on. */
  readonly summary: string;
  readonly output: string;
}

/** Runs the demo as a user would; `onDelivered` is told how many webhooks were delivered so far. */
async function runDemo(
  args: readonly string[],
  onDelivered: (delivered: number) => void = () => undefined,
): Promise<DemoRun> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const read = (stream: NodeJS.ReadableStream): void => {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      const delivered = /^→\s+(\d+) delivered/.exec(line)?.[1];
      if (delivered !== undefined) onDelivered(Number(delivered));
    });
  };
  read(child.stdout);
  read(child.stderr);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const output = lines.join("\n");
  return { code, output, summary: output.slice(output.indexOf("\nSummary\n")) };
}

/** Counted by hand from the payloads: 4 have no sender, 108 are newsworthy, 3 of these are an organization's, 12 are put off once. */
const expected = `
Summary
  published 329 webhooks, sent 108 commands
  notifier       329 in = 329 handled (0 after a retry) + 0 dead
  metrics        329 in = 329 handled (0 after a retry) + 0 dead
  audit          329 in = 325 handled (0 after a retry) + 4 dead
                  4 × ATTEMPTS_EXHAUSTED: security_advisory has no sender: who did it?
  mailers        108 in = 105 handled (12 after a retry) + 3 dead
                  3 × DEAD_LETTERED: Octocoders is an organization: it has no mailbox
  checked: in = handled + dead for every group, nothing lost`;

test("over memory: everything is handled or dead, and nothing lost", async () => {
  const run = await runDemo(["--broker", "memory:"]);
  expect(run.summary, run.output).toBe(expected);
  expect(run.code).toBe(0);
});

test("over the memory broker's log: the same", async () => {
  const run = await runDemo(["--broker", "memory:demo?personality=log", "--rate", "1000"]);
  expect(run.summary, run.output).toBe(expected);
  expect(run.code).toBe(0);
});

describe.each(durableBrokers)("over $kind $version", (name) => {
  const broker = useBroker(name);

  test("the same", async () => {
    const run = await runDemo(["--broker", broker().url]);
    expect(run.summary, run.output).toBe(expected);
    expect(run.code).toBe(0);
  });

  test("the same, while the broker is killed and started again", async () => {
    let restart: Promise<void> | undefined;
    const run = await runDemo(["--broker", broker().url, "--rate", "60"], (delivered) => {
      // A RabbitMQ that is killed within a second of a declaration may forget the queue: its own limit.
      if (delivered < 100) return;
      const { control } = broker();
      restart ??= control?.kill().then(() => control.start());
    });
    await restart;
    expect(run.summary, run.output).toBe(expected);
    expect(run.code).toBe(0);
    expect(restart).toBeDefined();
  });
});

describe.each(["3.10", "4.0"] as const)("over RabbitMQ %s", (version) => {
  const broker = useRabbitmq(version);

  test("the same, while all connections are closed again and again", async () => {
    const cuts: Promise<void>[] = [];
    const run = await runDemo(["--broker", broker().url, "--rate", "60"], () => {
      const cut = broker().control?.closeAllConnections("a test");
      if (cut !== undefined) cuts.push(cut);
    });
    await Promise.all(cuts);
    expect(run.summary, run.output).toBe(expected);
    expect(run.code).toBe(0);
    expect(run.output).toContain("was lost");
    expect(cuts.length).toBeGreaterThanOrEqual(5);
  });
});

describe("over SQS", () => {
  const broker = useSqs();

  test("the same, while all connections are reset again and again", async () => {
    const link = await openHttpLink(broker().endpoint);
    const url = `${sqsUrl({ ...broker(), endpoint: link.endpoint })}&visibilitySeconds=3&waitSeconds=3`;
    let cuts = 0;
    const cut = (): void => {
      cuts++;
      link.cut();
    };
    const run = await runDemo(["--broker", url, "--rate", "60"], cut).finally(() => link.close());
    expect(run.summary, run.output).toBe(expected);
    expect(run.code).toBe(0);
    expect(run.output).toContain("was lost");
    expect(cuts).toBeGreaterThanOrEqual(5);
  });
});
