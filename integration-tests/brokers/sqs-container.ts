import type { SqsBroker } from "./broker.ts";
import { containerHost, startContainerServer } from "./container-server.ts";
import type { NativeOptions } from "./native-server.ts";
import { onFreePorts } from "./ports.ts";
import { awaitSqs, probeSqs, startedSqs } from "./sqs-probe.ts";

/**
 * Starts an image of LocalStack in Docker, or of an emulator that listens on the same port and says that it is `Ready`, too.
 * Published on a port that stays the same over restarts.
 *
 * @throws Error when no Docker daemon answers, the image cannot be pulled, or the emulator does not start (then with the
 * last lines of its log).
 */
export async function startSqsContainer(image: string, { signal }: NativeOptions): Promise<SqsBroker> {
  const host = await containerHost();
  return onFreePorts(1, async ([port = 0]) => {
    const endpoint = `http://${host}:${port}`;
    const server = await startContainerServer({
      image,
      equip: (container) =>
        container
          .withEnvironment({
            SERVICES: "sqs,sns",
            EAGER_SERVICE_LOADING: "1",
            SQS_ENDPOINT_STRATEGY: "dynamic", // names queues by the host that the client asked
            DISABLE_EVENTS: "1", // it would tell its makers of its use
            SKIP_SSL_CERT_DOWNLOAD: "1",
          })
          .withExposedPorts({ container: 4566, host: port }),
      readyText: "Ready",
      awaitReady: async (signal) => void (await awaitSqs(endpoint, { deadlineMs: 90_000, signal })),
      signal,
    });
    return startedSqs(endpoint, await probeSqs(endpoint), {
      origin: "container",
      control: { ...server.control, isDurable: false }, // LocalStack keeps its state in memory
      stop: server.stop,
    });
  });
}
