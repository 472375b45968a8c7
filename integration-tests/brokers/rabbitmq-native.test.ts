import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { poll } from "./poll.ts";
import { probeRabbitmq } from "./rabbitmq-probe.ts";
import { importOf, namespacesOfCommands, programsIn, startOtherProcess, temporaryFolder } from "./test-support.ts";

const native = process.platform === "linux" && process.getuid?.() === 0;

test.skipIf(!native)(
  "no process and no file of the broker is left when its parent is killed",
  { timeout: 15 * 60_000 },
  async () => {
    const folder = await temporaryFolder();
    const parent = await startOtherProcess(
      `const { startNativeRabbitmq } = ${importOf("rabbitmq-native.ts")};
     const broker = await startNativeRabbitmq("4.0", { log: console.error });
     console.log(broker.url)`,
      { ...process.env, TMPDIR: folder },
    );
    await probeRabbitmq(parent.firstLine);
    const [namespace = "", ...others] = await namespacesOfCommands(folder);
    expect(others).toEqual([]);
    expect(await programsIn(namespace)).toEqual(expect.arrayContaining(["beam.smp", "epmd"]));
    expect(await readdir(folder)).toHaveLength(1);

    parent.kill();
    const left = async (): Promise<string[]> => [...(await programsIn(namespace)), ...(await readdir(folder))];
    await poll("the end of the broker", async () => ((await left()).length === 0 ? true : undefined), {
      deadlineMs: 10_000,
    });
    await expect(probeRabbitmq(parent.firstLine)).rejects.toThrow("ECONNREFUSED");
  },
);
