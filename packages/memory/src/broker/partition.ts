/** Logs: records in the order of their arrival, kept until every group has committed them. */
import { createRing } from "./ring.ts";
import type { Faults } from "./faults.ts";
import type { Refusal, StoredRecord } from "./source.ts";

export interface LogSettings {
  readonly faults: Faults;
  readonly partitions: number;
  /** Most records of one partition. */
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** How far a group is: everything below is done for it. */
export interface Cursor {
  readonly committed: number;
}

export interface Partition {
  /** The offset of the next record. */
  readonly end: number;
  at(offset: number): StoredRecord | undefined;
  append(record: StoredRecord): Refusal | undefined;
  attach(cursor: Cursor): void;
  detach(cursor: Cursor): void;
  /** Forgets what every cursor has passed. */
  trim(): void;
}

export interface PartitionedLog {
  readonly partitions: readonly Partition[];
  /** Into the partition of its key, or the next in turn where it has none. */
  append(record: StoredRecord): Refusal | undefined;
}

export function createLog(name: string, settings: LogSettings): PartitionedLog {
  const partitions = Array.from({ length: settings.partitions }, (_, index) =>
    createPartition(`${name}[${index}]`, settings),
  );
  let turn = 0;
  return {
    partitions,
    append(record) {
      const choice = record.key === undefined ? turn++ : hash(record.key);
      return partitions[choice % partitions.length]?.append(record);
    },
  };
}

function createPartition(name: string, settings: LogSettings): Partition {
  const records = createRing<StoredRecord>();
  const cursors = new Set<Cursor>();
  let base = 0;
  let bytes = 0;

  function trim(): void {
    let done = base + records.size;
    for (const cursor of cursors) done = Math.min(done, cursor.committed);
    for (; base < done; base++) bytes -= records.takeFront()?.bytes.byteLength ?? 0;
  }

  return {
    get end() {
      return base + records.size;
    },
    at: (offset) => records.at(offset - base),
    append(record) {
      if (cursors.size === 0) return undefined;
      if (records.size >= settings.maxMessages)
        return {
          reason: "full",
          detail: `The partition "${name}" holds ${settings.maxMessages} messages, its limit (maxMessages).`,
        };
      if (bytes + record.bytes.byteLength > settings.maxBytes)
        return {
          reason: "full",
          detail: `The partition "${name}" holds ${bytes} bytes; its limit is ${settings.maxBytes} (maxBytes).`,
        };
      const copies = settings.faults.happens("duplicate") ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        records.pushBack(record);
        bytes += record.bytes.byteLength;
      }
      return undefined;
    },
    attach: (cursor) => cursors.add(cursor),
    detach(cursor) {
      cursors.delete(cursor);
      trim();
    },
    trim,
  };
}

/** FNV-1a over UTF-16 code units. */
function hash(key: string): number {
  let result = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) result = Math.imul(result ^ key.charCodeAt(index), 0x01000193);
  return result >>> 0;
}
