/** From addresses to the broker's names, and what a transport remembers of the topologies it applied. */
import type { Address, Group, Source, Topology } from "@posthorn/core/transport";
import type { Destination } from "./broker/catalog.ts";
import { deadLetterName, inletName } from "./broker/names.ts";

/** What the broker calls a source: `orders`, `order-events.billing`, `orders.dlq`. */
export function sourceName(source: Source): string {
  if (source.kind === "reply") return source.inbox;
  return source.kind === "inlet"
    ? inletName(source.channel, source.group)
    : deadLetterName(source.channel, source.group);
}

export function destinationOf(address: Address): Destination {
  return address.kind === "channel"
    ? { object: address.channel.kind, name: address.channel.name }
    : { object: "source", name: sourceName(address) };
}

export interface AppliedTopology {
  readonly all: Topology;
  add(topology: Topology): void;
  /** Whether the destination is part of it. */
  has(destination: Destination): boolean;
}

export function createAppliedTopology(): AppliedTopology {
  const channels = new Map<string, Topology["channels"][number]>();
  const groups = new Map<string, Group>();
  const names = new Set<string>();
  return {
    get all() {
      return { channels: [...channels.values()], groups: [...groups.values()] };
    },
    add(topology) {
      for (const channel of topology.channels) {
        channels.set(channel.name, channel);
        names.add(`${channel.kind}:${channel.name}`);
      }
      for (const group of topology.groups) {
        const name = inletName(group.channel, group.name);
        const types = new Set([...(groups.get(name)?.types ?? []), ...group.types]);
        groups.set(name, { channel: group.channel, name: group.name, types: [...types] });
        names.add(`source:${name}`);
        names.add(`source:${deadLetterName(group.channel, group.name)}`);
      }
    },
    has: (destination) => names.has(`${destination.object}:${destination.name}`),
  };
}
