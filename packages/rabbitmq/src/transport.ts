import type {
  Capabilities,
  ConnectOptions,
  CreateTransport,
  Source,
  Transport,
  TransportEnvironment,
  TransportEvent,
  TransportHealth,
} from "@posthorn/core/transport";
import { isPosthornError, messageOf, systemClock } from "@posthorn/core/transport";
import { createAdmin } from "./admin.ts";
import type { Link, LinkOptions } from "./connection.ts";
import { closedError, createLink } from "./connection.ts";
import type { Intake } from "./consume.ts";
import { createIntake } from "./consume.ts";
import { createPublisher } from "./dispatch.ts";
import { noReplies, queueOf } from "./names.ts";
import type { RabbitmqOptions, Settings } from "./options.ts";
import { readOptions } from "./options.ts";
import { createAppliedTopology, declarationsOf, provision } from "./topology.ts";

/** A transport over RabbitMQ 3.10 or later, from `amqp://…`, `amqps://…` or an object of {@link RabbitmqOptions}. */
export const createTransport: CreateTransport = (config, environment) => open(readOptions(config), environment);

/**
 * A transport over RabbitMQ 3.10 or later.
 *
 * @throws INVALID_OPTION
 */
export function rabbitmq(options: RabbitmqOptions = {}, environment?: Partial<TransportEnvironment>): Transport {
  return open(readOptions({ ...options }), environment);
}

function open(settings: Settings, given: Partial<TransportEnvironment> = {}): Transport {
  const environment: TransportEnvironment = { clock: given.clock ?? systemClock, random: given.random ?? Math.random };
  const topology = createAppliedTopology();
  const intakes = new Set<Intake>();
  const closing = new AbortController();
  let report: (event: TransportEvent) => void = () => undefined;
  let connectedBefore = false;

  const common: Pick<LinkOptions, "settings" | "environment" | "onFailed"> = {
    settings,
    environment,
    onFailed: (detail, error) => report({ name: "transport.failed", detail, error }),
  };
  // The broker reads nothing from a connection that it blocks. So one publishes and no more: settlements, topology and
  // admin go over the other.
  const publishing: Link = createLink({
    ...common,
    purpose: "publishing",
    // Before the first message goes out again, its queue exists again.
    restore: (connection) => topology.restore(connection, closing.signal),
    onConnected: () => onConnected(),
    onDisconnected: (error) => onDisconnected("publishing", error),
    onBlocked: (reason) => {
      if (reason === undefined) report({ name: "transport.unblocked", detail: "RabbitMQ takes messages again." });
      else report({ name: "transport.blocked", detail: `RabbitMQ takes no messages at present: ${reason}.` });
    },
  });
  const consuming: Link = createLink({
    ...common,
    purpose: "consuming",
    onConnected: () => onConnected(),
    onDisconnected: (error) => onDisconnected("consuming", error),
    onBlocked: () => undefined,
  });

  const isConnected = (): boolean => publishing.connection !== undefined && consuming.connection !== undefined;

  const onConnected = (): void => {
    if (!isConnected()) return;
    connectedBefore = true;
    report({ name: "transport.connected", detail: `Connected to RabbitMQ at ${settings.hostname}:${settings.port}.` });
  };

  const onDisconnected = (which: string, error: unknown): void => {
    const reason = error === undefined ? "" : `: ${messageOf(error)}`;
    report({ name: "transport.disconnected", detail: `The ${which} connection to RabbitMQ was lost${reason}. Connecting again.`, error });
  };

  /** At most one restoration is under way, however many ask for it. */
  let restoring: Promise<void> | undefined;
  const restoreTopology = (): Promise<void> => {
    restoring ??= restoreOnce().finally(() => {
      restoring = undefined;
    });
    return restoring;
  };
  const restoreOnce = async (): Promise<void> => {
    const connection = await consuming.ready(closing.signal);
    await topology.restore(connection, closing.signal);
  };

  const publisher = createPublisher({
    link: publishing,
    settings,
    onMissing: (kind, name) => {
      if (!topology.has(kind, name)) return;
      restoreTopology().catch((error: unknown) => {
        if (!closing.signal.aborted) common.onFailed(`The topology could not be restored: ${messageOf(error)}`, error);
      });
    },
  });

  const newIntake = (source: Source, receive: Parameters<Transport["consume"]>[1], maxInFlight: number): Intake => {
    if (source.kind === "reply") throw noReplies();
    const queue = queueOf(source);
    const intake = createIntake({
      link: consuming,
      environment,
      queue,
      receive,
      maxInFlight,
      restoreQueue: async () => {
        if (!topology.has("queue", queue)) return false;
        await restoreTopology();
        return true;
      },
      onLost: (error) => report({ name: "transport.consumer-lost", detail: `The consumer of queue ${JSON.stringify(queue)} was lost: ${messageOf(error)}`, error }),
      onRestored: () => report({ name: "transport.consumer-restored", detail: `The consumer of queue ${JSON.stringify(queue)} is back.` }),
      onEnded: () => intakes.delete(intake),
    });
    return intake;
  };

  return {
    specVersion: 1,
    system: "rabbitmq",
    capabilities: capabilitiesOf(settings),
    admin: createAdmin(consuming),

    async connect(options: ConnectOptions) {
      report = options.report;
      const either = new AbortController();
      const signal = AbortSignal.any([options.signal, either.signal]);
      const starts = [publishing.start(signal), consuming.start(signal)];
      try {
        await Promise.all(starts);
      } catch (error) {
        // Both would fail for the same reason; the first one says it.
        either.abort(error);
        await Promise.allSettled(starts);
        closing.abort();
        await Promise.all([publishing.close(either.signal), consuming.close(either.signal)]);
        throw error;
      }
    },

    async provision(wanted, mode, { signal }) {
      const declarations = declarationsOf(wanted, settings.deliveryLimit);
      for (;;) {
        const connection = await consuming.ready(signal);
        try {
          const changes = await provision(connection, declarations, mode, signal);
          if (mode === "apply") topology.remember(declarations);
          return changes;
        } catch (error) {
          // Declaring is idempotent: what a lost connection cut off begins again on the next.
          if (!isPosthornError(error, "CONNECTION_LOST")) throw error;
        }
      }
    },

    dispatch: publisher.dispatch,

    async consume(source, receive, options) {
      if (closing.signal.aborted) throw closedError();
      const intake = newIntake(source, receive, options.maxInFlight);
      intakes.add(intake);
      try {
        await intake.start(options);
      } catch (error) {
        await intake.close({ signal: AbortSignal.abort() });
        throw error;
      }
      return intake.consumption;
    },

    health: () => healthOf(),

    async close({ signal }) {
      closing.abort();
      await Promise.all(Array.from(intakes, (intake) => intake.close({ signal })));
      await Promise.all([publishing.close(signal), consuming.close(signal)]);
    },
  };

  function healthOf(): TransportHealth {
    if (closing.signal.aborted) return { status: "closed" };
    if (!isConnected()) return { status: connectedBefore ? "disconnected" : "connecting" };
    if (publishing.blocked !== undefined) return { status: "degraded", detail: `RabbitMQ takes no messages at present: ${publishing.blocked}` };
    for (const intake of intakes) if (intake.restoring) return { status: "degraded", detail: "A consumer is being restored." };
    return { status: "connected" };
  }
}

function capabilitiesOf(settings: Settings): Capabilities {
  return {
    maxMessageBytes: settings.maxMessageBytes,
    durable: true,
    settlement: "message",
    delayedDelivery: false,
    ordering: false,
    replies: false,
  };
}
