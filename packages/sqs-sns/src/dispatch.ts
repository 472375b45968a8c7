/** Publishing: from an address and its messages to what is sent to its queue or topic. */
import { randomUUID } from "node:crypto";
import type {
  Address,
  InletAddress,
  Message,
  Receipt,
  Transport,
  TransportEnvironment,
} from "@posthorn/core/transport";
import { failed, messageBytes } from "@posthorn/core/transport";
import type { SendEntry } from "./aws.ts";
import { describeAddress } from "./describe-address.ts";
import { noReplies, notSent } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { Places } from "./places.ts";
import type { Reach } from "./reach.ts";
import { notEncodable, tooLarge } from "./receipts.ts";
import type { Destination, Parcel, SendingOptions } from "./sending.ts";
import { createSending, delaySecondsOf } from "./sending.ts";
import { bytesOf, encodeMessage, fifoIds, largestMessage } from "./wire.ts";

export interface DispatchOptions {
  readonly reach: Pick<Reach, "aws" | "ready" | "closed">;
  readonly places: Pick<Places, "find" | "delayQueue" | "forget">;
  readonly settings: Pick<Settings, "maxMessageBytes" | "longestDelayMs">;
  readonly environment: TransportEnvironment;
  readonly onBlocked: SendingOptions["onBlocked"];
}

type PlacedAddress = Exclude<Address, { readonly kind: "reply" }>;
type Inlet = Pick<InletAddress, "channel" | "group">;

/** Most that are under way to one destination. */
const mostRequests = 4;
/** What SNS takes in one request unless the topic's MaximumMessageSize allows more. */
const topicBatchBytes = 262_144;

export function createDispatch(options: DispatchOptions): Transport["dispatch"] {
  const { places, settings, environment } = options;
  const { maxMessageBytes, longestDelayMs } = settings;
  const { clock } = environment;
  const largest = largestMessage(maxMessageBytes);
  const sendAll = createSending(options);
  /**
   * Core tries again with the same object, and whatever else it sends is another, however alike. Forgotten once it was
   * accepted: an object that is sent again after that is meant to be there twice.
   */
  const dispatchIds = new WeakMap<Message, string>();

  const dispatchIdOf = (message: Message): string => {
    let id = dispatchIds.get(message);
    if (id === undefined) dispatchIds.set(message, (id = randomUUID()));
    return id;
  };

  const entryOf = (address: PlacedAddress, message: Message, isFifo: boolean): SendEntry => {
    const { body, attributes } = encodeMessage(message);
    if (!isFifo) return { body, attributes };
    return { body, attributes, ...fifoIds(message, address.kind === "dead-letters", dispatchIdOf(message)) };
  };

  const destinationOf = (address: PlacedAddress): Destination => {
    const { ordered, kind } = address.channel;
    const isTopic = address.kind === "channel" && kind === "topic";
    return {
      what: describeAddress(address),
      // Beside each other also where there is an order: it is that of a key, and a call has at most one message of a key. Dead
      // letters go one request after the other: they are looked at in the order in which they died.
      atATime: address.kind === "dead-letters" ? 1 : mostRequests,
      maxBatchBytes: isTopic ? Math.min(topicBatchBytes, maxMessageBytes) : maxMessageBytes,
      delays: !ordered && delayInletOf(address) !== undefined,
      find: (signal) => places.find(address, signal),
      forget: () => places.forget(address),
    };
  };

  const delayQueueOf = (address: PlacedAddress, inlet: Inlet): Destination => ({
    what: `the delay queue of ${describeAddress(address)}`,
    atATime: mostRequests,
    maxBatchBytes: maxMessageBytes,
    delays: true,
    find: async (signal) => ({ kind: "queue", url: await places.delayQueue(inlet, signal), fifo: false }),
    forget: () => places.forget(address),
  });

  return async (outbound, { signal }) => {
    const address = outbound[0]?.address;
    if (address === undefined) return [];
    if (address.kind === "reply") return outbound.map(() => failed(noReplies()));
    const { ordered } = address.channel;
    const delayInlet = delayInletOf(address);
    const receipts: Receipt[] = [];
    const direct: Parcel[] = [];
    const delayed: Parcel[] = [];

    // FIFO queues cannot delay a message: what is early waits in the delay queue. SNS delays none: the groups' inlets do.
    const waits = (message: Message): boolean =>
      ordered && delayInlet !== undefined && delaySecondsOf(message, clock.now(), longestDelayMs) > 0;

    const prepare = (message: Message, index: number): void => {
      const isDelayed = waits(message);
      const entry = entryOf(address, message, ordered && !isDelayed);
      const bytes = bytesOf(entry);
      const size = messageBytes(message);
      if (size > largest) receipts[index] = tooLarge(message, size, largest);
      else if (bytes > maxMessageBytes) receipts[index] = tooLarge(message, bytes, maxMessageBytes);
      else (isDelayed ? delayed : direct).push({ index, message, entry, bytes });
    };

    const settle = ({ index, message }: Parcel, receipt: Receipt): void => {
      if (receipt.accepted) dispatchIds.delete(message);
      receipts[index] = receipt;
    };

    outbound.forEach(({ message }, index) => {
      try {
        prepare(message, index);
      } catch (cause) {
        receipts[index] = notEncodable(message, cause);
      }
    });
    await Promise.all([
      sendAll(destinationOf(address), direct, signal, settle),
      delayInlet !== undefined && sendAll(delayQueueOf(address, delayInlet), delayed, signal, settle),
    ]);
    return outbound.map((_, index) => receipts[index] ?? failed(notSent()));
  };
}

/** Whose messages can be delayed: a group's inlet, or the queue channel that is one. `undefined` where nothing ever is. */
function delayInletOf(address: PlacedAddress): Inlet | undefined {
  const { kind, channel } = address;
  if (kind === "inlet") return address;
  return kind === "channel" && channel.kind === "queue" ? { channel, group: channel.name } : undefined;
}
