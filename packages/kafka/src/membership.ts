/**
 * A place in a consumer group: joining, staying and leaving.
 *
 * The place outlives a lost connection. It is lost when the group says so, or when nothing was heard of the group for the session's
 * length: from then on others may have what was held here.
 */
import type { Timer, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, messageOf, sleep } from "@posthorn/core/transport";
import type { Claimant, Slot, SlotCounts } from "./assignment.ts";
import { assignSlots, decodeClaim, encodeClaim } from "./assignment.ts";
import type { BrokerConnection, CommittedOffset, GroupSession, OffsetCommit, TopicPartition } from "./client.ts";
import { ConnectionFailure, placeOf } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorCodes, isPassing, kafkaError } from "./errors.ts";
import { decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from "./group-protocol.ts";

/** The group's assignor, ours alone. */
const protocol = "posthorn";

export interface MembershipOptions {
  readonly cluster: Cluster;
  readonly environment: TransportEnvironment;
  readonly group: string;
  /** The line of work of this member's requests. */
  readonly lane: string;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly rebalanceTimeoutMs: number;
  /** What the group reads, as Kafka's own tools shall show it. */
  readonly topics: readonly string[];
  /** Asked of the leader. */
  readonly counts: (signal: AbortSignal) => Promise<SlotCounts>;
  /** A slot's partitions, for Kafka's own tools. */
  readonly partitionsOf: (slot: Slot) => readonly TopicPartition[];
  /** What it holds at present. */
  readonly held: () => readonly Slot[];
  readonly leaving: () => boolean;
  /** What it has from now on. What it holds beyond that it must give up, and then `rejoin`. */
  readonly onAssigned: (slots: readonly Slot[]) => void;
  /** All that it held may be with others now. It joins again by itself. */
  readonly onLost: (error: Error) => void;
  /** It cannot join for now. It goes on trying. */
  readonly onFailed: (error: unknown) => void;
}

/**
 * Of one partition. `lost`: the place is gone, and what was to be committed is void. `later`: to be tried again. An error: it is refused
 * until somebody has done something about it.
 */
export type CommitOutcome = "done" | "later" | "lost" | Error;

export interface Membership {
  /** It has a place and has heard of the group lately. */
  readonly joined: boolean;
  /** Resolves when it has joined for the first time. */
  start(signal: AbortSignal): Promise<void>;
  /** Asks the group to share out again, as it holds less now or is about to leave. */
  rejoin(): void;
  /** @returns an outcome for each, in order */
  commit(offsets: readonly OffsetCommit[]): Promise<readonly CommitOutcome[]>;
  committed(partitions: readonly TopicPartition[], signal: AbortSignal): Promise<readonly CommittedOffset[]>;
  /** Gives the place back, so that others need not wait for its end. */
  leave(signal: AbortSignal): Promise<void>;
  /** At once, without a word to the group. */
  end(): void;
}

const joinBackoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.5 } as const;

const moved: ReadonlySet<number> = new Set([
  errorCodes.NOT_COORDINATOR,
  errorCodes.COORDINATOR_NOT_AVAILABLE,
  errorCodes.COORDINATOR_LOAD_IN_PROGRESS,
]);
const evicted: ReadonlySet<number> = new Set([
  errorCodes.UNKNOWN_MEMBER_ID,
  errorCodes.ILLEGAL_GENERATION,
  errorCodes.FENCED_INSTANCE_ID,
]);

