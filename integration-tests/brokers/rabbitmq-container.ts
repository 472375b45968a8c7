import type { RabbitmqBroker } from "./broker.ts";
import { containerHost, startContainerServer } from "./container-server.ts";
import { freePorts } from "./ports.ts";
import { closeAllConnectionsArgs } from "./rabbitmq-commands.ts";
import { quickDeadLetterRetries } from "./rabbitmq-native-settings.ts";
import { awaitRabbitmq, probeRabbitmq } from "./rabbitmq-probe.ts";

/**
 * Starts a RabbitMQ image in Docker, its AMQP port published on a free one that stays the same over restarts.
 *
 * @throws Error when no Docker daemon answers, the image cannot be pulled, or the broker does not start (then with the
 * last lines of its log).
 */
export async function startRabbitmqContainer(
  image: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<RabbitmqBroker> {
  const [port = 0] = await freePorts(1);
  const url = `amqp://guest:guest@${await containerHost()}:${port}`;
  const server = await startContainerServer({
    image,
    equip: (container) =>
      container
        .withEnvironment({
          RABBITMQ_NODENAME: "rabbit@localhost",
          RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: quickDeadLetterRetries,
        })
        .withExposedPorts({ container: 5672, host: port }),
    readyText: "Server startup complete",
    awaitReady: async (signal) => void (await awaitRabbitmq(url, { deadlineMs: 90_000, signal })),
    signal,
  });
  const ctl = (...args: string[]): Promise<string> =>
    server.exec(["rabbitmqctl", "--quiet", ...args], `rabbitmqctl ${args[0]}`);

  return {
    kind: "rabbitmq",
    version: await probeRabbitmq(url),
    origin: "container",
    url,
    control: {
      ...server.control,
      ctl,
      async closeAllConnections(reason) {
        await ctl(...closeAllConnectionsArgs(reason));
      },
    },
    stop: server.stop,
    [Symbol.asyncDispose]: server.stop,
  };
}
