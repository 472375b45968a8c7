import type { Broker, RabbitmqControl } from "./broker.ts";
import { guardContainer, removeContainer } from "./container-guard.ts";
import { freePorts } from "./ports.ts";
import { closeAllConnectionsArgs } from "./rabbitmq-commands.ts";
import { quickDeadLetterRetries } from "./rabbitmq-native-settings.ts";
import { awaitRabbitmq } from "./rabbitmq-probe.ts";
import { messageOf } from "./run.ts";

const startDeadlineMs = 90_000;

/**
 * Starts a RabbitMQ image in Docker, its AMQP port published on a free one that stays the same over restarts.
 *
 * @throws Error when no Docker daemon answers, the image cannot be pulled, or the broker does not start (then with the
 * last lines of its log).
 */
export async function startRabbitmqContainer(image: string, signal?: AbortSignal): Promise<Broker> {
  const { GenericContainer, getContainerRuntimeClient, Wait } = await import("testcontainers"); // slow: only who needs it waits
  const client = await getContainerRuntimeClient();
  const [port = 0] = await freePorts(1);
  const log: string[] = [];
  const started = await new GenericContainer(image)
    .withEnvironment({
      RABBITMQ_NODENAME: "rabbit@localhost",
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: quickDeadLetterRetries,
    })
    .withExposedPorts({ container: 5672, host: port })
    .withLogConsumer((stream) => stream.on("data", (line) => log.push(String(line).trimEnd()) > 20 && log.shift()))
    .withWaitStrategy(Wait.forLogMessage("Server startup complete"))
    .withStartupTimeout(startDeadlineMs)
    .start()
    .catch((error: unknown) => {
      throw new Error([messageOf(error), ...log].join("\n"), { cause: error });
    });

  const id = started.getId();
  guardContainer(id);
  const stop = (): Promise<void> => removeContainer(id);
  const container = client.container.getById(id);
  const host = started.getHost().replace(/^localhost$/, "127.0.0.1"); // clients try ::1 first, where it need not be published
  const url = `amqp://guest:guest@${host}:${port}`;

  const ctl = async (...args: string[]): Promise<string> => {
    const { output, stderr, exitCode } = await started.exec(["rabbitmqctl", "--quiet", ...args]);
    if (exitCode !== 0) throw new Error(`rabbitmqctl ${args[0]} ended with ${exitCode}: ${stderr || output}`);
    return output;
  };
  // Docker refuses to stop or kill a paused container.
  const resumeIfPaused = async (): Promise<void> => {
    const { State } = await container.inspect();
    if (State.Paused) await container.unpause();
  };
  const control: RabbitmqControl = {
    ctl,
    async closeAllConnections(reason) {
      await ctl(...closeAllConnectionsArgs(reason));
    },
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
      await awaitRabbitmq(url, { deadlineMs: startDeadlineMs });
    },
    pause: async () => void (await container.pause()),
    resume: async () => void (await container.unpause()),
  };

  try {
    const version = await awaitRabbitmq(url, { deadlineMs: 10_000, signal });
    return { kind: "rabbitmq", version, origin: "container", url, control, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
