/** The memory broker, reached past its transport: by the handle that whoever made it holds. */
import type { ChannelInfo, Transport } from "@posthorn/core";
import { PosthornError } from "@posthorn/core";
import { channelAddress } from "@posthorn/core/transport";
import type {
  Bounds,
  ContractHarness,
  Faults,
  Link,
  NativeBroker,
  OpenEnvironment,
  Place,
} from "@posthorn/contract-tests";
import { runHangingConsumer } from "@posthorn/contract-tests";
import type { Plant } from "@posthorn/contract-tests/mutants";
import { wrapTransport } from "@posthorn/contract-tests/mutants";
import type { MemoryBroker, Path } from "@posthorn/memory";
import { createMemoryBroker, memory, sourceName } from "@posthorn/memory";
import { createStarts } from "./starts.ts";
import { uniqueNames } from "./unique-names.ts";

const leaseMs = 400;
const bounds: Bounds = {
  patienceMs: 2_000,
  redeliveryMs: 2_000,
  resumeMs: 2_000,
  detectMs: 2_000,
  leaseMs,
  delayToleranceMs: 2_000,
  backlog: 20_000,
};

export interface MemoryHarnessOptions {
  /** Changes every transport that the cases get. Default none. */
  readonly plant?: Plant;
  readonly bounds?: Partial<Bounds>;
}

export function memoryHarness(
  personality: "queue" | "log",
  { plant = (healthy) => healthy, bounds: changes }: MemoryHarnessOptions = {},
): ContractHarness {
  // What is not promised to be in order is not.
  const broker = createMemoryBroker({ personality, leaseMs, shuffle: personality === "queue" });
  const openTransport = (environment: OpenEnvironment = {}): Transport => plant(memory({ broker }, environment));
  return {
    name: `memory (${personality})`,
    capabilities: openTransport().capabilities,
    bounds: { ...bounds, ...changes },
    native: nativeMemory(broker),
    faults: memoryFaults(broker, plant),
    openTransport,
    // The broker knows no credentials: this is the transport of a client that it refuses.
    openWithWrongCredentials: () =>
      plant(
        wrapTransport(memory({ broker }), {
          connect: () =>
            Promise.reject(new PosthornError("AUTHENTICATION_FAILED", "The broker refused the credentials.")),
        }),
      ),
    uniqueName: uniqueNames(),
    dispose: async () => broker.stop(),
  };
}

const nameOf = (place: Place): string => sourceName({ ...place, id: "" });

function nativeMemory(broker: MemoryBroker): NativeBroker {
  return {
    countsHeld: false,
    leaseOutlivesConnection: false,
    keepsConnections: true,
    exists: async (place) => broker.sources().includes(nameOf(place)),
    ready: async (place) => broker.depth(nameOf(place)).ready,
    inFlight: async (place) => broker.depth(nameOf(place)).inFlight,
    bodies: async (place) => broker.peek(nameOf(place), 10_000).map(({ body }) => body),
    publish: async (channel, message) => broker.inject(channelAddress(channel), message),
    async createConflicting(channel) {
      const transport = memory({ broker });
      const waiting = { signal: AbortSignal.timeout(bounds.patienceMs) };
      await transport.connect({ ...waiting, report: () => undefined });
      await transport.provision({ channels: [conflicting(channel)], groups: [] }, "apply", waiting);
      await transport.close(waiting);
    },
    delete: async (place) => void broker.delete(nameOf(place)),
  };
}

const conflicting = ({ kind, name, ordered }: ChannelInfo): ChannelInfo => ({ kind, name, ordered: !ordered });

function memoryFaults(broker: MemoryBroker, plant: Plant): Faults {
  return {
    openLink: async () => memoryLink(broker, plant),
    closeConnections: async () => broker.cutConnections(),
    breakConsumers: async (place) => broker.breakConsumers(nameOf(place)),
    killBroker: async () => broker.stop(),
    startBroker: async () => broker.start(),
    blockPublishers: async () => broker.block(),
    unblockPublishers: async () => broker.unblock(),
    async startHangingConsumer(job) {
      const starts = createStarts();
      const transport = memory({ broker });
      const bus = await runHangingConsumer(plant(transport), job, starts.started);
      return {
        handling: starts.reached,
        async kill() {
          broker.crash(transport);
          await bus.close({ timeoutMs: 0 });
        },
      };
    },
  };
}

function memoryLink(broker: MemoryBroker, plant: Plant): Link {
  const transports: Transport[] = [];
  let path: Path = "open";
  const become = async (next: Path): Promise<void> => {
    path = next;
    for (const transport of transports) broker.setPath(transport, path);
  };
  return {
    openTransport(environment = {}) {
      const transport = memory({ broker }, environment);
      transports.push(transport);
      broker.setPath(transport, path);
      return plant(transport);
    },
    cut: async () => transports.forEach((transport) => broker.cutConnections(transport)),
    down: () => become("down"),
    stall: () => become("stalled"),
    swallowAnswers: () => become("deaf"),
    restore: () => become("open"),
    close: () => become("open"),
  };
}
