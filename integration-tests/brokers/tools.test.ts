import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { temporaryFolder } from "./test-support.ts";
import { ensureTool } from "./tools.ts";

const options = { log: () => undefined };

afterEach(() => void vi.unstubAllEnvs());

/** A folder with one program, which is all that PATH names. */
async function onlyProgram(name: string, script: string): Promise<string> {
  const folder = await temporaryFolder();
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  vi.stubEnv("PATH", folder);
  return path;
}

test("a program that is there is taken as it is", async () => {
  const path = await onlyProgram("kcat", "");
  expect(await ensureTool("kcat", options)).toBe(path);
});

test("where one is missing, and apt too, it is named with the package that brings it", async () => {
  await onlyProgram("kcat", "");
  await expect(ensureTool("mvn", options)).rejects.toThrow("no mvn (Debian's package maven) here, and no apt-get");
});

test("a Java that is too old is not taken; there may be another one in /usr/lib/jvm", async () => {
  const old = await onlyProgram("java", 'echo "    java.specification.version = 11" >&2');
  const outcome = await ensureTool("java", options).catch((error: Error) => error.message);
  expect(outcome).not.toBe(old);
  expect(outcome).toMatch(/\/bin\/java$|^no fitting java \(Debian's package openjdk-17-jre-headless\)/);
});

test("a Java that is new enough is taken", async () => {
  const path = await onlyProgram("java", 'echo "    java.specification.version = 21" >&2');
  expect(await ensureTool("java", options)).toBe(path);
});

test("a Python that is too old, or has no pip, is not taken", async () => {
  await onlyProgram("python3", "exit 1");
  await expect(ensureTool("python3", options)).rejects.toThrow(
    "no fitting python3 (Debian's package python3-pip) here, and no apt-get",
  );
});
