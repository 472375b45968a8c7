/**
 * Going through what waits for a group. A look changes nothing; but to remove is something that a log can do only from its
 * front, and only while the group has no consumers, which otherwise keep its place.
 */
import type { InletAddress, WaitingMessages } from "@posthorn/core/transport";
import { PosthornError } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import type { Backlog } from "./backlog.ts";
import { mergeBacklogs, shareOf } from "./backlog.ts";
import { decodeRecord } from "./decode.ts";
import { groupId } from "./names.ts";

/** What was said of one partition's messages. */
interface Said {
  readonly topic: string;
  readonly partition: number;
  firstKept: bigint | undefined;
  lastRemoved: bigint | undefined;
}

export function waitingInInlet(
  asking: Asking,
  source: InletAddress,
  backlogs: readonly Backlog[],
  signal: AbortSignal,
): WaitingMessages {
  const group = groupId(source.channel, source.group);
  const merged = mergeBacklogs(asking, backlogs, shareOf(backlogs), signal);
  const said = new Map<string, Said>();

  return {
    async next() {
      const record = await merged.peek();
      if (record === undefined) return undefined;
      merged.take();
      const { topic, partition, offset } = record;
      const id = `${topic} ${partition}`;
      return {
        message: decodeRecord(record).message,
        settle(remove) {
          const own = said.get(id) ?? { topic, partition, firstKept: undefined, lastRemoved: undefined };
          said.set(id, own);
          if (remove)
            own.lastRemoved = own.lastRemoved === undefined || offset > own.lastRemoved ? offset : own.lastRemoved;
          else own.firstKept = own.firstKept === undefined || offset < own.firstKept ? offset : own.firstKept;
        },
      };
    },
    async finish() {
      const offsets = [...said.values()].flatMap(({ topic, partition, firstKept, lastRemoved }) => {
        if (lastRemoved === undefined) return [];
        if (firstKept !== undefined && firstKept < lastRemoved) throw onlyFromTheFront(group);
        return [{ topic, partition, offset: lastRemoved + 1n, metadata: "" }];
      });
      if (offsets.length > 0 && !(await asking.commit(group, offsets, signal))) throw hasConsumers(group);
    },
  };
}

function onlyFromTheFront(group: string): PosthornError {
  return new PosthornError(
    "UNSUPPORTED_CAPABILITY",
    `Nothing was removed of what waits for the group ${JSON.stringify(group)}: a message before one that was to be removed is kept, and Kafka gives messages up only from the front.`,
  );
}

function hasConsumers(group: string): PosthornError {
  return new PosthornError(
    "UNSUPPORTED_CAPABILITY",
    `Nothing was removed of what waits for the group ${JSON.stringify(group)}: it has consumers, and on Kafka only they may move its place. Stop them first.`,
  );
}
