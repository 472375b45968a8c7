import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { createBus } from "@posthorn/core";
import { inletAddress } from "@posthorn/core/transport";
import { describe, expect, test } from "vitest";
import { durableBrokers, useBroker } from "./brokers-in-use.ts";
import { work } from "./killed-consumer/contracts.ts";
import { transportFor } from "./transport-for.ts";

const program = path.resolve(import.meta.dirname, "killed-consumer/consumer.ts");
const messages = 500;
/** Kills happen after so many handlings have begun in one process: while others are under way. */
const killAfter = [7, 40, 3, 90, 60];

describe.each(durableBrokers)("on $kind $version", (name) => {
  const broker = useBroker(name);

  test("every confirmed message is handled or dead in the end, however often the consumer is killed", async () => {
    const name = "killed-consumer";
    const transport = await transportFor(broker().url);
    await using sender = createBus({ service: "sender", transport });
    sender.declare(work(name));
    await sender.start();
    const confirmed = new Set<number>();
    const numbers = Array.from({ length: messages }, (_, index) => index + 1);
    await Promise.all(
      numbers.map(async (number) => {
        await sender.send(work(name), { number });
        confirmed.add(number);
      }),
    );

    const handled = new Set<number>();
    for (const limit of killAfter) await consume(broker().url, name, handled, (begun) => begun === limit, "SIGKILL");

    const { channel } = work(name);
    const { signal } = new AbortController();
    const dead = async (): Promise<Set<number>> => {
      const letters = await sender.deadLetters(channel).browse({ limit: messages });
      return new Set(
        letters.map(({ message }) => (JSON.parse(new TextDecoder().decode(message.body)) as { number: number }).number),
      );
    };
    // The last one is left to finish.
    const settled = async (): Promise<boolean> => new Set([...handled, ...(await dead())]).size === confirmed.size;
    await consume(broker().url, name, handled, settled, "SIGTERM");

    const graves = await dead();
    expect(numbers.filter((number) => !handled.has(number) && !graves.has(number))).toEqual([]);
    expect([...graves].toSorted((left, right) => left - right)).toEqual(numbers.filter((number) => number % 25 === 0));
    const { ready } = await transport.admin.depth(inletAddress(channel, name), { signal });
    expect(ready).toBe(0);
  });
});

/** Runs a consumer until `enough` says so, then ends it by `signal`. */
async function consume(
  url: string,
  name: string,
  handled: Set<number>,
  enough: (begun: number) => boolean | Promise<boolean>,
  signal: NodeJS.Signals,
): Promise<void> {
  const child: ChildProcess = spawn(process.execPath, [program, url, name], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  if (child.stdout === null) throw new Error("The consumer has no output.");
  let begun = 0;
  let ended = false;
  const end = async (): Promise<void> => {
    if (ended || !(await enough(begun))) return;
    ended = true;
    child.kill(signal);
  };
  // Dead letters are told by nobody: look again from time to time. One look after the other: it may hide from the next what it sees.
  const look = async (): Promise<void> => {
    while (!ended && child.exitCode === null && child.signalCode === null) {
      await sleep(200);
      await end();
    }
  };
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    const [word, number] = line.split(" ");
    if (word === "begun") begun++;
    if (word === "handled") handled.add(Number(number));
    if (signal === "SIGKILL") void end();
  });
  await (signal === "SIGTERM" ? Promise.all([exited, look()]) : exited);
}
