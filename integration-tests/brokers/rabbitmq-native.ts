import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RabbitmqBroker, RabbitmqVersion } from "./broker.ts";
import { debianRoot } from "./debian-root.ts";
import { type NativeOptions, nativeServer } from "./native-server.ts";
import { onFreePorts } from "./ports.ts";
import { closeAllConnectionsArgs } from "./rabbitmq-commands.ts";
import {
  rabbitmqConfiguration,
  rabbitmqEnvironment,
  rabbitmqHome,
  type RabbitmqPorts,
} from "./rabbitmq-native-settings.ts";
import { awaitRabbitmq, probeRabbitmq } from "./rabbitmq-probe.ts";
import { openRoomWithScratch } from "./room.ts";
import { run } from "./run.ts";

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
export async function startNativeRabbitmq(version: RabbitmqVersion, options: NativeOptions): Promise<RabbitmqBroker> {
  const { signal, log } = options;
  const suite = suites[version];
  const root = await debianRoot({ name: `rabbitmq-${suite}`, suite, packages: ["rabbitmq-server"], signal, log });
  const broker = await onFreePorts(3, ([amqp = 0, distribution = 0, epmd = 0]) =>
    startIn(root, { amqp, distribution, epmd }, signal),
  );
  if (broker.version.startsWith(`${version}.`)) return broker;
  await broker.stop();
  throw new Error(`Debian ${suite} has RabbitMQ ${broker.version} by now (its folder: ${root})`);
}

async function startIn(root: string, ports: RabbitmqPorts, signal: AbortSignal | undefined): Promise<RabbitmqBroker> {
  const { room, scratch } = await openRoomWithScratch("rabbitmq", async (scratch) => {
    const data = join(scratch, "data");
    await mkdir(data);
    await writeFile(join(data, "rabbitmq.conf"), rabbitmqConfiguration(ports));
    await writeFile(join(data, "enabled_plugins"), "[].\n");
    return [mounts, root, data];
  });

  try {
    const url = `amqp://guest:guest@127.0.0.1:${ports.amqp}`;
    const env = rabbitmqEnvironment(ports);
    const inside = (...command: string[]): [string, ...string[]] => room.enter("chroot", root, ...command);
    const ctl = (...args: string[]): Promise<string> =>
      run(inside("/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", ...args), { name: `rabbitmqctl ${args[0]}`, env });
    const server = nativeServer({
      room,
      inside,
      command: ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
      pidFile: `${rabbitmqHome}/pid`,
      env,
      log: join(scratch, "log"),
      readyText: "Server startup complete",
      awaitReady: async (signal) => void (await awaitRabbitmq(url, { deadlineMs: 10_000, signal })),
    });
    await server.start(signal);
    return {
      kind: "rabbitmq",
      version: await probeRabbitmq(url),
      origin: "native",
      url,
      control: {
        ...server,
        ctl,
        async closeAllConnections(reason) {
          await ctl(...closeAllConnectionsArgs(reason));
        },
      },
      stop: () => room.close(),
      [Symbol.asyncDispose]: () => room.close(),
    };
  } catch (error) {
    await room.close();
    throw error;
  }
}
