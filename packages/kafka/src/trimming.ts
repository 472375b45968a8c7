/**
 * Deletes what was done with from a group's own topics. They keep everything until then, as no age says that a retry or a delayed
 * message is not needed any more.
 */
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { isPassing, kafkaError } from "./errors.ts";
import type { HeldWindow } from "./places.ts";

export interface TrimmingOptions {
  readonly cluster: Pick<Cluster, "leader" | "node">;
  /** Partitions of the group's own topics that are held now. */
  readonly windows: () => readonly HeldWindow[];
  readonly ending: AbortSignal;
  readonly onFailed: (error: unknown) => void;
}

export interface Trimming {
  /** What fails for now is for the next time. */
  trim(): Promise<void>;
}

/** Not that of the fetches, which wait. */
const lane = "admin";

export function createTrimming({ cluster, windows, ending, onFailed }: TrimmingOptions): Trimming {
  let busy = false;

  async function trimAll(): Promise<void> {
    const due = windows().filter(({ committed, logStart }) => committed > logStart);
    const byLeader = Map.groupBy(due, ({ topic, partition }) => cluster.leader(topic, partition));
    for (const [leader, led] of byLeader) {
      if (leader === undefined) continue;
      try {
        await trimOn(leader, led);
      } catch (error) {
        if (!ending.aborted && !(error instanceof ConnectionFailure)) onFailed(error);
      }
    }
  }

  async function trimOn(leader: number, led: readonly HeldWindow[]): Promise<void> {
    const asked = led.map((window) => ({ window, offset: window.committed }));
    const connection = await cluster.node(leader, lane, ending);
    const answers = await connection.deleteRecords(
      asked.map(({ window: { topic, partition }, offset }) => ({ topic, partition, offset: BigInt(offset) })),
    );
    for (const { topic, partition, error } of answers) {
      const trimmed = asked.find(({ window }) => window.topic === topic && window.partition === partition);
      if (trimmed === undefined) continue;
      if (error === 0) trimmed.window.logStart = trimmed.offset;
      else if (!isPassing(error))
        onFailed(kafkaError(error, `partition ${partition} of topic ${JSON.stringify(topic)}`));
    }
  }

  return {
    async trim() {
      if (busy || ending.aborted) return;
      busy = true;
      await trimAll().finally(() => (busy = false));
    },
  };
}
