import type { Broker, RabbitmqVersion } from "./broker.ts";
import { startRabbitmqContainer } from "./rabbitmq-container.ts";
import { rabbitmqImages } from "./rabbitmq-images.ts";
import { startNativeRabbitmq } from "./rabbitmq-native.ts";
import { probeRabbitmq } from "./rabbitmq-probe.ts";
import { messageOf } from "./run.ts";

export interface ResolveOptions {
  readonly versions: readonly RabbitmqVersion[];
  readonly signal?: AbortSignal;
  /** Told, a line at a time, what takes long and what was tried in vain. */
  readonly log?: (line: string) => void;
}

export interface Missing {
  readonly version: string;
  /** Every way that was tried and why it failed. */
  readonly reason: string;
}

export interface Resolved {
  /** To be stopped by whoever asked for them. */
  readonly brokers: Broker[];
  readonly missing: Missing[];
}

/**
 * Real RabbitMQ brokers for a test run, from the first of three ways that works: the one that `RABBITMQ_URL` names (then
 * it is the only one), containers where a Docker daemon answers, processes of this machine (README.md).
 *
 * What cannot be had is named in `missing`.
 *
 * @throws the reason of `signal` when it is aborted; what had been started is stopped then.
 */
export async function resolveRabbitmq(options: ResolveOptions): Promise<Resolved> {
  const { versions, signal, log = () => undefined } = options;
  const url = process.env["RABBITMQ_URL"];
  if (url) return resolveAddress(url, versions);

  const images = rabbitmqImages(versions, process.env);
  const parts = await Promise.all(images.map(({ image, versions }) => resolveImage(image, versions)));
  const resolved = {
    brokers: parts.flatMap(({ brokers }) => brokers),
    missing: parts.flatMap(({ missing }) => missing),
  };
  if (signal?.aborted === true) {
    await Promise.all(resolved.brokers.map((broker) => broker.stop()));
    throw signal.reason;
  }
  return resolved;

  async function resolveImage(image: string, versions: readonly RabbitmqVersion[]): Promise<Resolved> {
    try {
      return { brokers: [await startRabbitmqContainer(image, signal)], missing: [] };
    } catch (error) {
      const failure = `no container of ${image}: ${messageOf(error)}`;
      log(`${failure}; trying processes of this machine`);
      const native = await Promise.all(versions.map((version) => resolveNative(version, failure)));
      return {
        brokers: native.filter((result) => "stop" in result),
        missing: native.filter((result) => "reason" in result),
      };
    }
  }

  async function resolveNative(version: RabbitmqVersion, failure: string): Promise<Broker | Missing> {
    try {
      return await startNativeRabbitmq(version, { signal, log });
    } catch (error) {
      return { version, reason: `${failure}; no process of this machine: ${messageOf(error)}` };
    }
  }
}

async function resolveAddress(url: string, versions: readonly RabbitmqVersion[]): Promise<Resolved> {
  try {
    const version = await probeRabbitmq(url);
    const leave = async (): Promise<void> => undefined;
    return {
      brokers: [{ kind: "rabbitmq", version, origin: "address", url, stop: leave, [Symbol.asyncDispose]: leave }],
      missing: [],
    };
  } catch (error) {
    const reason = `RABBITMQ_URL is set, and no RabbitMQ answers there: ${messageOf(error)}`;
    return { brokers: [], missing: versions.map((version) => ({ version, reason })) };
  }
}