export function createMembership(options: MembershipOptions): Membership {
  const { cluster, group, lane, environment } = options;
  const { clock } = environment;
  const ending = new AbortController();
  /** Ends the wait for the next heartbeat. */
  let interrupt = new AbortController();
  let memberId = "";
  let generation = -1;
  /** Of what is held; younger claims win. */
  let heldSince = -1;
  let joined = false;
  let wantsRejoin = false;
  /** The group may have moved on to a generation whose number is still on its way to us. */
  let joining = false;
  /** When the last request was sent that the group answered. */
  let heardAt = clock.monotonic();
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => undefined);

  const quoted = `group ${JSON.stringify(group)}`;
  const session = (): GroupSession => ({ group, generation, memberId });
  const coordinator = (signal = ending.signal): Promise<BrokerConnection> => cluster.coordinator(group, lane, signal);
  /** The broker keeps a joining back until all have joined, and with it what comes after it on the same connection. */
  const joinLane = `${lane}-join`;

  function lose(error: Error): void {
    const had = joined || options.held().length > 0;
    joined = false;
    memberId = "";
    generation = -1;
    heldSince = -1;
    if (had) options.onLost(error);
  }

  /** Others may have its partitions by now. */
  function loseWhenSilent(): void {
    const silentMs = clock.monotonic() - heardAt;
    if (memberId !== "" && silentMs >= options.sessionTimeoutMs)
      lose(
        new Error(
          `Nothing was heard of the group for ${Math.round(silentMs)} ms, the session lasts ${options.sessionTimeoutMs} ms.`,
        ),
      );
  }

  /** What an error code of the group means for the place. Resolves when it is worth trying again. */
  function onError(code: number, what: string): void {
    if (moved.has(code)) cluster.forgetCoordinator(group);
    else if (evicted.has(code)) lose(kafkaError(code, what));
  }

  async function join(): Promise<"joined" | "again"> {
    const connection = await cluster.coordinator(group, joinLane, ending.signal);
    const held = options.held();
    const claim = { held, generation: held.length === 0 ? -1 : heldSince, leaving: options.leaving() };
    const metadata = encodeSubscription(options.topics, encodeClaim(claim));
    const { sessionTimeoutMs, rebalanceTimeoutMs } = options;
    wantsRejoin = false;
    const sentAt = clock.monotonic();
    const answer = await connection.joinGroup({
      group,
      memberId,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocol,
      metadata,
    });
    if (answer.error === errorCodes.MEMBER_ID_REQUIRED) {
      memberId = answer.memberId;
      heardAt = clock.monotonic();
      return "again";
    }
    if (answer.error !== 0) return failed(answer.error, "joining");
    ({ memberId, generation } = answer);
    heardAt = clock.monotonic();
    let assignments: readonly { memberId: string; assignment: Uint8Array }[] = [];
    if (answer.leader === memberId) {
      const members = answer.members.map(({ id, metadata: bytes }): Claimant => ({
        id,
        claim: decodeClaim(decodeSubscription(bytes)),
      }));
      const shares = assignSlots(members, await options.counts(ending.signal));
      assignments = Array.from(shares, ([id, slots]) => ({
        memberId: id,
        assignment: encodeAssignment(
          slots.flatMap((slot) => options.partitionsOf(slot)),
          encodeClaim({ held: slots, generation: -1, leaving: false }),
        ),
      }));
    }
    const synced = await connection.syncGroup(session(), assignments);
    if (synced.error !== 0) return failed(synced.error, "sharing out");
    // A join that took longer than a session, with a stop of this process in between: the place may be gone meanwhile.
    heardAt = Math.max(heardAt, sentAt);
    joined = true;
    heldSince = generation;
    options.onAssigned(decodeClaim(decodeAssignment(synced.assignment).userData).held);
    first.resolve();
    return "joined";
  }

  function failed(code: number, what: string): "again" {
    onError(code, `${what} the ${quoted}`);
    if (!moved.has(code) && !evicted.has(code) && code !== errorCodes.REBALANCE_IN_PROGRESS)
      throw kafkaError(code, quoted);
    return "again";
  }

  /** Stays until the group shares out anew, the place is lost, or it is to rejoin. */
  async function stay(): Promise<void> {
    while (!ending.signal.aborted && joined && !wantsRejoin) {
      interrupt = new AbortController();
      await sleep(clock, options.heartbeatIntervalMs, interrupt.signal).catch(() => undefined);
      if (ending.signal.aborted || wantsRejoin) return;
      const sentAt = clock.monotonic();
      try {
        const code = await (await coordinator()).heartbeat(session());
        if (code === 0) heardAt = sentAt;
        else if (code === errorCodes.REBALANCE_IN_PROGRESS) {
          heardAt = sentAt;
          return;
        } else onError(code, quoted);
      } catch (error) {
        if (ending.signal.aborted) return;
        if (!(error instanceof ConnectionFailure)) throw error;
        await whenConnected();
      }
      loseWhenSilent();
    }
  }

  /** Also while there is no connection the place is lost after a session's length. */
  async function whenConnected(): Promise<void> {
    cluster.forgetCoordinator(group);
    let timer: Timer | undefined;
    const watch = (): void => {
      loseWhenSilent();
      if (memberId === "") return;
      const leftMs = options.sessionTimeoutMs - (clock.monotonic() - heardAt);
      timer = clock.setTimeout(watch, Math.max(1, leftMs));
    };
    watch();
    try {
      await cluster.ready(ending.signal);
    } catch (error) {
      if (!ending.signal.aborted) throw error;
    } finally {
      timer?.cancel();
    }
  }

  async function keep(): Promise<void> {
    let failures = 0;
    while (!ending.signal.aborted) {
      try {
        joining = true;
        const outcome = await join().finally(() => (joining = false));
        if (outcome === "joined") {
          failures = 0;
          await stay();
        } else {
          await pause(Math.min(++failures, 3));
        }
      } catch (error) {
        if (ending.signal.aborted) return;
        if (cluster.closed) {
          first.reject(error);
          return;
        }
        if (error instanceof ConnectionFailure) await whenConnected();
        else options.onFailed(error);
        loseWhenSilent();
        await pause(++failures);
      }
    }
  }

  const pause = (failure: number): Promise<void> =>
    sleep(clock, backoffDelay(joinBackoff, failure, environment.random()), ending.signal).catch(() => undefined);

  return {
    get joined() {
      return joined;
    },

    async start(signal) {
      void keep();
      await abortable(first.promise, signal);
    },

    rejoin() {
      wantsRejoin = true;
      interrupt.abort();
    },

    async commit(offsets) {
      const all = (outcome: CommitOutcome): CommitOutcome[] => offsets.map(() => outcome);
      if (offsets.length === 0) return [];
      if (memberId === "" || generation === -1) return all("lost");
      const asked = session();
      const sentAt = clock.monotonic();
      try {
        const answers = await (await coordinator()).commitOffsets(asked, offsets);
        const eviction = answers.find(({ error }) => evicted.has(error));
        if (eviction !== undefined) {
          // The group has moved on to its next generation, and this member with it; whether it has is for the joining to say.
          if (joining || asked.generation !== generation || asked.memberId !== memberId) return all("later");
          lose(kafkaError(eviction.error, quoted));
          interrupt.abort();
          return all("lost");
        }
        // As good as a heartbeat.
        if (answers.some(({ error }) => error === 0) && asked.memberId === memberId)
          heardAt = Math.max(heardAt, sentAt);
        if (answers.some(({ error }) => moved.has(error))) cluster.forgetCoordinator(group);
        const codes = new Map(answers.map((answer) => [placeOf(answer), answer.error]));
        return offsets.map((offset) => outcomeOf(offset, codes.get(placeOf(offset))));
      } catch (error) {
        if (ending.signal.aborted) return all("lost");
        if (error instanceof ConnectionFailure) return all("later");
        return all(error instanceof Error ? error : new Error(messageOf(error)));
      }
    },

    async committed(partitions, signal) {
      for (let attempt = 1; ; attempt++) {
        try {
          const connection = await abortable(coordinator(signal), signal);
          const answers = await abortable(connection.committedOffsets(group, partitions), signal);
          const code = answers.find(({ error }) => error !== 0)?.error ?? 0;
          if (code === 0) return answers;
          if (moved.has(code)) cluster.forgetCoordinator(group);
          else if (code !== errorCodes.UNSTABLE_OFFSET_COMMIT) throw kafkaError(code, quoted);
        } catch (error) {
          if (!(error instanceof ConnectionFailure)) throw error;
          await cluster.ready(signal);
        }
        await sleep(clock, backoffDelay(joinBackoff, attempt, environment.random()), signal);
      }
    },

    async leave(signal) {
      if (memberId === "" || ending.signal.aborted) return;
      const left = session();
      joined = false;
      for (let attempt = 1; !signal.aborted; attempt++) {
        try {
          const connection = await abortable(coordinator(signal), signal);
          await abortable(connection.leaveGroup(left), signal);
          return;
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof ConnectionFailure)) throw error;
          // The session's end does the same, later.
          if (!cluster.connected) return;
          cluster.forgetCoordinator(group);
        }
        await sleep(clock, backoffDelay(joinBackoff, attempt, environment.random()), signal).catch(() => undefined);
      }
    },

    end() {
      if (ending.signal.aborted) return;
      ending.abort();
      interrupt.abort();
      joined = false;
      first.reject(new Error("The consumption has ended."));
      cluster.closeLane(lane);
      cluster.closeLane(joinLane);
    },
  };
}

/** @param code `undefined` when nothing was answered for it */
function outcomeOf({ topic }: TopicPartition, code: number | undefined): CommitOutcome {
  if (code === 0) return "done";
  if (code === undefined || code === errorCodes.REBALANCE_IN_PROGRESS) return "later";
  // A topic that was deleted is missed, and made again, by who reads it.
  if (isPassing(code)) return "later";
  return kafkaError(code, `the offsets of topic ${JSON.stringify(topic)}`);
}
