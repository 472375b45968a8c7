/**
 * Appends records to partitions: in order, once where that can be known, and with an honest answer where it cannot.
 *
 * **Batches.** One produce request is under way with each broker; what is sent meanwhile waits, and goes together in the next:
 * at once when idle, in full batches under load, without a timer. What waits is bounded by the callers, and by core in the end.
 *
 * **Sending again.** Every batch carries a producer id, an epoch, and a sequence number. The leader appends a batch only when
 * its number follows on the last one's of the partition. The last few it knows again, by id, epoch, first and last number, and answers
 * as if it had just appended them. From that follows:
 *
 * 1. A batch is **in doubt** when a request with it was not answered, or with a code that can also come after the append: a
 *    leader that was deposed while it waited for its replicas says NOT_LEADER_OR_FOLLOWER. Then it is sent again only as it was, also with
 *    records that nobody waits for any more: so it lands once at most.
 * 2. Only success ends the doubt. A refusal of the repeat does not: NOT_ENOUGH_REPLICAS is said before the leader looks for
 *    what it knows, and the first request may still lie in some buffer, to be carried out later.
 * 3. A batch that is not in doubt and was refused is not there. Its numbers are free; its records go back to the front, and are
 *    batched anew. Who gives up then has certainly not sent anything.
 * 4. A batch in doubt that nobody waits for any more, or whose repeat is refused for good, may have used its numbers or not. What came
 *    next under them would be taken for its repeat: dropped, and yet confirmed. So the epoch of the partition is raised, and
 *    numbers begin at 0. Without transactions epochs need no answer of the broker, and each partition has its own (KIP-360 does it
 *    so, too). As soon as the leader has seen the new epoch it refuses what still comes of the old one: nothing that was
 *    given up can land behind what followed it.
 * 5. Where the leader says that our numbers or our id are wrong, it has lost what it knew of us, or records with it. Not in doubt: the
 *    batch is not there, and begins again under a new id. In doubt: nobody knows.
 */
import type { Receipt, TransportEnvironment } from "@posthorn/core/transport";
import { abortedError, accepted, failed, isPosthornError, messageOf, PosthornError } from "@posthorn/core/transport";
import type { PartitionAnswer } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { closedError, errorClass, errorCodes, kafkaError, mayHaveAppended, notSent, unknownOutcome } from "./errors.ts";
import type { Settings } from "./options.ts";
import type { Append, Batch } from "./partition-line.ts";
import { PartitionLine } from "./partition-line.ts";
import type { ProduceConnections } from "./produce-requests.ts";
import { createProduceRequests, produceLane } from "./produce-requests.ts";
import type { OutgoingRecord } from "./records.ts";
import { recordBytes } from "./records.ts";
import { createRouting } from "./routing.ts";

export interface ProducerOptions {
  readonly cluster: ProduceConnections & Pick<Cluster, "closeLane" | "leader" | "ready" | "topics">;
  readonly settings: Pick<Settings, "compression" | "maxMessageBytes" | "requestTimeoutMs">;
  readonly environment: TransportEnvironment;
  /** Some partition takes nothing because too few of its replicas are in sync; or, with `undefined`, none is known any more. */
  readonly onBlocked: (reason: string | undefined) => void;
}

/** A record and where it goes. The partition must exist. */
export interface PartitionAppend {
  readonly topic: string;
  readonly partition: number;
  readonly record: OutgoingRecord;
  /** The record's `recordBytes`, where they are known. */
  readonly bytes?: number;
}

export interface Producer {
  /**
   * Appends. What goes to one partition keeps its order, also against other calls. Tries again until the signal fires where
   * that can help. Never rejects. A failed receipt carries
   * - CONNECTION_LOST: certainly not there, as the signal fired too early, or the producer is closed;
   * - UNKNOWN_OUTCOME: it may be there, or yet come;
   * - UNROUTABLE: no such topic, which is said within five seconds while there is a connection;
   * - ACCESS_REFUSED, MESSAGE_TOO_LARGE, TRANSPORT_FAILED: the broker refused it for good.
   *
   * @returns one receipt for each, in order
   */
  send(appends: readonly PartitionAppend[], signal: AbortSignal): Promise<readonly Receipt[]>;
  /** At once: everything gets its receipt, and nothing is sent any more. */
  close(): void;
}

