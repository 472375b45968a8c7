import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { sqsUrl, useKafka, useRabbitmq, useSqs } from "./brokers-in-use.ts";

const root = path.resolve(import.meta.dirname, "..");
const broker = useRabbitmq("4.0");
const kafka = useKafka("4.4");
const sqs = useSqs();

async function runSample(url: string): Promise<string> {
  const readme = await readFile(path.join(root, "README.md"), "utf8");
  const sample = /```ts\n([\s\S]+?)```/.exec(readme)?.[1] ?? "";
  const file = path.join(import.meta.dirname, `.readme-sample-${process.pid}.ts`);
  await writeFile(file, sample);
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], {
      env: { ...process.env, BROKER_URL: url },
      timeout: 30_000,
    });
    return stdout + stderr;
  } finally {
    await rm(file);
  }
}

describe("the README's sample", () => {
  test("does what it says over memory", async () => {
    expect(await runSample("memory:")).toBe("mail about posthorn: same flow true\n");
  });

  test("does the same over RabbitMQ", async () => {
    expect(await runSample(broker().url)).toBe("mail about posthorn: same flow true\n");
  });

  test("does the same over Kafka", async () => {
    expect(await runSample(kafka().url)).toBe("mail about posthorn: same flow true\n");
  });

  test("does the same over SQS and SNS", async () => {
    expect(await runSample(sqsUrl(sqs()))).toBe("mail about posthorn: same flow true\n");
  });
});

test("every command that the README names exists", async () => {
  const readme = await readFile(path.join(root, "README.md"), "utf8");
  const { scripts } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const named = [...readme.matchAll(/npm (?:run )?([a-z:]+)/g)]
    .map((match) => match[1] ?? "")
    .filter((name) => name !== "run");
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});
