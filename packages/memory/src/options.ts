import { checkOptions, invalidOption } from "@posthorn/core/transport";
import { z } from "zod";
import { noFaults } from "./broker/faults.ts";
import type { BrokerSettings } from "./broker/broker.ts";
import type { FaultOptions, FaultPlan } from "./broker/faults.ts";

/** What can be chosen when a broker is made. */
export interface MemoryBrokerOptions {
  /** `queue`: per-message settlement, like RabbitMQ and SQS. `log`: partitions and offsets, like Kafka. Default `queue`. */
  readonly personality?: "queue" | "log" | undefined;
  /** Largest message, body and headers together, in bytes. Default 1,048,576. */
  readonly maxMessageBytes?: number | undefined;
  /** Most messages that one queue, or one partition of a log, holds; one more is REJECTED. Default 100,000. */
  readonly maxMessages?: number | undefined;
  /** Most bytes that one queue, or one partition of a log, holds. Default 268,435,456. */
  readonly maxBytes?: number | undefined;
  /** How long a consumer may be silent before its messages go to others, in milliseconds. Default 30,000. */
  readonly leaseMs?: number | undefined;
  /**
   * How long the broker can delay a message, in milliseconds; it delivers one that is to wait longer after this time, early. All
   * delayed messages together count against `maxMessages` and `maxBytes`. Default 900,000, as SQS.
   */
  readonly longestDelayMs?: number | undefined;
  /** How often consumers may lose one message (crash, cut, expiry) before a queue dead-letters it. Default 100. */
  readonly deliveryLimit?: number | undefined;
  /** Partitions of a log. Default 4. */
  readonly partitions?: number | undefined;
  /** Queues deliver in no order, as real ones may; by default they keep theirs. A log's partitions always do, and so do the keys of an ordered channel. */
  readonly shuffle?: boolean | undefined;
  /** Default none. */
  readonly faults?: FaultOptions | undefined;
}

const count = z.int().positive();
const probability = z.number().min(0).max(1);

const faultPlan = z.strictObject({
  seed: z.int().optional(),
  duplicate: probability.optional(),
  reorder: probability.optional(),
  dropSettlement: probability.optional(),
  dropConfirm: probability.optional(),
  cut: probability.optional(),
});

const brokerShape = {
  personality: z.enum(["queue", "log"]).optional(),
  maxMessageBytes: count.optional(),
  maxMessages: count.optional(),
  maxBytes: count.optional(),
  leaseMs: count.optional(),
  longestDelayMs: count.optional(),
  deliveryLimit: count.optional(),
  partitions: count.optional(),
  shuffle: z.boolean().optional(),
  faults: faultPlan.optional(),
};

const brokerOptions = z.strictObject(brokerShape);
const whose = "the memory transport";

/** @throws INVALID_OPTION naming the option */
export function readBrokerOptions(options: unknown): BrokerSettings {
  const given = checkOptions(whose, brokerOptions, options);
  return {
    personality: given.personality ?? "queue",
    maxMessageBytes: given.maxMessageBytes ?? 1_048_576,
    maxMessages: given.maxMessages ?? 100_000,
    maxBytes: given.maxBytes ?? 268_435_456,
    leaseMs: given.leaseMs ?? 30_000,
    longestDelayMs: given.longestDelayMs ?? 900_000,
    deliveryLimit: given.deliveryLimit ?? 100,
    partitions: given.partitions ?? 4,
    shuffle: given.shuffle ?? false,
    faults: readFaults(given.faults),
  };
}

/**
 * Lays the faults that are given over others, by default none.
 *
 * @throws INVALID_OPTION
 */
export function readFaults(faults: FaultOptions = {}, others: FaultPlan = noFaults): FaultPlan {
  const given = checkOptions("the memory broker's faults", faultPlan, faults);
  return {
    seed: given.seed ?? others.seed,
    duplicate: given.duplicate ?? others.duplicate,
    reorder: given.reorder ?? others.reorder,
    dropSettlement: given.dropSettlement ?? others.dropSettlement,
    dropConfirm: given.dropConfirm ?? others.dropConfirm,
    cut: given.cut ?? others.cut,
  };
}

const brokerName = z.string().regex(/^[A-Za-z0-9._-]+$/, "must hold only letters, digits, dot, - and _");

const transportOptions = z.strictObject({
  transport: z.literal("memory").optional(),
  broker: z
    .custom<object>(
      (value) => typeof value === "object" && value !== null,
      "must be a broker made by createMemoryBroker",
    )
    .optional(),
  name: brokerName.optional(),
  ...brokerShape,
});

export interface ReadTransportOptions {
  /** Not yet known to be a broker. */
  readonly broker: object | undefined;
  readonly name: string | undefined;
  /** Only what was given. */
  readonly options: MemoryBrokerOptions;
}

/** @throws INVALID_OPTION naming the option */
export function readTransportOptions(config: string | Readonly<Record<string, unknown>>): ReadTransportOptions {
  const {
    transport: _,
    broker,
    name,
    ...options
  } = checkOptions(whose, transportOptions, typeof config === "string" ? fromUrl(config) : config);
  if (broker !== undefined && name !== undefined)
    throw invalidOption("name", "a broker is given already; leave one of the two out");
  return { broker, name, options };
}

/** `memory:`, `memory:name`, `memory:name?personality=log&leaseMs=5000`; `memory://name` is the same. */
function fromUrl(url: string): Record<string, unknown> {
  const match = /^memory:(?:\/\/)?([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  if (match === null) throw invalidOption("url", `it must look like "memory:name?personality=log"`);
  const options: Record<string, unknown> = {};
  if (match[1] !== undefined && match[1] !== "") options["name"] = match[1];
  for (const [name, value] of new URLSearchParams(match[2] ?? "")) {
    if (Object.hasOwn(options, name) || name === "name" || name === "broker")
      throw invalidOption(name, "a URL gives it once, and the name before the question mark");
    options[name] = valueOf(value);
  }
  return options;
}

function valueOf(text: string): unknown {
  if (/^\d+$/.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
}
