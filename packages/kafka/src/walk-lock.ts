/**
 * One exclusive walk through dead letters at a time, whichever process it is in: whoever wants one joins a consumer group that is
 * called after the dead letters' topic, and the member that Kafka makes its leader may walk. A leader stays one until it leaves, or was
 * not heard of for a session; then it is another's turn.
 */
import type { Timer, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { connectionLost, errorClass, errorCodes, kafkaError } from "./errors.ts";
import { encodeAssignment, encodeSubscription } from "./group-protocol.ts";
import type { Settings } from "./options.ts";

export interface WalkLockOptions {
  readonly cluster: Cluster;
  readonly settings: Pick<Settings, "heartbeatIntervalMs" | "sessionTimeoutMs">;
  readonly environment: TransportEnvironment;
}

const protocol = "posthorn-walk";
/** How soon the next one hears that it is its turn. */
const longestHeartbeatMs = 500;
const backoff = { initialMs: 50, maxMs: 1_000 } as const;
let lastLane = 0;

/**
 * Waits for the lock, works, and gives it back.
 *
 * @param work its signal fires as the given one does, and when the lock is lost
 * @throws CONNECTION_LOST when the lock is lost; ACCESS_REFUSED; the signal's reason; what `work` throws
 */
export async function withWalkLock(
  options: WalkLockOptions,
  group: string,
  signal: AbortSignal,
  work: (held: AbortSignal) => Promise<void>,
): Promise<void> {
  const lost = new AbortController();
  const ended = new AbortController();
  const place = takePlace(options, group, AbortSignal.any([signal, ended.signal]));
  place.kept.catch((error: unknown) => lost.abort(error));
  try {
    await Promise.race([place.first, place.kept]);
    await work(AbortSignal.any([signal, lost.signal]));
  } finally {
    ended.abort();
    const left = place.leave();
    // Whoever gives up, or has no connection, waits for nothing.
    if (!signal.aborted) await left;
  }
}

interface Place {
  /** Resolves when it is this one's turn. */
  readonly first: Promise<void>;
  /** Rejects when the place is lost, and when the signal fires. */
  readonly kept: Promise<never>;
  leave(): Promise<void>;
}

/** @param given ends it, which does not mean leaving */
function takePlace({ cluster, settings, environment }: WalkLockOptions, group: string, given: AbortSignal): Place {
  const { clock } = environment;
  const { sessionTimeoutMs } = settings;
  const heartbeatMs = Math.min(settings.heartbeatIntervalMs, longestHeartbeatMs);
  const what = `group ${JSON.stringify(group)}`;
  // To join is to wait for the others, and whatever is asked on the same connection waits behind it.
  const lane = `walk-lock-${++lastLane}`;
  const first = Promise.withResolvers<void>();
  let isFirst = false;
  let memberId = "";
  let generation = -1;
  /** When the last request was sent that the group answered. */
  let heardAt = clock.monotonic();
  const silence = new AbortController();
  let silenceTimer: Timer | undefined;
  const end = AbortSignal.any([given, silence.signal]);

  /** @returns whether it has a place now */
  async function join(): Promise<boolean> {
    const connection = await cluster.coordinator(group, lane, end);
    const metadata = encodeSubscription([], "");
    const sentAt = clock.monotonic();
    const request = { group, memberId, sessionTimeoutMs, rebalanceTimeoutMs: sessionTimeoutMs, protocol, metadata };
    const joined = await abortable(connection.joinGroup(request), end);
    if (joined.error !== 0 && joined.error !== errorCodes.MEMBER_ID_REQUIRED) return refused(joined.error);
    ({ memberId, generation } = joined);
    if (joined.error !== 0) return join();
    const leads = joined.leader === memberId;
    if (isFirst && !leads) throw connectionLost(what);
    const nothing = encodeAssignment([], "");
    const shares = leads ? joined.members.map(({ id }) => ({ memberId: id, assignment: nothing })) : [];
    const { error } = await abortable(connection.syncGroup({ group, generation, memberId }, shares), end);
    if (error !== 0) return refused(error);
    heard(sentAt);
    isFirst = leads;
    if (leads) first.resolve();
    return true;
  }

  /** Until somebody joins or leaves. */
  async function stay(): Promise<void> {
    for (let code = 0; code === 0;) {
      await sleep(clock, heartbeatMs, end);
      code = (await beat().catch(unanswered)) || 0;
      if (code !== 0) refused(code);
    }
  }

  async function beat(): Promise<number> {
    const connection = await cluster.coordinator(group, lane, end);
    const sentAt = clock.monotonic();
    const code = await abortable(connection.heartbeat({ group, generation, memberId }), end);
    if (code === 0) heard(sentAt);
    return code;
  }

  function heard(at: number): void {
    heardAt = at;
    silenceTimer?.cancel();
    silenceTimer = undefined;
  }

  /** The group keeps its place for a session, whichever broker keeps the group by then. */
  async function unanswered(error: unknown): Promise<false> {
    if (silence.signal.aborted) throw silence.signal.reason;
    if (!(error instanceof ConnectionFailure)) throw error;
    lookElsewhere(error);
    await cluster.ready(end);
    return false;
  }

  function lookElsewhere(reason: Error): void {
    cluster.forgetCoordinator(group);
    const leftMs = sessionTimeoutMs - (clock.monotonic() - heardAt);
    if (isFirst) silenceTimer ??= clock.setTimeout(() => silence.abort(connectionLost(what, reason)), leftMs);
  }

  /** @throws when there is no place any more, or none to be had */
  function refused(code: number): false {
    if (code === errorCodes.REBALANCE_IN_PROGRESS) return false;
    if (errorClass(code) === "retriable") lookElsewhere(kafkaError(code, what));
    else if (errorClass(code) !== "fenced") throw kafkaError(code, what);
    else if (isFirst) throw connectionLost(what, kafkaError(code, what));
    else memberId = "";
    return false;
  }

  async function keep(): Promise<never> {
    for (let failures = 0; ;) {
      if (await join().catch(unanswered)) {
        failures = 0;
        await stay();
      } else {
        await sleep(clock, backoffDelay(backoff, ++failures, environment.random()), end);
      }
    }
  }

  /** Also when the connection was lost: otherwise others would wait for the session's end. */
  async function sayGoodbye(late: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await cluster.ready(late);
        const connection = await cluster.coordinator(group, "admin", late);
        await abortable(connection.leaveGroup({ group, generation, memberId }), late);
        return;
      } catch (error) {
        if (!(error instanceof ConnectionFailure)) throw error;
        await sleep(clock, backoffDelay(backoff, attempt, environment.random()), late);
      }
    }
  }

  return {
    first: first.promise,
    kept: keep(),
    async leave() {
      const late = new AbortController();
      const timer = clock.setTimeout(() => late.abort(), sessionTimeoutMs, { unref: true });
      try {
        if (memberId !== "") await sayGoodbye(late.signal);
      } catch {
        // It was too late, or the transport is closed: the session's end does the same.
      } finally {
        timer.cancel();
        silenceTimer?.cancel();
        cluster.closeLane(lane);
      }
    },
  };
}