interface Call {
  /** How many records have no receipt. */
  open: number;
  readonly done: () => void;
}

interface Pending extends Append {
  readonly call: Call;
  readonly line: Line;
}

type Line = PartitionLine<Pending>;

/** So long a leader may not know a topic that the metadata shows. */
const unknownGraceMs = 3_000;
/** What is wrong with one record of a batch, not with all. */
const contentErrors: ReadonlySet<number> = new Set([
  errorCodes.MESSAGE_TOO_LARGE,
  errorCodes.RECORD_LIST_TOO_LARGE,
  errorCodes.CORRUPT_MESSAGE,
  errorCodes.INVALID_TIMESTAMP,
  errorCodes.INVALID_RECORD,
]);
const replicaErrors: ReadonlySet<number> = new Set([
  errorCodes.NOT_ENOUGH_REPLICAS,
  errorCodes.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
]);

export function createProducer({ cluster, settings, environment, onBlocked }: ProducerOptions): Producer {
  const closing = new AbortController();
  const lines = new Map<string, Line[]>();
  /** Lines of partitions that lack replicas. */
  const blocked = new Set<Line>();

  const lineOf = (topic: string, partition: number): Line => {
    let ofTopic = lines.get(topic);
    if (ofTopic === undefined) lines.set(topic, (ofTopic = []));
    return (ofTopic[partition] ??= new PartitionLine(topic, partition, settings.maxMessageBytes));
  };

  const settle = (append: Pending, receipt: Receipt): void => {
    if (append.receipt !== undefined) return;
    append.receipt = receipt;
    if (--append.call.open === 0) append.call.done();
  };

  /** Ends what nobody waits for any longer. Its records may stay in a batch that goes on for the sake of others. */
  const giveUp = (appends: readonly Pending[], reason: Error): void => {
    const touched = new Set<Line>();
    for (const append of appends) {
      if (append.receipt !== undefined) continue;
      touched.add(append.line);
      settle(
        append,
        failed(append.sent ? unknownOutcome(append.line.lastError ?? reason) : notTaken(append.line, reason)),
      );
    }
    for (const line of touched) line.prune();
  };

  /** Refuses what waits in a line for good. What is in doubt stays so. */
  const refuse = (line: Line, error: PosthornError, which: readonly Pending[] = line.pending()): void => {
    const [refused, unknown] = [failed(error), failed(unknownOutcome(error))];
    for (const append of which) settle(append, append.sent ? unknown : refused);
    line.prune();
    line.missingSince = undefined;
    unblock(line);
  };

  const block = (line: Line, reason: string): void => {
    const first = blocked.size === 0;
    blocked.add(line);
    if (first) onBlocked(reason);
  };

  /** A line that is blocked but has nothing to send is not known to be blocked for long. */
  const unblock = (line: Line): void => {
    if (blocked.size === 0) return;
    blocked.delete(line);
    for (const other of blocked) if (other.isEmpty) blocked.delete(other);
    if (blocked.size === 0) onBlocked(undefined);
  };

  const onAnswer = (batches: readonly Batch<Pending>[], answers: readonly PartitionAnswer[]): void => {
    const codes = new Map(answers.map(({ topic, partition, error }) => [`${topic} ${partition}`, error]));
    const failing: Line[] = [];
    for (const batch of batches) {
      const { line } = batch;
      line.state = "idle";
      const code = codes.get(`${line.topic} ${line.partition}`) ?? errorCodes.UNKNOWN_SERVER_ERROR;
      if (errorClass(code) === "done") onLanded(batch);
      else if (mustWait(batch, code)) failing.push(line);
      else routing.wake(line);
    }
    if (failing.length > 0) routing.again(failing);
  };

  const onLanded = ({ line, appends }: Batch<Pending>): void => {
    line.landed();
    for (const append of appends) settle(append, accepted);
    unblock(line);
    routing.wake(line);
  };

  /** Does what follows from a refusal. Whether the line is to go on only after a while. */
  const mustWait = (batch: Batch<Pending>, code: number): boolean => {
    const { line, appends } = batch;
    const kind = errorClass(code);
    const error = kafkaError(code, `topic ${JSON.stringify(line.topic)}`);
    line.lastError = error;
    if (mayHaveAppended(code)) batch.inDoubt = true;
    if (!batch.inDoubt) line.takeBack();
    if (replicaErrors.has(code)) block(line, error.message);
    if (kind !== "unroutable") line.missingSince = undefined;
    if (mayHaveAppended(code) || kind === "retriable" || kind === "busy") return true;
    if (kind === "unroutable") {
      if (!line.isMissingFor(unknownGraceMs, environment.clock.monotonic())) return true;
      refuse(line, error);
    } else if (kind === "fenced") {
      if (batch.inDoubt) refuse(line, error, appends);
      requests.renewProducerId(line);
      return true;
    } else if (contentErrors.has(code) && appends.length > 1 && !batch.inDoubt) line.narrow(batch);
    else refuse(line, error, appends);
    return false;
  };

  const onNoAnswer = (batches: readonly Batch<Pending>[], error: unknown, sent: boolean): void => {
    for (const batch of batches) {
      if (sent) batch.inDoubt = true;
      else if (!batch.inDoubt) batch.line.takeBack();
    }
    routing.failed(
      batches.map(({ line }) => line),
      error,
    );
  };

  const requests = createProduceRequests<Pending>({
    clock: environment.clock,
    cluster,
    settings,
    closing: closing.signal,
    onMoved: (line) => routing.wake(line),
    onAnswer,
    onUnsent: (unsent, error) => routing.failed(unsent, error),
    onNoAnswer,
  });

  const routing = createRouting<Line>({
    cluster,
    environment,
    closing: closing.signal,
    toLeader: (line, leader) => requests.enqueue(line, leader),
    refuse,
  });

  return {
    send(appends, signal) {
      if (appends.length === 0) return Promise.resolve([]);
      const unsent = closing.signal.aborted ? closedError() : signal.aborted ? abortedError(signal) : undefined;
      if (unsent !== undefined) return Promise.resolve(appends.map(() => failed(notSent(unsent))));
      return new Promise((resolve) => {
        const pending: Pending[] = [];
        const onAbort = (): void => giveUp(pending, abortedError(signal));
        const call: Call = {
          open: appends.length,
          done() {
            signal.removeEventListener("abort", onAbort);
            resolve(pending.map(({ receipt }) => receipt ?? accepted));
          },
        };
        signal.addEventListener("abort", onAbort, { once: true });
        for (const { topic, partition, record, bytes = recordBytes(record) } of appends) {
          const line = lineOf(topic, partition);
          const append = { record, bytes, receipt: undefined, sent: false, call, line };
          pending.push(append);
          line.push(append);
          routing.wake(line);
        }
      });
    },

    close() {
      if (closing.signal.aborted) return;
      const reason = closedError();
      closing.abort(reason);
      for (const ofTopic of lines.values())
        for (const line of ofTopic) if (line !== undefined) giveUp(line.pending(), reason);
      cluster.closeLane(produceLane);
    },
  };
}

/** What a record fails with that is certainly not on the broker. */
function notTaken({ lastError }: Line, reason: Error): PosthornError {
  if (!isPosthornError(lastError)) return notSent(lastError ?? reason);
  return new PosthornError("CONNECTION_LOST", `The message was not sent: ${messageOf(lastError)}`, {
    cause: lastError,
  });
}
