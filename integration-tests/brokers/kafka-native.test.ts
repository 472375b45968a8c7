import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { probeKafka } from "./kafka-ready.ts";
import { addressOf } from "./kafka-wire.ts";
import { poll } from "./poll.ts";
import { importOf, namespacesOfCommands, programsIn, startOtherProcess, temporaryFolder } from "./test-support.ts";

const native = process.platform === "linux" && process.getuid?.() === 0;

test.skipIf(!native)(
  "no process and no file of the broker is left when its parent is killed",
  { timeout: 15 * 60_000 },
  async () => {
    const folder = await temporaryFolder();
    const parent = await startOtherProcess(
      `const { startNativeKafka } = ${importOf("kafka-native.ts")};
     const broker = await startNativeKafka("4.4", { log: console.error });
     console.log(broker.brokers[0])`,
      { ...process.env, TMPDIR: folder },
    );
    const address = addressOf(parent.firstLine);
    expect(await probeKafka(address)).toBe("4.4");
    const [namespace = "", ...others] = await namespacesOfCommands(folder);
    expect(others).toEqual([]);
    expect(await programsIn(namespace)).toContain("java");
    expect(await readdir(folder)).toHaveLength(1);

    parent.kill();
    const left = async (): Promise<string[]> => [...(await programsIn(namespace)), ...(await readdir(folder))];
    await poll("the end of the broker", async () => ((await left()).length === 0 ? true : undefined), {
      deadlineMs: 10_000,
    });
    await expect(probeKafka(address)).rejects.toThrow("ECONNREFUSED");
  },
);
