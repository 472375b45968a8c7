/**
 * Answers to fetches, version 11, for tests.
 *
 * The two below are those of a Kafka 4.4 on a topic `fetched`, whose partition 0 has these records: 0 `plain`, 1 `none` with a null value,
 * 2 `aborted` in a transaction that was aborted, 3 `between`, 4 the abort's marker, 5 `committed` in a transaction, 6 the commit's
 * marker, 7 and 8 `gzip-a` and `gzip-b`, compressed. Values are `value of <key>`; each record has a header `h: 1`.
 */

/** To a fetch of partition 0 from 1 on, of partition 1 from 77 on, which it does not have, and of partition 9, which does not exist. */
export const kafkaAnswer: Buffer = Buffer.from(
  [
    "AAAAAAAAAAAAAAAAAAEAB2ZldGNoZWQAAAADAAAAAAAAAAAAAAAAAAkAAAAAAAAACQAAAAAAAAAAAAAAAQAAAAAAAAAIAAAAAAAA",
    "AAL/////AAACnwAAAAAAAAAAAAAAXgAAAAAC2IAdxwAAAAAAAQAAAaIFgdfkAAABogWB1+T//////////wAAAAAAAAAAAAI6AAAA",
    "CnBsYWluHHZhbHVlIG9mIHBsYWluAgJoAjEcAAACCG5vbmUBAgJoAjEAAAAAAAAAAgAAAFMAAAAAAjlsyIcAEAAAAAAAAAGiBYHY",
    "GQAAAaIFgdgZAAAAAAAAAAgAAAAAAAAAAAABQgAAAA5hYm9ydGVkIHZhbHVlIG9mIGFib3J0ZWQCAmgCMQAAAAAAAAADAAAAUwAA",
    "AAACkpR/xQAAAAAAAAAAAaIFgdgfAAABogWB2B///////////wAAAAAAAAAAAAFCAAAADmJldHdlZW4gdmFsdWUgb2YgYmV0d2Vl",
    "bgICaAIxAAAAAAAAAAQAAABCAAAAAAKQiFqvADAAAAAAAAABogWB2DQAAAGiBYHYNAAAAAAAAAAIAAD/////AAAAASAAAAAIAAAA",
    "AAwAAAAAAAAAAAAAAAAAAAUAAABXAAAAAAKW+BOdABAAAAAAAAABogWB2EMAAAGiBYHYQwAAAAAAAAAIAAAAAAABAAAAAUoAAAAS",
    "Y29tbWl0dGVkJHZhbHVlIG9mIGNvbW1pdHRlZAICaAIxAAAAAAAAAAYAAABCAAAAAAKGJAkAADAAAAAAAAABogWB2E4AAAGiBYHY",
    "TgAAAAAAAAAIAAD/////AAAAASAAAAAIAAAAAQwAAAAAAAAAAAAAAAAAAAcAAABsAAAAAAKinqg9AAEAAAABAAABogWB2E4AAAGi",
    "BYHYTv//////////AAAAAAAAAAAAAh+LCAAAAAAAAAOzY2Bg4EmvyizQTZQrS8wpTVXIT1OA8JmYMpgM7RgYmCDySWjySWB5AD1s",
    "E8JAAAAAAAAAAQAB//////////////////////////////////////////8AAAAAAAAACQAD////////////////////////////",
    "////AAAAAP////8AAAAA",
  ].join(""),
  "base64",
);

/** To a fetch of partition 0 from 0 on, of at most 400 bytes. */
export const kafkaAnswerCutOff: Buffer = Buffer.from(
  [
    "AAAAAAAAAAAAAAAAAAEAB2ZldGNoZWQAAAABAAAAAAAAAAAAAAAAAAkAAAAAAAAACQAAAAAAAAAAAAAAAQAAAAAAAAAIAAAAAAAA",
    "AAL/////AAABkAAAAAAAAAAAAAAAXgAAAAAC2IAdxwAAAAAAAQAAAaIFgdfkAAABogWB1+T//////////wAAAAAAAAAAAAI6AAAA",
    "CnBsYWluHHZhbHVlIG9mIHBsYWluAgJoAjEcAAACCG5vbmUBAgJoAjEAAAAAAAAAAgAAAFMAAAAAAjlsyIcAEAAAAAAAAAGiBYHY",
    "GQAAAaIFgdgZAAAAAAAAAAgAAAAAAAAAAAABQgAAAA5hYm9ydGVkIHZhbHVlIG9mIGFib3J0ZWQCAmgCMQAAAAAAAAADAAAAUwAA",
    "AAACkpR/xQAAAAAAAAAAAaIFgdgfAAABogWB2B///////////wAAAAAAAAAAAAFCAAAADmJldHdlZW4gdmFsdWUgb2YgYmV0d2Vl",
    "bgICaAIxAAAAAAAAAAQAAABCAAAAAAKQiFqvADAAAAAAAAABogWB2DQAAAGiBYHYNAAAAAAAAAAIAAD/////AAAAASAAAAAIAAAA",
    "AAwAAAAAAAAAAAAAAAAAAAUAAABXAAAAAAKW+BOdABAAAAA=",
  ].join(""),
  "base64",
);

export interface PartitionFixture {
  readonly topic: string;
  readonly partition: number;
  readonly error?: number;
  readonly highWatermark?: bigint;
  readonly logStart?: bigint;
  readonly aborted?: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[];
  readonly batches?: readonly Buffer[];
}

export function fetchAnswer(partitions: readonly PartitionFixture[], error = 0): Buffer {
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic)];
  return Buffer.concat([
    int(4, 0), // throttle time
    int(2, error),
    int(4, 0), // fetch session
    int(4, topics.length),
    ...topics.flatMap(([topic, each]) => [
      int(2, topic.length),
      Buffer.from(topic),
      int(4, each.length),
      ...each.map(encodePartition),
    ]),
  ]);
}

function encodePartition({ partition, error = 0, ...rest }: PartitionFixture): Buffer {
  const { highWatermark = 0n, logStart = 0n, aborted = [], batches = [] } = rest;
  const records = Buffer.concat(batches);
  return Buffer.concat([
    int(4, partition),
    int(2, error),
    int(8, highWatermark),
    int(8, highWatermark), // last stable offset
    int(8, logStart),
    int(4, aborted.length),
    ...aborted.flatMap(({ producerId, firstOffset }) => [int(8, producerId), int(8, firstOffset)]),
    int(4, -1), // preferred read replica
    int(4, records.length),
    records,
  ]);
}

function int(bytes: 2 | 4 | 8, value: number | bigint): Buffer {
  const encoded = Buffer.alloc(8);
  encoded.writeBigInt64BE(BigInt(value));
  return encoded.subarray(8 - bytes);
}
