/** What exists on a broker: channels with their groups, and the sources that can be consumed. */
import type { ChannelInfo, Group, Topology, TopologyChange } from "@posthorn/core/transport";
import { deadLetterName, inletName } from "./names.ts";
import type { BrokerSource, ChannelStore, Refusal, StoredRecord } from "./source.ts";

/** How one kind of broker keeps its messages. */
export interface Personality {
  createChannel(info: ChannelInfo): ChannelStore;
  createDeadLetters(name: string): BrokerSource;
}

/** Where a message goes: to a channel, or to one source alone. */
export interface Destination {
  readonly object: "queue" | "topic" | "source";
  readonly name: string;
}

export interface Catalog {
  /** @returns what is missing or different; with `create`, what is missing is made first */
  provision(topology: Topology, create: boolean): readonly TopologyChange[];
  /** Why nothing can be stored there, whatever it is: it does not exist. */
  missing(destination: Destination): Refusal | undefined;
  store(destination: Destination, record: StoredRecord): Refusal | undefined;
  source(name: string): BrokerSource | undefined;
  sources(): Iterable<BrokerSource>;
  /** Deletes a source, or a channel with its groups; dead letters stay unless named. False where there is no such thing. */
  remove(name: string): boolean;
}

export function createCatalog(personality: Personality): Catalog {
  const channels = new Map<string, ChannelStore>();
  const sources = new Map<string, BrokerSource>();

  function provisionChannel(info: ChannelInfo, create: boolean): readonly TopologyChange[] {
    const existing = channels.get(info.name)?.info;
    if (existing === undefined) {
      if (!create) return [{ problem: "missing", object: info.kind, name: info.name }];
      channels.set(info.name, personality.createChannel({ kind: info.kind, name: info.name, ordered: info.ordered }));
      return [];
    }
    const differs = { problem: "different", object: existing.kind, name: info.name } as const;
    if (existing.kind !== info.kind) return [{ ...differs, field: "kind", expected: info.kind, actual: existing.kind }];
    if (existing.ordered !== info.ordered)
      return [{ ...differs, field: "ordered", expected: String(info.ordered), actual: String(existing.ordered) }];
    return [];
  }

  function provisionGroup(group: Group, create: boolean): readonly TopologyChange[] {
    const store = channels.get(group.channel.name);
    if (store !== undefined && store.info.kind !== group.channel.kind) return [];
    const changes: TopologyChange[] = [];
    const name = inletName(group.channel, group.name);
    const dead = deadLetterName(group.channel, group.name);
    if (!sources.has(dead)) {
      if (create) sources.set(dead, personality.createDeadLetters(dead));
      else changes.push({ problem: "missing", object: "dead-letter channel", name: dead });
    }
    if (store?.groups.has(group.name) !== true) {
      if (!create || store === undefined) return [{ problem: "missing", object: "group", name }, ...changes];
      const bury = (record: StoredRecord): boolean => {
        const deadLetters = sources.get(dead);
        return deadLetters !== undefined && deadLetters.append(record) === undefined;
      };
      sources.set(name, store.addGroup(group.name, name, bury));
    }
    // A group that asks for more types than before only needs more of the same bindings.
    const missing = store.missingTypes(group.name, group.types);
    if (create) store.addTypes(group.name, missing);
    else for (const type of missing) changes.push({ problem: "missing", object: "binding", name: `${name}: ${type}` });
    return changes;
  }

  function removeGroup(store: ChannelStore, group: string, source: BrokerSource): void {
    store.removeGroup(group);
    sources.delete(source.name);
    source.destroy();
  }

  function channelOf({ object, name }: Destination): ChannelStore | undefined {
    const store = channels.get(name);
    return store?.info.kind === object ? store : undefined;
  }

  function missing(destination: Destination): Refusal | undefined {
    const { object, name } = destination;
    if (object === "source" ? sources.has(name) : channelOf(destination) !== undefined) return undefined;
    return {
      reason: "missing",
      detail: `There is no ${object === "source" ? "" : `${object} `}"${name}" on the broker.`,
    };
  }

  return {
    provision: (topology, create) => [
      ...topology.channels.flatMap((channel) => provisionChannel(channel, create)),
      ...topology.groups.flatMap((group) => provisionGroup(group, create)),
    ],
    missing,
    store(destination, record) {
      if (destination.object === "source") {
        const source = sources.get(destination.name);
        return source === undefined ? missing(destination) : source.append(record);
      }
      const store = channelOf(destination);
      return store === undefined ? missing(destination) : store.publish(record);
    },
    source: (name) => sources.get(name),
    sources: () => sources.values(),
    remove(name) {
      const channel = channels.get(name);
      if (channel !== undefined) {
        channels.delete(name);
        for (const [group, source] of channel.groups) removeGroup(channel, group, source);
        return true;
      }
      for (const store of channels.values()) {
        for (const [group, source] of store.groups) {
          if (source.name !== name) continue;
          removeGroup(store, group, source);
          return true;
        }
      }
      const deadLetters = sources.get(name);
      sources.delete(name);
      deadLetters?.destroy();
      return deadLetters !== undefined;
    },
  };
}
