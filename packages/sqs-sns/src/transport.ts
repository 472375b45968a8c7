import type {
  Capabilities,
  ConnectOptions,
  CreateTransport,
  Transport,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { abortable, createReports, systemClock } from "@posthorn/core/transport";
import { createAdmin } from "./admin.ts";
import { describeAddress } from "./describe-address.ts";
import { createDispatch } from "./dispatch.ts";
import { closedError, noReplies } from "./errors.ts";
import type { Intake } from "./intake.ts";
import { createIntake } from "./intake.ts";
import type { Settings, SqsOptions } from "./options.ts";
import { readOptions } from "./options.ts";
import { createPlaces } from "./places.ts";
import { createProvisioner } from "./provision.ts";
import { createReach } from "./reach.ts";
import type { OpenReader } from "./reader.ts";
import { createReader } from "./reader.ts";
import { createAws } from "./sdk.ts";
import { largestMessage } from "./wire.ts";

/** A transport over SQS and SNS, from `sqs://…` or an object of {@link SqsOptions}. */
export const createTransport: CreateTransport = (config, environment) =>
  createSqsTransport(readOptions(config), completeEnvironment(environment), createReader);

/**
 * A transport over SQS and SNS.
 *
 * @throws INVALID_OPTION
 */
export function sqs(options: SqsOptions = {}, environment?: Partial<TransportEnvironment>): Transport {
  return createSqsTransport(readOptions({ ...options }), completeEnvironment(environment), createReader);
}

export function completeEnvironment(given: Partial<TransportEnvironment> = {}): TransportEnvironment {
  return { clock: given.clock ?? systemClock, random: given.random ?? Math.random };
}

export function createSqsTransport(
  settings: Settings,
  environment: TransportEnvironment,
  openReader: OpenReader,
): Transport {
  const where = settings.endpoint ?? settings.region;
  const intakes = new Set<Intake>();
  const reports = createReports("SQS");
  let closing = false;

  const reach = createReach({
    aws: createAws(settings),
    settings,
    environment,
    onConnected: () => reports.connected(where),
    onDisconnected: (error) => reports.disconnected(error),
    onRefused: (error) => reports.failed("The connection cannot be restored", error),
  });
  const places = createPlaces({ reach, settings, environment });
  const dispatch = createDispatch({
    reach,
    places,
    settings,
    environment,
    onBlocked: (reason) => reports.blocked(reason),
  });
  const provisioner = createProvisioner({ reach, places, settings, environment });
  const admin = createAdmin({ reach, places, settings, environment });

  return {
    specVersion: 1,
    system: "aws_sqs",
    capabilities: capabilitiesOf(settings),
    admin,

    async connect(options: ConnectOptions) {
      reports.listen(options.report);
      try {
        await reach.start(options.signal);
      } catch (error) {
        reach.close();
        reports.closed();
        throw error;
      }
    },

    provision: (topology, mode, { signal }) => provisioner.provision(topology, mode, signal),
    dispatch,

    async consume(source, receive, { signal, maxInFlight, paused = false }) {
      if (closing || reach.closed) throw closedError();
      if (source.kind === "reply") throw noReplies();
      const consumer = reports.consumer(`The consumer of ${describeAddress(source)}`);
      const intake = createIntake({
        reach,
        places,
        settings,
        environment,
        openReader,
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
      // What a walk that was cut off has in its hands goes back; while SQS cannot be reached it does so by itself, later.
      await abortable(admin.settled(), AbortSignal.any([signal, reach.outage])).catch(() => undefined);
      reach.close();
    },
  };
}

function capabilitiesOf(settings: Settings): Capabilities {
  return {
    maxMessageBytes: largestMessage(settings.maxMessageBytes),
    durable: true,
    settlement: "message",
    delayedDelivery: true,
    ordering: true,
    replies: false,
  };
}
