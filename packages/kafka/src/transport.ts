import { randomUUID } from "node:crypto";
import type {
  Capabilities,
  ConnectOptions,
  CreateTransport,
  Transport,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { createReports, systemClock } from "@posthorn/core/transport";
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
  const reports = createReports("Kafka");
  let closing = false;

  const cluster = createCluster({
    ...settings,
    environment,
    onConnected: () => reports.connected(where(settings)),
    onDisconnected: (error) => reports.disconnected(error),
    onRefused: (error) => reports.failed("The connection cannot be restored", error),
  });
  const producer = createProducer({
    cluster,
    settings,
    environment,
    onBlocked: (reason) => reports.blocked(reason),
  });
  const dispatch = createDispatch({ cluster, producer, settings, environment });
  const provisioner = createProvisioner({ cluster, settings, environment });
  const admin = createAdmin({ cluster, producer, settings, environment });

  return {
    specVersion: 1,
    system: "kafka",
    capabilities: capabilitiesOf(settings),
    admin,

    async connect(options: ConnectOptions) {
      reports.listen(options.report);
      try {
        await cluster.start(options.signal);
      } catch (error) {
        cluster.close();
        reports.closed();
        throw error;
      }
    },

    provision: (topology, mode, { signal }) => provisioner.provision(topology, mode, signal),
    dispatch,

    async consume(source, receive, { signal, maxInFlight, paused = false }) {
      if (closing || cluster.closed) throw closedError();
      if (source.kind !== "inlet") throw noReplies();
      const group = JSON.stringify(groupId(source.channel, source.group));
      const consumer = reports.consumer(`The place in the group ${group}`);
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
        onLost: (error) => consumer.lost(error),
        onRestored: () => consumer.restored(),
        onFailed: (detail, error) => reports.failed(detail, error),
        onEnded() {
          consumer.ended();
          intakes.delete(intake);
        },
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

    health: () => reports.health(),

    async close({ signal }) {
      closing = true;
      reports.closed();
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
