/** The named brokers of this process. They live as long as it does, or until they are dropped. */
import { isDeepStrictEqual } from "node:util";
import { invalidOption, systemClock } from "@posthorn/core/transport";
import type { Clock } from "@posthorn/core/transport";
import type { Broker } from "./broker/broker.ts";
import { brokerOf, createMemoryBroker } from "./memory-broker.ts";
import type { MemoryBroker } from "./memory-broker.ts";
import { readFaults } from "./options.ts";
import type { MemoryBrokerOptions } from "./options.ts";

const named = new Map<string, MemoryBroker>();

export const defaultName = "default";

/**
 * The broker of that name, made when it is first asked for.
 *
 * @throws INVALID_OPTION when the options contradict those it was made with
 */
export function namedBroker(name: string, options: MemoryBrokerOptions, clock: Clock | undefined): MemoryBroker {
  const existing = named.get(name);
  if (existing !== undefined) {
    checkAgainst(existing, options, clock);
    return existing;
  }
  const broker = createMemoryBroker({ ...options, clock: clock ?? systemClock });
  named.set(name, broker);
  return broker;
}

/**
 * Cuts the connections of a named broker and forgets it with all its messages. The next transport of that name makes a new one.
 *
 * @returns false where there was none
 */
export function dropMemoryBroker(name: string = defaultName): boolean {
  named.get(name)?.stop();
  return named.delete(name);
}

/** @throws INVALID_OPTION naming the first option that is not as the broker has it */
export function checkAgainst(handle: object, options: MemoryBrokerOptions, clock: Clock | undefined): Broker {
  const broker = brokerOf(handle);
  if (broker === undefined) throw invalidOption("broker", "it must be a broker made by createMemoryBroker");
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const actual: unknown = Object.entries(broker.settings).find(([name]) => name === option)?.[1];
    const expected: unknown = option === "faults" ? readFaults(options.faults) : value;
    if (!isDeepStrictEqual(actual, expected))
      throw invalidOption(option, "the broker exists already and was made otherwise");
  }
  if (clock !== undefined && clock !== broker.clock) {
    throw invalidOption(
      "clock",
      "the broker exists already and has another clock; give it a name of its own, or make it with this clock",
    );
  }
  return broker;
}
