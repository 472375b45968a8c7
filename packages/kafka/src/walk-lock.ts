/**
 * One exclusive walk through dead letters at a time, whichever process it is in: whoever wants one joins a consumer group that is
 * called after the dead letters' topic, and the member that Kafka makes its leader may walk. It stays leader until it leaves or has not
 * been heard of for a session; then the one that has waited longest is next.
 */
import type { TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type { BrokerConnection } from "./client.ts";
import { encodeAssignment, encodeSubscription } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, errorCodes, kafkaError } from "./errors.ts";
import type { Settings } from "./options.ts";

export interface WalkLockOptions {
  readonly cluster: Cluster;
  readonly settings: Pick<Settings, "heartbeatIntervalMs" | "sessionTimeoutMs">;
  readonly environment: TransportEnvironment;
}

const protocol = "posthorn-walk";
/** How soon the next one hears that it may. */
const longestHeartbeatMs = 500;
const backoff = { initialMs: 50, maxMs: 1_000 } as const;
let nextLane = 0;

/**
 * Waits for the lock, works, and gives it back.
 *
 * @param work its signal fires as well when the lock is lost
 * @throws REJECTED when the lock is lost; ConnectionFailure; what `work` throws
 */
export async function withWalkLock(
  { cluster, settings, environment }: WalkLockOptions,
  group: string,
  signal: AbortSignal,
  work: (held: AbortSignal) => Promise<void>,
): Promise<void> {
  const { clock } = environment;
  const heartbeatMs = Math.min(settings.heartbeatIntervalMs, longestHeartbeatMs);
  const { sessionTimeoutMs } = settings;
  const what = `group ${JSON.stringify(group)}`;
  // A join waits for the others; nothing else may wait behind it.
  const lane = `walk-lock-${nextLane++}`;
  const ended = new AbortController();
  const end = AbortSignal.any([signal, ended.signal]);
  const lost = new AbortController();
  const held = Promise.withResolvers<void>();
  let memberId = "";
  let generation = -1;

  const coordinator = (): Promise<BrokerConnection> => cluster.coordinator(group, lane, end);

  /** Whether it has a place, and is the leader if it says so by `held`. */
  async function join(): Promise<boolean> {
    const connection = await coordinator();
    const metadata = encodeSubscription([], "");
    const joined = await abortable(
      connection.joinGroup({ group, memberId, sessionTimeoutMs, rebalanceTimeoutMs: sessionTimeoutMs, protocol, metadata }),
      end,
    );
    if (joined.error === errorCodes.MEMBER_ID_REQUIRED) ({ memberId } = joined);
    if (joined.error !== 0) return refused(joined.error);
    ({ memberId, generation } = joined);
    const isLeader = joined.leader === memberId;
    const nothing = encodeAssignment([], "");
    const shares = isLeader ? joined.members.map(({ id }) => ({ memberId: id, assignment: nothing })) : [];
    const { error } = await abortable(connection.syncGroup({ group, generation, memberId }, shares), end);
    if (error !== 0) return refused(error);
    if (isLeader) held.resolve();
    return true;
  }

  function refused(code: number): false {
    if (errorClass(code) === "retriable") cluster.forgetCoordinator(group);
    else if (errorClass(code) !== "fenced") throw kafkaError(code, what);
    if (errorClass(code) === "fenced" && code !== errorCodes.REBALANCE_IN_PROGRESS) {
      memberId = "";
      lost.abort(kafkaError(code, what));
    }
    return false;
  }

  /** Until somebody joins or leaves. */
  async function stay(): Promise<void> {
    for (;;) {
      await sleep(clock, heartbeatMs, end);
      const connection = await coordinator();
      const code = await abortable(connection.heartbeat({ group, generation, memberId }), end);
      if (code === 0) continue;
      refused(code);
      return;
    }
  }

  async function keep(): Promise<void> {
    for (let failures = 0; ;) {
      if (await join()) {
        failures = 0;
        await stay();
      } else {
        await sleep(clock, backoffDelay(backoff, ++failures, environment.random()), end);
      }
    }
  }
}
