/** Sends what lines have to send: one request at a time with each broker, and in it one batch of each line that waits. */
import type { Clock } from "@posthorn/core/transport";
import { ConnectionFailure } from "./client.ts";
import type { BrokerConnection, PartitionAnswer } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, kafkaError, ProtocolError } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { Append, Batch, PartitionLine } from "./partition-line.ts";

export interface ProduceConnections {
  readonly node: (id: number, lane: string, signal: AbortSignal) => Promise<Pick<BrokerConnection, "produce">>;
  readonly any: (lane: string, signal: AbortSignal) => Promise<Pick<BrokerConnection, "initProducerId">>;
}

export interface ProduceRequestsOptions<A extends Append> {
  readonly cluster: ProduceConnections & Pick<Cluster, "leader">;
  readonly settings: Pick<Settings, "compression" | "requestTimeoutMs">;
  readonly clock: Clock;
  /** Ends everything. */
  readonly closing: AbortSignal;
  /** The line's partition is not led by that broker any more. */
  readonly onMoved: (line: PartitionLine<A>) => void;
  readonly onAnswer: (batches: readonly Batch<A>[], answers: readonly PartitionAnswer[]) => void;
  /** Of these lines nothing was sent: there was no connection, or no producer id. */
  readonly onUnsent: (lines: readonly PartitionLine<A>[], error: unknown) => void;
  /** There is no answer. @param sent whether the broker may have got them all the same */
  readonly onNoAnswer: (batches: readonly Batch<A>[], error: unknown, sent: boolean) => void;
}

export interface ProduceRequests<A extends Append> {
  /** Puts a line with something to send into its leader's queue. */
  enqueue(line: PartitionLine<A>, leader: number): void;
  /** The line's producer id is no good any more. */
  renewProducerId(line: PartitionLine<A>): void;
}

/** What waits for one broker. */
interface Node<A extends Append> {
  readonly id: number;
  readonly queue: Set<PartitionLine<A>>;
  working: boolean;
}

/** The line of work in the cluster. */
export const produceLane = "produce";
/** About the most that goes into one request. */
const maxRequestBytes = 4 * 1_048_576;

export function createProduceRequests<A extends Append>(options: ProduceRequestsOptions<A>): ProduceRequests<A> {
  const { cluster, settings, clock, closing } = options;
  const nodes = new Map<number, Node<A>>();
  let producerId: bigint | undefined;
  let learning: Promise<void> | undefined;

  const work = async (node: Node<A>): Promise<void> => {
    node.working = true;
    while (node.queue.size > 0 && !closing.aborted) await produce(node);
    node.working = false;
  };

  const produce = async (node: Node<A>): Promise<void> => {
    let batches: readonly Batch<A>[] = [];
    let answers: readonly PartitionAnswer[];
    try {
      const connection = await cluster.node(node.id, produceLane, closing);
      await learnProducerId();
      // As late as can be: what comes until now goes along, and who gives up until now has not sent anything.
      batches = take(node);
      if (batches.length === 0) return;
      const { compression, requestTimeoutMs: timeoutMs } = settings;
      answers = await connection.produce({ batches, compression, timeoutMs, timestamp: clock.now() });
    } catch (error) {
      if (!closing.aborted) fail(node, batches, error);
      return;
    }
    if (!closing.aborted) options.onAnswer(batches, answers);
  };

  const fail = (node: Node<A>, batches: readonly Batch<A>[], error: unknown): void => {
    if (batches.length > 0) {
      options.onNoAnswer(batches, error, !(error instanceof ConnectionFailure) || error.sent);
      return;
    }
    const lines = [...node.queue];
    node.queue.clear();
    options.onUnsent(lines, error);
  };

  const take = (node: Node<A>): Batch<A>[] => {
    const batches: Batch<A>[] = [];
    let bytes = 0;
    for (const line of node.queue) {
      if (line.isDeserted && !line.raiseEpoch()) renewProducerId(line);
      if (producerId === undefined || bytes >= maxRequestBytes) break;
      node.queue.delete(line);
      line.state = "idle";
      if (cluster.leader(line.topic, line.partition) !== node.id) {
        options.onMoved(line);
        continue;
      }
      const batch = line.next(producerId);
      if (batch === undefined) continue;
      line.state = "flying";
      batches.push(batch);
      bytes += batch.recordsBytes;
    }
    return batches;
  };

  const renewProducerId = (line: PartitionLine<A>): void => {
    // Another line may have found out before.
    if (line.producerId === producerId) producerId = undefined;
    line.forgetProducerId();
  };

  const learnProducerId = async (): Promise<void> => {
    while (producerId === undefined) await (learning ??= askProducerId().finally(() => (learning = undefined)));
  };

  const askProducerId = async (): Promise<void> => {
    const connection = await cluster.any(produceLane, closing);
    const answer = await connection.initProducerId();
    if (errorClass(answer.error) === "access") throw kafkaError(answer.error, "an idempotent producer");
    if (answer.error !== 0) throw new ProtocolError(answer.error, "a producer id");
    ({ producerId } = answer);
  };

  return {
    enqueue(line, leader) {
      let node = nodes.get(leader);
      if (node === undefined) nodes.set(leader, (node = { id: leader, queue: new Set(), working: false }));
      line.state = "queued";
      node.queue.add(line);
      if (!node.working) void work(node);
    },
    renewProducerId,
  };
}
