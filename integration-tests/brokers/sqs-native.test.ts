import { readdir } from "node:fs/promises";
import { ReceiveMessageCommand } from "@aws-sdk/client-sqs";
import { expect, test } from "vitest";
import { poll } from "./poll.ts";
import { sqsClients } from "./sqs-clients.ts";
import { startNativeSqs } from "./sqs-native.ts";
import { probeSqs } from "./sqs-probe.ts";
import { importOf, namespacesOfCommands, programsIn, startOtherProcess, temporaryFolder } from "./test-support.ts";

const native = process.platform === "linux" && process.getuid?.() === 0;

test.skipIf(!native)(
  "no process and no file of the broker is left when its parent is killed",
  { timeout: 15 * 60_000 },
  async () => {
    const folder = await temporaryFolder();
    const parent = await startOtherProcess(
      `const { startNativeSqs } = ${importOf("sqs-native.ts")};
     const broker = await startNativeSqs({ log: console.error });
     console.log(broker.endpoint)`,
      { ...process.env, TMPDIR: folder },
    );
    expect(await probeSqs(parent.firstLine)).toEqual({ version: "ministack 1.5.33", authorizes: true });
    const [namespace = "", ...others] = await namespacesOfCommands(folder);
    expect(others).toEqual([]);
    expect((await programsIn(namespace)).join()).toContain("python");
    expect(await readdir(folder)).toHaveLength(1);

    parent.kill();
    const left = async (): Promise<string[]> => [...(await programsIn(namespace)), ...(await readdir(folder))];
    await poll("the end of the broker", async () => ((await left()).length === 0 ? true : undefined), {
      deadlineMs: 10_000,
    });
    await expect(probeSqs(parent.firstLine)).rejects.toThrow("ECONNREFUSED");
  },
);

test.skipIf(!native)("a long poll ends with its client, and takes nothing any more", async () => {
  await using broker = await startNativeSqs({ log: console.error });
  using abandoning = sqsClients(broker);
  using clients = sqsClients(broker);
  const queueUrl = await clients.createQueue("abandoned");
  const poll = new ReceiveMessageCommand({ QueueUrl: queueUrl, WaitTimeSeconds: 20 });
  const abandoned = abandoning.sqs.send(poll, { abortSignal: AbortSignal.timeout(300) });
  await expect(abandoned).rejects.toThrow(/aborted/i);
  await clients.createQueue("another"); // until the broker has seen the end of the connection
  await clients.send(queueUrl, "for somebody else");
  expect((await clients.receive(queueUrl, 5)).map(({ Body }) => Body)).toEqual(["for somebody else"]);
});
