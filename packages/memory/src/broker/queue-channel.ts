import type { ChannelInfo } from "@posthorn/core/transport";
import { createQueue } from "./queue.ts";
import type { Queue, QueueSettings } from "./queue.ts";
import type { ChannelStore } from "./source.ts";

interface Binding {
  readonly queue: Queue;
  readonly types: Set<string>;
}

/** A channel whose groups each have a queue of their own; a topic's groups get only the types they asked for. */
export function createQueueChannel(info: ChannelInfo, settings: QueueSettings): ChannelStore {
  const bindings = new Map<string, Binding>();
  const groups = new Map<string, Queue>();
  return {
    info,
    groups,
    publish(record) {
      const targets: Queue[] = [];
      for (const { queue, types } of bindings.values()) {
        if (info.kind === "topic" && !types.has(record.type)) continue;
        const refused = queue.refusal(record);
        if (refused !== undefined) return refused;
        targets.push(queue);
      }
      for (const queue of targets) queue.append(record);
      return undefined;
    },
    addGroup(group, name, exhausted) {
      const queue = createQueue(name, info.ordered, settings, exhausted);
      bindings.set(group, { queue, types: new Set() });
      groups.set(group, queue);
      return queue;
    },
    removeGroup(group) {
      bindings.delete(group);
      groups.delete(group);
    },
    missingTypes: (group, types) =>
      info.kind === "queue" ? [] : types.filter((type) => bindings.get(group)?.types.has(type) !== true),
    addTypes(group, types) {
      for (const type of types) bindings.get(group)?.types.add(type);
    },
  };
}
