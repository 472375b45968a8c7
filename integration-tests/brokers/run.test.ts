import { expect, test } from "vitest";
import { run } from "./run.ts";

test("resolves to what the command wrote to stdout", async () => {
  expect(await run(["sh", "-c", "echo out; echo err >&2"])).toBe("out\n");
});

test("or to what it wrote to stderr", async () => {
  expect(await run(["sh", "-c", "echo out; echo err >&2"], { output: "stderr" })).toBe("err\n");
});

test("a failure tells the command, its status and its last lines", async () => {
  await expect(run(["sh", "-c", "echo the reason >&2; exit 3"])).rejects.toThrow("sh ended with 3: the reason");
});

test("a command that cannot be found is named", async () => {
  await expect(run(["no-such-command"])).rejects.toThrow("no-such-command ended with ENOENT");
});

test("a command that takes too long is ended", async () => {
  await expect(run(["sleep", "60"], { timeoutMs: 50 })).rejects.toThrow("sleep did not end within 50 ms");
});

test("an aborted signal ends the command with its reason", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(run(["sleep", "60"], { signal })).rejects.toThrow("enough");
});
