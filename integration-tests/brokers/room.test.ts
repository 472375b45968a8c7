import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { poll } from "./poll.ts";
import { openRoom, openRoomWithScratch } from "./room.ts";
import { run } from "./run.ts";
import { importOf, namespaceOf, programsIn, startOtherProcess, temporaryFolder } from "./test-support.ts";

const hasNamespaces = process.platform === "linux" && process.getuid?.() === 0;

async function scratchFolder(): Promise<string> {
  const scratch = join(await temporaryFolder(), "scratch");
  await mkdir(scratch);
  return scratch;
}

describe.skipIf(!hasNamespaces)("a room", () => {
  test("what is mounted inside is not seen outside, and goes with the room", async () => {
    const scratch = await scratchFolder();
    const room = await openRoom({ prepare: ['mount -t tmpfs tmpfs "$1"; echo inside >"$1/note"', scratch], scratch });
    expect(await run(room.enter("cat", join(scratch, "note")))).toBe("inside\n");
    expect(existsSync(join(scratch, "note"))).toBe(false);
    await room.close();
    expect(existsSync(scratch)).toBe(false);
  });

  test("a daemon started inside ends with the room", async () => {
    const room = await openRoom();
    await run(room.enter("sh", "-c", "setsid --fork sleep 1000 >/dev/null 2>&1"));
    const namespace = await namespaceOf(room.pid);
    await expect.poll(() => programsIn(namespace)).toContain("sleep");
    await room.close();
    expect(await programsIn(namespace)).toEqual([]);
  });

  test("may be closed again", async () => {
    const room = await openRoom();
    await room.close();
    await expect(room.close()).resolves.toBeUndefined();
  });

  test("one that cannot be prepared says why and leaves nothing", async () => {
    const scratch = await scratchFolder();
    await expect(openRoom({ prepare: ["echo no such thing >&2; false"], scratch })).rejects.toThrow("no such thing");
    expect(existsSync(scratch)).toBe(false);
  });

  test("one whose scratch folder cannot be furnished leaves nothing", async () => {
    let left = "";
    const vain = openRoomWithScratch("test", async (scratch) => {
      left = scratch;
      expect(existsSync(scratch)).toBe(true);
      throw new Error("no furniture");
    });
    await expect(vain).rejects.toThrow("no furniture");
    expect(existsSync(left)).toBe(false);
  });

  test("everything ends when the process that opened the room is killed", async () => {
    const scratch = await scratchFolder();
    const holder = await startOtherProcess(`
    const { openRoom } = ${importOf("room.ts")};
    const room = await openRoom({ scratch: ${JSON.stringify(scratch)} });
    console.log(room.pid)`);
    const namespace = await namespaceOf(holder.firstLine);
    expect(namespace).not.toBe(await namespaceOf("self"));

    holder.kill();
    const ended = async (): Promise<true | undefined> =>
      (await programsIn(namespace)).length === 0 && !existsSync(scratch) ? true : undefined;
    await poll("the end of the room", ended, { deadlineMs: 10_000 });
  });
});
