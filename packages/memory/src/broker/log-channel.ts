import type { ChannelInfo } from "@posthorn/core/transport";
import { createConsumerGroup } from "./consumer-group.ts";
import type { ConsumerGroup, ConsumerGroupSettings } from "./consumer-group.ts";
import { createLog } from "./partition.ts";
import type { LogSettings } from "./partition.ts";
import type { BrokerSource, ChannelStore } from "./source.ts";

export interface LogChannelSettings extends LogSettings, ConsumerGroupSettings {}

/** A channel that is one log for all its groups, and has an inlet log for each. It does not filter: every type reaches every group. */
export function createLogChannel(info: ChannelInfo, settings: LogChannelSettings): ChannelStore {
  const log = createLog(info.name, settings);
  const groups = new Map<string, ConsumerGroup>();
  return {
    info,
    groups,
    publish(record) {
      const refused = log.append(record);
      if (refused === undefined) for (const group of groups.values()) group.onAppended();
      return refused;
    },
    addGroup(group, name) {
      const source = createConsumerGroup(
        name,
        info.ordered,
        log.partitions,
        createLog(`${name}.retry`, settings),
        settings,
      );
      groups.set(group, source);
      return source;
    },
    removeGroup: (group) => groups.delete(group),
    missingTypes: () => [],
    addTypes: () => undefined,
  };
}

/** A log with the one group that reads it. */
export function createLogSource(name: string, settings: LogChannelSettings): BrokerSource {
  return createConsumerGroup(name, false, [], createLog(name, settings), settings);
}
