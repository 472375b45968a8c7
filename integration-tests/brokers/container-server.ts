import type { GenericContainer } from "testcontainers";
import type { ServerControl } from "./broker.ts";
import { guardContainer, removeContainer } from "./container-guard.ts";
import { lastLines, messageOf } from "./run.ts";

export interface ContainerServerOptions {
  readonly image: string;
  /** Gives the container what it needs: environment, ports, files. */
  readonly equip: (container: GenericContainer) => GenericContainer;
  /** What the server writes when it is ready. */
  readonly readyText: string;
  /** Resolves when clients can work with it, some time after it is ready by its own account. */
  readonly awaitReady: (signal?: AbortSignal) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** A server that runs in a container. */
export interface ContainerServer {
  readonly control: ServerControl;
  /** Runs a command beside the server and resolves to its output. Rejects, telling the `name`, when it fails. */
  readonly exec: (command: readonly string[], name: string) => Promise<string>;
  /** Removes the container and its data. May be called more than once. */
  readonly stop: () => Promise<void>;
}

/** The host under which the published ports of containers are reached. @throws Error when no Docker daemon answers. */
export async function containerHost(): Promise<string> {
  const { getContainerRuntimeClient } = await import("testcontainers"); // slow: only who needs it waits
  const { info } = await getContainerRuntimeClient();
  // Clients would try ::1 first, where a port need not be published.
  return info.containerRuntime.host.replace(/^localhost$/, "127.0.0.1");
}

/**
 * Starts a server in a container of its own.
 *
 * @throws Error when no Docker daemon answers, the image cannot be pulled, or the server does not start (then with the
 * last lines of its log).
 */
export async function startContainerServer(options: ContainerServerOptions): Promise<ContainerServer> {
  const { image, equip, readyText, awaitReady, signal } = options;
  const { GenericContainer, getContainerRuntimeClient, Wait } = await import("testcontainers");
  const client = await getContainerRuntimeClient();
  const log: string[] = [];
  const started = await equip(new GenericContainer(image))
    .withLogConsumer((stream) => stream.on("data", (line) => log.push(String(line).trimEnd()) > 20 && log.shift()))
    .withWaitStrategy(Wait.forLogMessage(readyText))
    .withStartupTimeout(90_000)
    .start()
    .catch((error: unknown) => {
      throw new Error([messageOf(error), ...log].join("\n"), { cause: error });
    });

  const id = started.getId();
  guardContainer(id);
  const stop = (): Promise<void> => removeContainer(id);
  const container = client.container.getById(id);
  // Docker refuses to stop or kill a paused container.
  const resumeIfPaused = async (): Promise<void> => {
    const { State } = await container.inspect();
    if (State.Paused) await container.unpause();
  };
  const control: ServerControl = {
    async kill() {
      await resumeIfPaused();
      await container.kill();
      await container.wait();
    },
    async shutDown() {
      await resumeIfPaused();
      await container.stop({ t: 60 });
    },
    async start() {
      await container.start();
      await awaitReady();
    },
    pause: async () => void (await container.pause()),
    resume: async () => void (await container.unpause()),
  };
  const exec = async (command: readonly string[], name: string): Promise<string> => {
    const { output, stderr, exitCode } = await started.exec([...command]);
    if (exitCode !== 0) throw new Error(`${name} ended with ${exitCode}: ${lastLines(stderr || output, 8)}`);
    return output;
  };

  try {
    await awaitReady(signal);
    return { control, exec, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
