/**
 * How an ordered channel is divided: each group has so many queues, a key always goes to the same one, and of each queue the
 * broker serves one consumer at a time.
 *
 * Part of the wire format: whoever publishes must agree, so neither number nor hash can change.
 */
import type { Message } from "@posthorn/core/transport";

export const shardCount = 8;

export const shards: readonly number[] = Array.from({ length: shardCount }, (_, shard) => shard);

/** Names hold no dot but ours, and no group has a shard's number behind its name. */
export function shardQueue(inlet: string, shard: number): string {
  return `${inlet}.shard.${shard}`;
}

/** The shard of a message: by its key, without one by its id, which spreads them. */
export function shardOf({ key, id }: Pick<Message, "key" | "id">): number {
  return fnv1a32(key ?? id) % shardCount;
}

const beyondAscii = /[^\0-\x7f]/;

/** FNV-1a with 32 bits over the text's UTF-8 bytes. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  if (beyondAscii.test(text)) for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  else for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
