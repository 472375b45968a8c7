import type { RunningBroker } from "./broker.ts";
import type { WantedImage } from "./images.ts";
import type { NativeOptions } from "./native-server.ts";
import { messageOf } from "./run.ts";

/** The three ways to a kind of broker. Each rejects with the reason where it leads nowhere. */
export interface Ways<Version extends string, B extends RunningBroker> {
  /** For error messages, for example `RabbitMQ`. */
  readonly name: string;
  /** The environment variable that gives an address. */
  readonly addressVariable: string;
  readonly useAddress: (address: string) => Promise<B>;
  readonly images: (versions: readonly Version[], env: NodeJS.ProcessEnv) => WantedImage<Version>[];
  readonly startContainer: (image: string, options: NativeOptions) => Promise<B>;
  readonly startNative: (version: Version, options: NativeOptions) => Promise<B>;
}

export interface ResolveOptions<Version extends string> {
  readonly versions: readonly Version[];
  readonly signal?: AbortSignal;
  /** Told, a line at a time, what takes long and what was tried in vain. */
  readonly log?: (line: string) => void;
}

export interface Missing {
  readonly version: string;
  /** Every way that was tried and why it failed. */
  readonly reason: string;
}

export interface Resolved<B extends RunningBroker> {
  /** To be stopped by whoever asked for them. */
  readonly brokers: B[];
  readonly missing: Missing[];
}

/** Goes the first way that works, for each version. */
export async function resolveBy<Version extends string, B extends RunningBroker>(
  ways: Ways<Version, B>,
  options: ResolveOptions<Version>,
): Promise<Resolved<B>> {
  const { versions, signal, log = () => undefined } = options;
  const address = process.env[ways.addressVariable];
  if (address) return resolveAddress(ways, address, versions);

  const images = ways.images(versions, process.env);
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

  async function resolveImage(image: string, versions: readonly Version[]): Promise<Resolved<B>> {
    try {
      return { brokers: [await ways.startContainer(image, { signal, log })], missing: [] };
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

  async function resolveNative(version: Version, failure: string): Promise<B | Missing> {
    try {
      return await ways.startNative(version, { signal, log });
    } catch (error) {
      return { version, reason: `${failure}; no process of this machine: ${messageOf(error)}` };
    }
  }
}

async function resolveAddress<Version extends string, B extends RunningBroker>(
  ways: Ways<Version, B>,
  address: string,
  versions: readonly Version[],
): Promise<Resolved<B>> {
  try {
    return { brokers: [await ways.useAddress(address)], missing: [] };
  } catch (error) {
    const reason = `${ways.addressVariable} is set, and no ${ways.name} answers there: ${messageOf(error)}`;
    return { brokers: [], missing: versions.map((version) => ({ version, reason })) };
  }
}
