/**
 * What a group's leader and its members tell each other. It has the shape of the consumers' own protocol, version 0, so that Kafka's
 * tools can show it.
 *
 * Source: Kafka's `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json`.
 */
import type { TopicPartition } from "./client.ts";
import { PrimitiveReader } from "./primitive-reader.ts";

const version = 0;

/** @param userData what a member says to the leader, beyond its topics */
export function encodeSubscription(topics: readonly string[], userData: string): Uint8Array {
  return Buffer.concat([int16(version), array(topics.map(string)), bytes(userData)]);
}

/** The `userData` of {@link encodeSubscription}; empty where somebody else wrote none. */
export function decodeSubscription(encoded: Uint8Array): string {
  const reader = new PrimitiveReader(asBuffer(encoded));
  reader.int16(); // version: later ones only add to the end
  reader.array(() => reader.string());
  return reader.bytes().toString();
}

/** @param userData what the leader says to a member, beyond its partitions */
export function encodeAssignment(partitions: readonly TopicPartition[], userData: string): Uint8Array {
  const topics = Array.from(
    Map.groupBy(partitions, ({ topic }) => topic),
    ([topic, each]) => Buffer.concat([string(topic), array(each.map(({ partition }) => int32(partition)))]),
  );
  return Buffer.concat([int16(version), array(topics), bytes(userData)]);
}

/** Nothing at all is read as nothing assigned: so the broker answers where the leader named no share. */
export function decodeAssignment(encoded: Uint8Array): {
  readonly partitions: TopicPartition[];
  readonly userData: string;
} {
  if (encoded.length === 0) return { partitions: [], userData: "" };
  const reader = new PrimitiveReader(asBuffer(encoded));
  reader.int16(); // version
  const topics = reader.array(() => {
    const topic = reader.string();
    return reader.array(() => ({ topic, partition: reader.int32() }));
  });
  return { partitions: topics.flat(), userData: reader.bytes().toString() };
}

function int16(value: number): Buffer {
  const encoded = Buffer.alloc(2);
  encoded.writeInt16BE(value);
  return encoded;
}

function int32(value: number): Buffer {
  const encoded = Buffer.alloc(4);
  encoded.writeInt32BE(value);
  return encoded;
}

function string(text: string): Buffer {
  const encoded = Buffer.from(text);
  return Buffer.concat([int16(encoded.length), encoded]);
}

function bytes(text: string): Buffer {
  const encoded = Buffer.from(text);
  return Buffer.concat([int32(encoded.length), encoded]);
}

function array(items: readonly Buffer[]): Buffer {
  return Buffer.concat([int32(items.length), ...items]);
}

function asBuffer(encoded: Uint8Array): Buffer {
  return Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
}
