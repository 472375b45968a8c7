import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Broker, RabbitmqControl, RabbitmqVersion } from "./broker.ts";
import { debianRoot } from "./debian-root.ts";
import { freePorts } from "./ports.ts";
import { closeAllConnectionsArgs } from "./rabbitmq-commands.ts";
import { rabbitmqConfiguration, rabbitmqEnvironment, rabbitmqHome } from "./rabbitmq-native-settings.ts";
import { awaitRabbitmq } from "./rabbitmq-probe.ts";
import { openRoom, type Room } from "./room.ts";
import { messageOf, run } from "./run.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

export interface NativeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly log: (line: string) => void;
}

/** The Debian suite that carries each version. */
const suites: Readonly<Record<RabbitmqVersion, string>> = { "3.10": "bookworm", "4.0": "trixie", "4.3": "forky" };

// The cached root stays as it was built, whatever runs in it: several brokers share it at the same time.
const mounts = `
  mount --bind "$1" "$1"
  mount -o remount,bind,ro "$1"
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs tmpfs "$1/tmp"
  mount --bind "$2" "$1${rabbitmqHome}"`;

/**
 * Starts a RabbitMQ as processes of this machine, on free ports of the loopback address.
 *
 * @throws Error that says why it cannot be had here; with the last lines of the broker's log when it does not start.
 */
export async function startNativeRabbitmq(version: RabbitmqVersion, options: NativeOptions): Promise<Broker> {
  const { signal, log } = options;
  const suite = suites[version];
  const root = await debianRoot({ name: `rabbitmq-${suite}`, suite, packages: ["rabbitmq-server"], signal, log });
  for (let attempt = 1; ; attempt++) {
    try {
      const broker = await startIn(root, signal);
      if (broker.version.startsWith(`${version}.`)) return broker;
      await broker.stop();
      throw new Error(`Debian ${suite} has RabbitMQ ${broker.version} by now (its folder: ${root})`);
    } catch (error) {
      // Between the choice of a free port and its use another process may have taken it.
      const portTaken = /eaddrinuse|address already in use/i.test(messageOf(error));
      if (!portTaken || attempt === 3) throw error;
    }
  }
}

async function startIn(root: string, signal: AbortSignal | undefined): Promise<Broker> {
  const [amqp = 0, distribution = 0, epmd = 0] = await freePorts(3);
  const ports = { amqp, distribution, epmd };
  const scratch = await mkdtemp(join(tmpdir(), "posthorn-rabbitmq-"));
  const data = join(scratch, "data");
  let room: Room;
  try {
    await mkdir(data);
    await writeFile(join(data, "rabbitmq.conf"), rabbitmqConfiguration(ports));
    await writeFile(join(data, "enabled_plugins"), "[].\n");
    room = await openRoom({ prepare: [mounts, root, data], scratch });
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }

  try {
    const url = `amqp://guest:guest@127.0.0.1:${amqp}`;
    const control = controlIn({
      room,
      root,
      url,
      env: rabbitmqEnvironment(ports),
      log: join(scratch, "log"),
    });
    const version = await control.start(signal);
    return {
      kind: "rabbitmq",
      version,
      origin: "native",
      url,
      control: { ...control, start: async () => void (await control.start()) },
      stop: () => room.close(),
      [Symbol.asyncDispose]: () => room.close(),
    };
  } catch (error) {
    await room.close();
    throw error;
  }
}

interface Place {
  readonly room: Room;
  readonly root: string;
  readonly url: string;
  readonly env: Record<string, string>;
  readonly log: string;
}

/** The control of a broker that is not running yet; its `start` also resolves to the broker's version. */
interface NativeControl extends Omit<RabbitmqControl, "start"> {
  start(signal?: AbortSignal): Promise<string>;
}

function controlIn({ room, root, url, env, log }: Place): NativeControl {
  const inside = (...command: string[]): [string, ...string[]] => room.enter("chroot", root, ...command);
  const ctl = (...args: string[]): Promise<string> =>
    run(inside("/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", ...args), { name: `rabbitmqctl ${args[0]}`, env });

  let server: ServerProcess | undefined;
  const running = (): ServerProcess => {
    if (server === undefined || server.hasEnded) throw new Error("the broker is not running");
    return server;
  };
  /** Runs a line of shell that finds the number of the broker's process in `$pid`. */
  const withPid = async (line: string): Promise<void> => {
    running();
    await run(inside("sh", "-c", `read -r pid <${rabbitmqHome}/pid; ${line}`), { env });
  };

  return {
    ctl,
    async closeAllConnections(reason) {
      await ctl(...closeAllConnectionsArgs(reason));
    },
    async kill() {
      const broker = running();
      await withPid('kill -KILL "$pid"');
      await broker.ended(); // of the script around the broker, which waits for the broker
    },
    async shutDown() {
      const broker = running();
      await withPid('kill -TERM "$pid" && kill -CONT "$pid"'); // a paused one must go on to be able to stop
      await broker.ended();
    },
    async pause() {
      await withPid('kill -STOP "$pid" && until grep -q "^State:.T" "/proc/$pid/status"; do sleep 0.01; done');
    },
    async resume() {
      await withPid('kill -CONT "$pid"');
    },
    async start(signal) {
      if (server?.hasEnded === false) throw new Error("the broker is running already");
      const command = inside("/usr/lib/rabbitmq/bin/rabbitmq-server");
      try {
        server = await startServerProcess({
          command,
          env,
          log,
          readyText: "Server startup complete",
          deadlineMs: 90_000,
          signal,
        });
        return await awaitRabbitmq(url, { deadlineMs: 10_000, signal });
      } catch (error) {
        // What was started must not be in the way of the next try. That fails only where the room has been closed.
        await run(room.enter("sh", "-c", "kill -KILL -1")).catch(() => undefined);
        throw error;
      }
    },
  };
}
