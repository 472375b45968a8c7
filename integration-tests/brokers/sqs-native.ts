import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { SqsBroker } from "./broker.ts";
import { type NativeOptions, nativeServer } from "./native-server.ts";
import { onFreePorts } from "./ports.ts";
import { openRoomWithScratch } from "./room.ts";
import { run } from "./run.ts";
import { sqsPackages } from "./sqs-packages.ts";
import { awaitSqs, probeSqs, startedSqs } from "./sqs-probe.ts";
import { ensureTool } from "./tools.ts";

// The processes of the room have numbers of their own, which are to be found in /proc.
const mounts = "mount -t proc proc /proc";

const emulator = fileURLToPath(new URL("sqs-emulator.py", import.meta.url));

/**
 * Starts an emulator of SQS and SNS, ministack, as a process of this machine, on a free port of the loopback address.
 *
 * @throws Error that says why it cannot be had here; with the last lines of its log when it does not start.
 */
export async function startNativeSqs(options: NativeOptions): Promise<SqsBroker> {
  if (process.platform !== "linux") {
    throw new Error(`native brokers run in namespaces of Linux, and this is ${process.platform}`);
  }
  const found = await ensureTool("python3", options);
  const packages = await sqsPackages(found, options);
  // What is found may be a script that chooses among several, and needs its environment for that.
  const python = (await run([found, "-c", "import sys; print(sys.executable)"])).trim();
  return onFreePorts(1, ([port = 0]) => startOn(port, { python, packages }, options.signal));
}

interface Software {
  readonly python: string;
  readonly packages: string;
}

async function startOn(port: number, { python, packages }: Software, signal?: AbortSignal): Promise<SqsBroker> {
  const { room, scratch } = await openRoomWithScratch("sqs", async () => [mounts]);
  try {
    const endpoint = `http://127.0.0.1:${port}`;
    const pidFile = join(scratch, "pid");
    const server = nativeServer({
      room,
      inside: room.enter,
      command: ["sh", "-c", '"$@" & echo $! >"$0"; wait $!', pidFile, python, emulator],
      pidFile,
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        LC_ALL: "C.UTF-8",
        HOME: scratch,
        TMPDIR: scratch,
        PYTHONPATH: packages,
        PYTHONDONTWRITEBYTECODE: "1", // several brokers share the packages
        BIND_HOST: "127.0.0.1",
        GATEWAY_PORT: String(port),
        SERVICES: "sqs,sns",
        AUTH: "true",
        PERSIST_STATE: "1",
        STATE_DIR: join(scratch, "state"),
        // Listeners of services that nobody asked for.
        IOT_MTLS_ENABLED: "0",
        SFTP_ENABLED: "0",
      },
      log: join(scratch, "log"),
      readyText: "Running on http",
      awaitReady: async (signal) => void (await awaitSqs(endpoint, { deadlineMs: 10_000, signal })),
      killSignal: "USR1",
    });
    await server.start(signal);
    return startedSqs(endpoint, await probeSqs(endpoint), {
      origin: "native",
      control: { ...server, isDurable: true },
      stop: () => room.close(),
    });
  } catch (error) {
    await room.close();
    throw error;
  }
}
