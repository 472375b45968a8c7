import { randomUUID } from "node:crypto";
import type {
  Capabilities,
  ConsumeOptions,
  ConnectOptions,
  CreateTransport,
  Receive,
  Transport,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { abortable, createReports, isPosthornError, systemClock } from "@posthorn/core/transport";
import { createAdmin } from "./admin.ts";
import { createAppliedTopology } from "./applied.ts";
import type { Connection, Link, LinkOptions } from "./connection.ts";
import { closedError, createLink } from "./connection.ts";
import type { Intake, IntakeOptions } from "./consume.ts";
import { createIntake } from "./consume.ts";
import { createDispatch } from "./dispatch.ts";
import { ladderDeclarations } from "./ladder.ts";
import { noReplies, queuesOf } from "./names.ts";
import { createOrderedIntake, joinConsumptions } from "./ordered-intake.ts";
import type { RabbitmqOptions, Settings } from "./options.ts";
import { readOptions } from "./options.ts";
import { allExist, provision } from "./provision.ts";
import { declarationsOf } from "./topology.ts";

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
  const topology = createAppliedTopology(environment);
  const intakes = new Set<Intake>();
  const instance = randomUUID();
  const closing = new AbortController();
  const reports = createReports("RabbitMQ");

  const common: Pick<LinkOptions, "settings" | "environment" | "onFailed"> = {
    settings,
    environment,
    onFailed: (detail, error) => reports.failed(detail, error),
  };
  // The broker reads nothing from a connection that it blocks. So one publishes and no more: settlements, topology and
  // admin go over the other.
  const publishing: Link = createLink({
    ...common,
    purpose: "publishing",
    onConnected: () => onConnected(),
    onDisconnected: (error) => onDisconnected(error),
    onBlocked: (reason) => reports.blocked(reason),
  });
  const consuming: Link = createLink({
    ...common,
    purpose: "consuming",
    onConnected: () => onConnected(),
    onDisconnected: (error) => onDisconnected(error),
    onBlocked: () => undefined,
  });

  /** Both connections are up. One without the other is an outage like any other, told once. */
  let connected = false;
  const onConnected = (): void => {
    if (publishing.connection === undefined || consuming.connection === undefined) return;
    connected = true;
    reports.connected(`${settings.hostname}:${settings.port}`);
  };
  const onDisconnected = (error: unknown): void => {
    connected = false;
    reports.disconnected(error);
  };
  /** What broke one connection has mostly broken the other too, which only does not know it yet. */
  const readyToPublish = async (signal: AbortSignal): Promise<Connection> => {
    for (;;) {
      await consuming.ready(signal);
      const connection = await publishing.ready(signal, true);
      if (connected) return connection;
    }
  };

  /** Many find out at the same time that it is missing. */
  let restoringLadder: Promise<void> | undefined;
  const restoreLadder = async (signal: AbortSignal): Promise<boolean> => {
    if (!topology.any) return false;
    restoringLadder ??= consuming
      .ready(closing.signal)
      .then((connection) => topology.restoreLadder(connection, closing.signal))
      .finally(() => (restoringLadder = undefined));
    await abortable(restoringLadder, signal);
    return true;
  };

  const dispatch = createDispatch({
    link: publishing,
    ready: readyToPublish,
    settings,
    clock: environment.clock,
    restoreLadder,
  });

  const newIntake = (queue: string, ordered: boolean, receive: Receive, options: ConsumeOptions): Intake => {
    const { maxInFlight, paused = false } = options;
    const what = `The consumer of queue ${JSON.stringify(queue)}`;
    const consumer = reports.consumer(what);
    const intakeOptions: IntakeOptions = {
      link: consuming,
      environment,
      queue,
      receive,
      maxInFlight,
      paused,
      restoreQueue: async (signal) => {
        if (!topology.hasQueue(queue)) return false;
        await topology.restoreQueue(await consuming.ready(signal), queue, signal);
        return true;
      },
      onLost: (error) => consumer.lost(error),
      onRestored: () => consumer.restored(),
      onFailed: (error) => reports.failed(`${what} cannot be restored yet`, error),
      onEnded() {
        consumer.ended();
        intakes.delete(intake);
      },
    };
    const intake = ordered ? createOrderedIntake({ ...intakeOptions, instance }) : createIntake(intakeOptions);
    return intake;
  };

  return {
    specVersion: 1,
    system: "rabbitmq",
    capabilities: capabilitiesOf(settings),
    admin: createAdmin(consuming, environment.clock),

    async connect(options: ConnectOptions) {
      reports.listen(options.report);
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
        reports.closed();
        await Promise.all([publishing.close(either.signal), consuming.close(either.signal)]);
        throw error;
      }
    },

    async provision(wanted, mode, { signal }) {
      const declarations = declarationsOf(wanted, settings.deliveryLimit);
      for (;;) {
        const connection = await consuming.ready(signal);
        try {
          // Every service shares the ladder; mostly another one has made it.
          const ladder =
            mode === "apply" && (await allExist(connection, ladderDeclarations, signal)) ? [] : ladderDeclarations;
          const changes = await provision(connection, [...ladder, ...declarations], mode, signal, environment);
          if (mode === "apply") topology.remember([...ladderDeclarations, ...declarations]);
          return changes;
        } catch (error) {
          // Declaring is idempotent: what a lost connection cut off begins again on the next.
          if (!isPosthornError(error, "CONNECTION_LOST")) throw error;
        }
      }
    },

    dispatch,

    async consume(source, receive, options) {
      if (closing.signal.aborted) throw closedError();
      if (source.kind === "reply") throw noReplies();
      const ordered = source.kind === "inlet" && source.channel.ordered;
      const started = queuesOf(source).map((queue) => newIntake(queue, ordered, receive, options));
      for (const intake of started) intakes.add(intake);
      try {
        await Promise.all(started.map((intake) => intake.start(options)));
      } catch (error) {
        await Promise.all(started.map((intake) => intake.close({ signal: AbortSignal.abort() })));
        throw error;
      }
      return joinConsumptions(started.map(({ consumption }) => consumption));
    },

    health: () => reports.health(),

    async close({ signal }) {
      closing.abort();
      reports.closed();
      await Promise.all(Array.from(intakes, (intake) => intake.close({ signal })));
      await Promise.all([publishing.close(signal), consuming.close(signal)]);
    },
  };
}

function capabilitiesOf(settings: Settings): Capabilities {
  return {
    maxMessageBytes: settings.maxMessageBytes,
    durable: true,
    settlement: "message",
    delayedDelivery: true,
    ordering: true,
    replies: false,
  };
}
