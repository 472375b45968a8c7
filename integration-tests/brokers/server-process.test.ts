import { join } from "node:path";
import { expect, test } from "vitest";
import { startServerProcess } from "./server-process.ts";
import { temporaryFolder } from "./test-support.ts";

async function start(script: string, deadlineMs = 10_000): ReturnType<typeof startServerProcess> {
  const log = join(await temporaryFolder(), "log");
  return startServerProcess({ command: ["sh", "-c", script], env: process.env, log, readyText: "ready", deadlineMs });
}

test("resolves when the server says that it is ready, and tells when it has ended", async () => {
  const server = await start("echo ready; sleep 0.2");
  expect(server.hasEnded).toBe(false);
  await server.ended();
  expect(server.hasEnded).toBe(true);
});

test("a server that ends before it is ready has its last words told", async () => {
  await expect(start("echo the reason >&2; exit 3")).rejects.toThrow(/it ended with 3; its log ends so:\nthe reason$/);
});

test("a server that is not ready in time has its last words told", async () => {
  await expect(start("echo working; sleep 0.5", 100)).rejects.toThrow(/"ready" in its log; its log ends so:\nworking$/);
});

test("a command that cannot be started is named", async () => {
  const log = join(await temporaryFolder(), "log");
  const vain = startServerProcess({
    command: ["no-such-command"],
    env: {},
    log,
    readyText: "ready",
    deadlineMs: 10_000,
  });
  await expect(vain).rejects.toThrow("no-such-command ENOENT");
});
