import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import type {
  Address,
  ChannelInfo,
  DeadLetterAddress,
  Delivery,
  ErrorCode,
  InletAddress,
  Message,
  Receipt,
  Settlement,
  Topology,
  Transport,
} from "@posthorn/core/transport";
import { createVirtualClock, sampleMessage } from "@posthorn/core/testing";
import type { VirtualClock } from "@posthorn/core/testing";
import { createMemoryBroker, memory } from "./index.ts";
import type { MemoryBroker, MemoryBrokerOptions } from "./index.ts";

export const never: AbortSignal = new AbortController().signal;

export const orders: ChannelInfo = { kind: "queue", name: "orders", ordered: false };
export const toOrders: Address = channelAddress(orders);
export const ordersInlet: InletAddress = inletAddress(orders, "orders");
export const ordersDead: DeadLetterAddress = deadLetterAddress(orders, "orders");
export const orderTopology: Topology = { channels: [orders], groups: [{ channel: orders, name: "orders", types: [] }] };

export const events: ChannelInfo = { kind: "topic", name: "events", ordered: false };
export const toEvents: Address = channelAddress(events);
export const billingInlet: InletAddress = inletAddress(events, "billing");
export const shippingInlet: InletAddress = inletAddress(events, "shipping");

export function eventTopology(...groups: readonly (readonly [name: string, ...types: string[]])[]): Topology {
  return { channels: [events], groups: groups.map(([name, ...types]) => ({ channel: events, name, types })) };
}

export function message(id: string, changes: Partial<Message> = {}): Message {
  return sampleMessage({ id, type: "placed", body: new TextEncoder().encode(`"${id}"`), ...changes });
}

/** A broker on a virtual clock. */
export interface World {
  readonly clock: VirtualClock;
  readonly broker: MemoryBroker;
  /** Connected, and with both channels provisioned. */
  readonly client: () => Promise<Client>;
}

export interface Client {
  readonly transport: Transport;
  /** Names of the events reported so far. */
  readonly events: string[];
  /** What became of each: `accepted`, or the error's code. */
  readonly send: (address: Address, ...messages: readonly Message[]) => Promise<readonly ("accepted" | ErrorCode)[]>;
}

export function createWorld(options: MemoryBrokerOptions = {}): World {
  const clock = createVirtualClock();
  const broker = createMemoryBroker({ ...options, clock });
  return {
    clock,
    broker,
    async client() {
      const transport = memory({ broker });
      const events: string[] = [];
      await transport.connect({ signal: never, report: (event) => events.push(event.name) });
      await transport.provision(orderTopology, "apply", { signal: never });
      return {
        transport,
        events,
        send: async (address, ...messages) =>
          outcomes(
            await transport.dispatch(
              messages.map((each) => ({ address, message: each })),
              { signal: never },
            ),
          ),
      };
    },
  };
}

/** The ids of what waits there, left where it is. */
export async function look(
  transport: Transport,
  source: InletAddress | DeadLetterAddress,
  limit: number,
): Promise<readonly string[]> {
  const ids: string[] = [];
  const visit = async ({ id }: Message): Promise<"keep"> => {
    ids.push(id);
    return "keep";
  };
  await transport.admin.walk(source, visit, { signal: never, limit, maxPending: 1 });
  return ids;
}

export function outcomes(receipts: readonly Receipt[]): readonly ("accepted" | ErrorCode)[] {
  return receipts.map((receipt) => (receipt.accepted ? "accepted" : receipt.error.code));
}

/** A `receive` that remembers, and settles when it is told. */
export interface Inbox {
  readonly receive: (delivery: Delivery) => Promise<Settlement>;
  readonly deliveries: Delivery[];
  readonly ids: string[];
  /** Most calls that were pending at a time. */
  readonly peak: number;
  /** Settles the delivery of that index. */
  settle(index: number, settlement: Settlement): void;
  /** Settles whatever comes from now on, and what is pending. */
  settleAll(settlement: Settlement): void;
  /** Resolves when so many have come. */
  count(deliveries: number): Promise<void>;
}

export function createInbox(settled?: Settlement): Inbox {
  const deliveries: Delivery[] = [];
  const resolvers: ((settlement: Settlement) => void)[] = [];
  const waiting = new Map<() => void, number>();
  let always = settled;
  let pending = 0;
  let peak = 0;
  return {
    receive: async (delivery) => {
      deliveries.push(delivery);
      peak = Math.max(peak, ++pending);
      for (const [resolve, count] of waiting) if (deliveries.length >= count) resolve();
      const settlement =
        always ?? (await new Promise<Settlement>((resolve) => (resolvers[deliveries.length - 1] = resolve)));
      pending--;
      return settlement;
    },
    deliveries,
    get ids() {
      return deliveries.map((delivery) => delivery.message.id);
    },
    get peak() {
      return peak;
    },
    settle: (index, settlement) => resolvers[index]?.(settlement),
    settleAll(settlement) {
      always = settlement;
      for (const resolve of resolvers) resolve?.(settlement);
    },
    count: (count) => new Promise((resolve) => (deliveries.length >= count ? resolve() : waiting.set(resolve, count))),
  };
}
