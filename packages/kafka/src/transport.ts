import { randomUUID } from "node:crypto";
import type {
  Capabilities,
  ConnectOptions,
  CreateTransport,
  Transport,
  TransportEnvironment,
  TransportEvent,
  TransportHealth,
} from "@posthorn/core/transport";
import { messageOf, systemClock } from "@posthorn/core/transport";
import { createAdmin } from "./admin.ts";
import { createCluster } from "./cluster.ts";
import { createDispatch } from "./dispatch.ts";
import { closedError } from "./errors.ts";
import type { Intake } from "./intake.ts";
import { createIntake } from "./intake.ts";
import { groupId, noReplies } from "./names.ts";
import type { KafkaOptions, Settings } from "./options.ts";
import { readOptions } from "./options.ts";
import { createProducer } from "./producer.ts";
import { createProvisioner } from "./provision.ts";

/** A transport over Kafka 3.9 or later, from `kafka://…`, `kafkas://…` or an object of {@link KafkaOptions}. */
export const createTransport: CreateTransport = (config, environment) => open(readOptions(config), environment);

/**
 * A transport over Kafka 3.9 or later.
 *
 * @throws INVALID_OPTION
 */
export function kafka(options: KafkaOptions = {}, environment?: Partial<TransportEnvironment>): Transport {
  return open(readOptions({ ...options }), environment);
}

function open(settings: Settings, given: Partial<TransportEnvironment> = {}): Transport {
  const environment: TransportEnvironment = { clock: given.clock ?? systemClock, random: given.random ?? Math.random };
  const instance = randomUUID();
  const intakes = new Set<Intake>();
  let nextIntake = 0;
  let report: (event: TransportEvent) => void = () => undefined;
  let connectedBefore = false;
  let blocked: string | undefined;
  let closing = false;

  const cluster = createCluster({
    ...settings,
    environment,
    onConnected() {
      connectedBefore = true;
      report({ name: "transport.connected", detail: `Connected to Kafka at ${where(settings)}.` });
    },
    onDisconnected: (error) =>
      report({
        name: "transport.disconnected",
        detail: `The connection to Kafka was lost: ${messageOf(error)} Connecting again.`,
        error,
      }),
    onRefused: (error) =>
      report({ name: "transport.failed", detail: `The connection cannot be restored: ${messageOf(error)}`, error }),
  });
  const producer = createProducer({
    cluster,
    settings,
    environment,
    onBlocked(reason) {
      blocked = reason;
      if (reason === undefined) report({ name: "transport.unblocked", detail: "Kafka takes messages again." });
      else report({ name: "transport.blocked", detail: `Kafka takes no messages at present: ${reason}` });
    },
  });
  const dispatch = createDispatch({ cluster, producer, settings, environment });
  const provisioner = createProvisioner({ cluster, settings, environment });
  const admin = createAdmin({ cluster, producer, settings, environment });

  function healthOf(): TransportHealth {
    if (cluster.closed) return { status: "closed" };
    if (!cluster.connected) return { status: connectedBefore ? "disconnected" : "connecting" };
    if (blocked !== undefined) return { status: "degraded", detail: `Kafka takes no messages at present: ${blocked}` };
    for (const intake of intakes)
      if (intake.restoring) return { status: "degraded", detail: "A consumer is being restored." };
    return { status: "connected" };
  }

  return {
    specVersion: 1,
    system: "kafka",
    capabilities: capabilitiesOf(settings),
    admin,

    async connect(options: ConnectOptions) {
      report = options.report;
      try {
        await cluster.start(options.signal);
      } catch (error) {
        cluster.close();
        throw error;
      }
    },

    provision: (topology, mode, { signal }) => provisioner.provision(topology, mode, signal),
    dispatch,

    async consume(source, receive, { signal, maxInFlight, paused = false }) {
      if (closing || cluster.closed) throw closedError();
      if (source.kind !== "inlet") throw noReplies();
      const group = JSON.stringify(groupId(source.channel, source.group));
      const intake = createIntake({
        cluster,
        producer,
        settings,
        environment,
        instance,
        id: nextIntake++,
        source,
        receive,
        maxInFlight,
        paused,
        restore: (until) => provisioner.restore(source, until),
        onLost: (error) =>
          report({
            name: "transport.consumer-lost",
            detail: `The place in the group ${group} was lost: ${messageOf(error)}`,
            error,
          }),
        onRestored: () =>
          report({ name: "transport.consumer-restored", detail: `There is a place in the group ${group} again.` }),
        onFailed: (detail, error) =>
          report({
            name: "transport.failed",
            detail: error === undefined ? `${detail}.` : `${detail}: ${messageOf(error)}`,
            error,
          }),
        onEnded: () => intakes.delete(intake),
      });
      intakes.add(intake);
      try {
        await intake.start(signal);
        if (closing) throw closedError();
      } catch (error) {
        await intake.close(AbortSignal.abort());
        throw error;
      }
      return intake.consumption;
    },

    health: healthOf,

    async close({ signal }) {
      closing = true;
      await Promise.all(Array.from(intakes, (intake) => intake.close(signal)));
      producer.close();
      cluster.close();
    },
  };
}

function where({ brokers }: Settings): string {
  return brokers.map(({ host, port }) => `${host}:${port}`).join(", ");
}

function capabilitiesOf(settings: Settings): Capabilities {
  return {
    maxMessageBytes: settings.maxMessageBytes,
    durable: true,
    settlement: "prefix",
    delayedDelivery: true,
    ordering: true,
    replies: false,
  };
}
