/** Bugs in connecting, provisioning, looking, and closing. */
import type { Transport } from "@posthorn/core";
import type { Abortable, Consumption, TransportEvent } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";
import type { Mutant, Plant } from "./mutant.ts";
import { mutant } from "./mutant.ts";

const never = new AbortController().signal;
const forever = (): Promise<never> => new Promise(() => undefined);

function untilAborted({ signal }: Abortable): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** What the transport tells is changed. */
function reporting(change: (event: TransportEvent, report: (event: TransportEvent) => void) => void): Plant {
  return (inner) =>
    wrapTransport(inner, {
      connect: (options) => inner.connect({ ...options, report: (event) => change(event, options.report) }),
    });
}

/** Its consumers are gone after the first time that the connection was. */
const reconnectsWithoutConsumers: Plant = (inner) => {
  const running = new Set<Consumption>();
  const watched = reporting((event, report) => {
    if (event.name === "transport.disconnected") for (const consumption of running) void consumption.stop();
    report(event);
  })(inner);
  return wrapTransport(watched, {
    async consume(source, receive, options) {
      const consumption = await inner.consume(source, receive, options);
      running.add(consumption);
      return consumption;
    },
  });
};

/** Nothing is sent any more after the first time that the connection was gone. */
const reconnectsWithoutPublisher: Plant = (inner) => {
  let gone = false;
  const watched = reporting((event, report) => {
    gone ||= event.name === "transport.disconnected";
    report(event);
  })(inner);
  return wrapTransport(watched, {
    async dispatch(batch, options) {
      if (gone) await untilAborted(options);
      return inner.dispatch(batch, options);
    },
  });
};

export const lifeCycleMutants: readonly Mutant[] = [
  mutant("After a cut the consumers do not come back.", ["O1", "O2"], reconnectsWithoutConsumers),
  mutant("After a cut the publisher does not come back.", ["O1", "O2"], reconnectsWithoutPublisher),
  mutant(
    "A lost connection is not told.",
    ["O1", "O5"],
    reporting((event, report) => event.name === "transport.disconnected" || report(event)),
  ),
  mutant("The health is always good.", ["O5", "M4f", "N3"], (inner) =>
    wrapTransport(inner, { health: () => ({ status: "connected" }) }),
  ),
  mutant("Wrong credentials are tried again and again.", ["P2b"], (inner) =>
    wrapTransport(inner, {
      async connect(options) {
        for (;;) {
          try {
            return await inner.connect(options);
          } catch (error) {
            if (options.signal.aborted) throw error;
            await untilAborted(options);
          }
        }
      },
    }),
  ),
  mutant("Connecting cannot be given up.", ["P2d"], (inner) =>
    wrapTransport(inner, { connect: (options) => inner.connect({ ...options, signal: never }) }),
  ),
  mutant("Close hangs.", ["N3", "N4"], (inner) =>
    wrapTransport(inner, {
      async close(options) {
        await inner.close(options);
        return forever();
      },
    }),
  ),
  mutant("Close does nothing while the connection is gone.", ["N4f"], (inner) =>
    wrapTransport(inner, {
      close: async (options) => (inner.health().status === "connected" ? inner.close(options) : undefined),
    }),
  ),
  mutant("Verify makes what is missing.", ["T3"], (inner) =>
    wrapTransport(inner, { provision: (topology, _, options) => inner.provision(topology, "apply", options) }),
  ),
  mutant("Plan makes what is missing.", ["T3"], (inner) =>
    wrapTransport(inner, {
      provision: async (topology, mode, options) => plannedAndMade(inner, topology, mode, options),
    }),
  ),
  mutant("Differences are swallowed.", ["T2"], (inner) =>
    wrapTransport(inner, {
      provision: async (...args) => (await inner.provision(...args)).filter(({ problem }) => problem === "missing"),
    }),
  ),
  mutant("What is missing is not told.", ["T3"], (inner) =>
    wrapTransport(inner, {
      provision: async (...args) => (await inner.provision(...args)).filter(({ problem }) => problem === "different"),
    }),
  ),
  mutant("It claims to take larger messages than it does.", ["Q1t"], (inner) =>
    wrapTransport(inner, {
      capabilities: { ...inner.capabilities, maxMessageBytes: 2 * inner.capabilities.maxMessageBytes },
    }),
  ),
  mutant("It takes smaller messages than every broker does.", ["Q1"], (inner) =>
    wrapTransport(inner, { capabilities: { ...inner.capabilities, maxMessageBytes: 100_000 } }),
  ),
];

async function plannedAndMade(
  inner: Transport,
  ...[topology, mode, options]: Parameters<Transport["provision"]>
): ReturnType<Transport["provision"]> {
  const changes = await inner.provision(topology, mode, options);
  if (mode === "plan") await inner.provision(topology, "apply", options);
  return changes;
}
