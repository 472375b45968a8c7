/** A bus's options, checked and complete. */
import type { BusOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { PosthornError } from "./errors.ts";
import { checkName } from "./names.ts";
import type { Observe } from "./observe.ts";
import { guardObserver, observeOnConsole } from "./observe.ts";
import type { RetryPolicy } from "./retry.ts";
import { checkRetry, defaultRetry } from "./retry.ts";
import { deadLetterReserveBytes } from "./size.ts";
import type { Transport } from "./transport.ts";

export interface Settings {
  readonly service: string;
  readonly serviceVersion: string | undefined;
  readonly transport: Transport;
  readonly group: string;
  readonly provision: "apply" | "verify" | "assume";
  readonly concurrency: number;
  readonly retry: RetryPolicy;
  readonly maxHandlingMs: number;
  readonly maxMessageBytes: number;
  readonly publishTimeoutMs: number;
  readonly maxPendingMessages: number;
  readonly maxPendingBytes: number;
  readonly observe: Observe;
  readonly clock: Clock;
  readonly random: () => number;
}

/** @throws INVALID_NAME, INVALID_OPTION */
export function settingsOf(options: BusOptions): Settings {
  checkName("service", options.service);
  if (options.group !== undefined) checkName("group", options.group);
  const { transport, clock = systemClock } = options;
  if (typeof transport?.dispatch !== "function")
    refuse("transport", "is no transport: open one with openTransport or an adapter");
  if (options.observe !== undefined && typeof options.observe !== "function") refuse("observe", "must be a function");
  if (options.provision !== undefined && !["apply", "verify", "assume"].includes(options.provision))
    refuse("provision", 'must be "apply", "verify" or "assume"');
  if (options.serviceVersion !== undefined && options.serviceVersion.length > longestVersion) {
    refuse("serviceVersion", `must be at most ${longestVersion} characters`);
  }
  const transportLimit = transport.capabilities.maxMessageBytes - deadLetterReserveBytes;
  if (transportLimit < 1)
    refuse(
      "transport",
      `takes messages of ${transport.capabilities.maxMessageBytes} bytes, and ${deadLetterReserveBytes} are needed for dead letters alone`,
    );
  const maxMessageBytes = checkPositive("maxMessageBytes", options.maxMessageBytes ?? 262_144);
  return {
    service: options.service,
    serviceVersion: options.serviceVersion,
    transport,
    group: options.group ?? options.service,
    provision: options.provision ?? "apply",
    concurrency: checkConcurrency(options.concurrency ?? 10),
    retry: checkRetry(options.retry ?? defaultRetry),
    maxHandlingMs: checkPositive("maxHandlingMs", options.maxHandlingMs ?? defaultMaxHandlingMs),
    maxMessageBytes: Math.min(maxMessageBytes, transportLimit),
    publishTimeoutMs: checkPositive("publishTimeoutMs", options.publishTimeoutMs ?? 30_000),
    maxPendingMessages: checkPositive("maxPendingMessages", options.maxPendingMessages ?? 100_000),
    maxPendingBytes: checkPositive("maxPendingBytes", options.maxPendingBytes ?? 67_108_864),
    observe: guardObserver(options.observe ?? observeOnConsole(clock)),
    clock,
    random: options.random ?? Math.random,
  };
}

/** Half of the time after which RabbitMQ takes a message back by default. */
const defaultMaxHandlingMs = 900_000;
/** It travels with every dead letter. */
const longestVersion = 100;

function refuse(option: string, why: string): never {
  throw new PosthornError("INVALID_OPTION", `${option} ${why}.`, { details: { option } });
}

/** @throws INVALID_OPTION */
export function checkPositive(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new PosthornError("INVALID_OPTION", `${option} must be a whole number from 1, not ${String(value)}.`, {
    details: { option },
  });
}

/** @throws INVALID_OPTION */
export function checkConcurrency(value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= 10_000) return value;
  throw new PosthornError(
    "INVALID_OPTION",
    `concurrency must be a whole number from 1 to 10,000, not ${String(value)}.`,
    {
      details: { option: "concurrency" },
    },
  );
}
