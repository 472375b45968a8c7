/** Brings lines to the leaders of their partitions: at once where these are known, else when the metadata was asked. */
import type { PosthornError, TransportEnvironment } from "@posthorn/core/transport";
import { backoffDelay, isPosthornError, sleep } from "@posthorn/core/transport";
import type { Cluster } from "./cluster.ts";
import { errorCodes, kafkaError } from "./errors.ts";
import type { Append, PartitionLine } from "./partition-line.ts";

export interface RoutingOptions<Line> {
  readonly cluster: Pick<Cluster, "leader" | "ready" | "topics">;
  readonly environment: TransportEnvironment;
  /** Ends everything. */
  readonly closing: AbortSignal;
  readonly toLeader: (line: Line, node: number) => void;
  /** What waits in it can never be sent. */
  readonly refuse: (line: Line, error: PosthornError) => void;
}

export interface Routing<Line> {
  /** Goes on with a line that is idle and has something to send. */
  wake(line: Line): void;
  /** Goes on with lines after a while, when there is a connection, and with fresh metadata. */
  again(lines: readonly Line[]): void;
  /** The same, after an error that is not about one of them alone; or refuses them. */
  failed(lines: readonly Line[], error: unknown): void;
}

const backoff = { initialMs: 50, maxMs: 1_000, jitter: 0.5 } as const;
/** A topic that was just made elsewhere is not known to every broker at once. */
export const missingGraceMs = 1_000;

export function createRouting<Line extends PartitionLine<Append>>(options: RoutingOptions<Line>): Routing<Line> {
  const { cluster, environment, closing, toLeader, refuse } = options;
  const { clock } = environment;
  const unrouted = new Set<Line>();

  const route = (): void => {
    const lost: Line[] = [];
    for (const line of unrouted) {
      const leader = cluster.leader(line.topic, line.partition);
      if (leader === undefined) lost.push(line);
      else toLeader(line, leader);
    }
    unrouted.clear();
    if (lost.length > 0) void locate(lost);
  };

  const again = async (failing: readonly Line[]): Promise<void> => {
    let failures = 0;
    for (const line of failing) {
      line.state = "resting";
      failures = Math.max(failures, ++line.failures);
    }
    const delayMs = backoffDelay(backoff, failures, environment.random());
    if (await untilClosed(sleep(clock, delayMs, closing))) await locate(failing);
  };

  const locate = async (lost: readonly Line[]): Promise<void> => {
    for (const line of lost) line.state = "resting";
    if (!(await untilClosed(cluster.ready(closing)))) return;
    const byTopic = Map.groupBy(lost, ({ topic }) => topic);
    await Promise.all(Array.from(byTopic, ([topic, ofTopic]) => locateTopic(topic, ofTopic)));
  };

  const locateTopic = async (topic: string, lost: readonly Line[]): Promise<void> => {
    try {
      const found = await cluster.topics([topic], closing, true);
      if (closing.aborted) return;
      const partitions = found.get(topic)?.partitions ?? [];
      const leaderless = lost.filter((line) => !goesOn(line, partitions.length));
      if (leaderless.length > 0) void again(leaderless);
    } catch (error) {
      if (!closing.aborted) failed(lost, error);
    }
  };

  /** Whether the line is done with for now: not when it has to wait for a leader. */
  const goesOn = (line: Line, partitions: number): boolean => {
    const leader = cluster.leader(line.topic, line.partition);
    line.state = "idle";
    if (line.isEmpty) line.missingSince = undefined;
    else if (leader !== undefined) toLeader(line, leader);
    else {
      const exists = line.partition < partitions;
      const code = exists ? errorCodes.LEADER_NOT_AVAILABLE : errorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      const error = kafkaError(code, `topic ${JSON.stringify(line.topic)}`);
      line.lastError = error;
      if (exists || !line.isMissingFor(missingGraceMs, clock.monotonic())) return false;
      refuse(line, error);
    }
    return true;
  };

  const failed = (lines: readonly Line[], error: unknown): void => {
    // Wrong credentials are found out by whoever connects: until that is put right there is no connection.
    const isFinal = isPosthornError(error, "ACCESS_REFUSED");
    for (const line of lines) {
      line.state = "idle";
      line.lastError = error;
      if (isFinal) refuse(line, error);
    }
    if (!isFinal) void again(lines);
  };

  return {
    wake(line) {
      if (line.state !== "idle" || line.isEmpty) return;
      line.state = "queued";
      // What is sent in the same breath goes into the same request.
      if (unrouted.size === 0) queueMicrotask(route);
      unrouted.add(line);
    },
    again: (lines) => void again(lines),
    failed,
  };
}

/** Whether it came about. What rejects only at the end of everything needs no answer: every record has its receipt by then. */
async function untilClosed(wait: Promise<void>): Promise<boolean> {
  try {
    await wait;
    return true;
  } catch {
    return false;
  }
}
