/**
 * The client's end of its connection to the broker, as the process would see it that holds it.
 *
 * While connected it keeps one timer: its heartbeat, which renews the leases of what is being handled and, as a socket
 * would, keeps the process alive.
 */
import { backoffDelay, messageOf, PosthornError, sleep } from "@posthorn/core/transport";
import type {
  Backoff,
  Clock,
  ConnectOptions,
  Settlement,
  Timer,
  TransportEvent,
  TransportHealth,
} from "@posthorn/core/transport";
import type { Broker } from "./broker/broker.ts";
import type { Answer, Posting, Session } from "./broker/session.ts";
import type { Lease, Visited, Walk } from "./broker/source.ts";
import { createChanges } from "./changes.ts";
import { aborted, closed } from "./errors.ts";
import { createAppliedTopology } from "./topology.ts";
import type { AppliedTopology } from "./topology.ts";

/** What is attached to the connection and must come back with it. */
export interface Attached {
  /** True when it is where it should be. */
  readonly restored: boolean;
  /** Joins over the session, if it can. */
  attach(session: Session): void;
  /** The session is gone: so are its leases. */
  detach(): void;
  heartbeat(): void;
  /** The process was frozen: finds out what it missed. */
  catchUp(): void;
}

/**
 * The network between this client and the broker. `down`: no connection can be made. `stalled`: nothing passes, and nobody
 * is told. `deaf`: the client is heard, but hears nothing.
 */
export type Path = "open" | "down" | "stalled" | "deaf";

/** Nothing is left to chance: within one process nobody needs to be spared, and tests repeat. */
const reconnectBackoff: Backoff = { initialMs: 10, maxMs: 1_000, jitter: 0 };
/** Heartbeats in the time of a lease. */
const heartbeatsPerLease = 3;
/** Heartbeats without an answer after which the client gives the connection up. */
const missedHeartbeats = 2;

export class Connection {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly applied: AppliedTopology = createAppliedTopology();
  readonly attached: Set<Attached> = new Set();
  readonly #ended = new AbortController();
  readonly #changes = createChanges();
  readonly #afterThaw: (() => void)[] = [];
  #report: (event: TransportEvent) => void = () => undefined;
  #session: Session | undefined;
  #wasConnected = false;
  #frozen = false;
  #path: Path = "open";
  #missed = 0;
  #heartbeat: Timer | undefined;
  #restoring = false;

  constructor(broker: Broker) {
    this.broker = broker;
    this.clock = broker.clock;
  }

  /** The open session, to be used at once. */
  get session(): Session | undefined {
    return this.#session?.open === true ? this.#session : undefined;
  }

  get closed(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Whether what the broker says arrives and is acted on. */
  get hears(): boolean {
    return !this.#frozen && this.#path === "open";
  }

  /** Whether messages can be handed over now, as far as the client knows. */
  readonly writable = (): boolean => this.session?.blocked === false && !this.#frozen;

  readonly connected = (): boolean => this.session !== undefined && this.hears;

  health(): TransportHealth {
    if (this.closed) return { status: "closed" };
    if (this.session === undefined) return { status: this.#wasConnected ? "disconnected" : "connecting" };
    if (this.session.blocked) return { status: "degraded", detail: "The broker blocks publishers." };
    const lost = this.#lost().length;
    return lost === 0 ? { status: "connected" } : { status: "degraded", detail: `Consumers being restored: ${lost}.` };
  }

  async connect(options: ConnectOptions): Promise<void> {
    this.#report = options.report;
    await this.#open(options.signal, true);
  }

  /** Waits until the condition holds; false when the signal fired or the connection was closed first. */
  until(condition: () => boolean, signal: AbortSignal): Promise<boolean> {
    return this.#changes.until(() => condition() || this.closed, signal).then((held) => held && condition());
  }

  /**
   * Asks the broker, as soon as there is a connection.
   *
   * @throws ABORTED, CLOSED
   */
  async ask<Result>(what: string, signal: AbortSignal, question: (session: Session) => Result): Promise<Result> {
    if (signal.aborted && !this.closed) throw aborted(what);
    for (;;) {
      const connected = await this.until(this.connected, signal);
      if (this.closed) throw closed(what);
      if (!connected) throw aborted(what);
      // It may have been cut since.
      const { session } = this;
      if (session !== undefined) return question(session);
    }
  }

  /** What becomes of a batch; silence where the answer, or the batch itself, gets lost on the way. */
  publish(session: Session, batch: readonly Posting[]): Answer {
    if (this.#path === "stalled") return "silence";
    const answer = session.publish(batch);
    return this.#path === "open" ? answer : "silence";
  }

  settle(lease: Lease, settlement: Settlement): void {
    if (this.#path !== "stalled") this.session?.settle(lease, settlement);
  }

  /** False where the broker's answer is lost, and perhaps what it was told: then a cut follows. */
  endVisit(visited: Visited, remove: boolean): boolean {
    if (this.#path !== "stalled") this.session?.endVisit(visited, remove);
    return this.hears;
  }

  endWalk(walk: Walk): void {
    if (this.#path !== "stalled") walk.end();
  }

  /** Makes what this transport applied exist again. */
  reapply(): void {
    this.session?.provision(this.applied.all, true);
  }

  /** Runs it now, or when the process is awake again. */
  whenAwake(action: () => void): void {
    if (this.#frozen) this.#afterThaw.push(action);
    else action();
  }

  /** Says that an attached consumer lost its source, and brings it back after a moment. */
  restore(detail: string): void {
    this.#report({ name: "transport.consumer-lost", detail });
    if (!this.#restoring) void this.#restoreAll();
  }

  /** Ends it for good; what it holds is given back. That is a crash, unless the caller has flushed what it had to say. */
  end(): void {
    if (this.closed) return;
    this.#ended.abort();
    const session = this.#session;
    this.#disconnect();
    session?.close();
    this.#afterThaw.length = 0;
    this.#changes.announce();
  }

  /** Ends the connection as a reset by the network does; it comes back. */
  cut(): void {
    this.#session?.cut("the network reset it");
  }

  /** A connection that was stalled, or deaf, is reset when the path changes: bytes of it are missing. */
  setPath(path: Path): void {
    const before = this.#path;
    this.#path = path;
    if (path === "down" || before === "stalled" || before === "deaf") this.cut();
    this.#changes.announce();
  }

  freeze(): void {
    if (!this.closed) this.#frozen = true;
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    const session = this.#session;
    if (session?.open === false) this.#onClosed(session);
    for (const each of this.attached) each.catchUp();
    for (const action of this.#afterThaw.splice(0)) action();
    for (const each of this.attached) each.heartbeat();
    this.#changes.announce();
  }

  /** @throws CONNECTION_FAILED when the signal fires, CLOSED when the connection was closed */
  async #open(signal: AbortSignal, atOnce: boolean): Promise<void> {
    const given = AbortSignal.any([signal, this.#ended.signal]);
    for (let failure = 1; ; failure++) {
      if (this.closed) throw closed("Connecting");
      if (!given.aborted && (atOnce || failure > 1) && this.#tryOpen()) return;
      const cause = new Error("The broker is stopped.");
      try {
        await sleep(this.clock, backoffDelay(reconnectBackoff, failure, 0), given);
      } catch {
        if (this.closed) throw closed("Connecting");
        throw new PosthornError(
          "CONNECTION_FAILED",
          `No connection to the memory broker in time: ${messageOf(cause)}`,
          { cause },
        );
      }
    }
  }

  #tryOpen(): boolean {
    if (!this.hears) return false;
    const session = this.broker.connect({
      onClosed: () => {
        if (this.#session === session && session !== undefined && !this.#frozen) this.#onClosed(session);
      },
      onBlocked: (blocked) => this.#onBlocked(blocked),
    });
    if (session === undefined) return false;
    this.#session = session;
    this.#missed = 0;
    this.#beat();
    this.#report({ name: "transport.connected", detail: this.#wasConnected ? "Connected again." : "Connected." });
    if (this.#wasConnected) this.#bringBack(session);
    this.#wasConnected = true;
    if (session.blocked) this.#onBlocked(true);
    else this.#changes.announce();
    return true;
  }

  #bringBack(session: Session): void {
    this.reapply();
    for (const each of this.attached) each.attach(session);
    for (const each of this.attached) {
      if (!each.restored) this.restore("A consumer's source was gone when the connection came back.");
    }
  }

  #onClosed(session: Session): void {
    this.#disconnect();
    this.#report({ name: "transport.disconnected", detail: `The connection was lost: ${session.closeReason}.` });
    this.#changes.announce();
    // It only rejects when the transport is closed, and then there is nobody to tell.
    this.#open(this.#ended.signal, false).catch(() => undefined);
  }

  #disconnect(): void {
    this.#heartbeat?.cancel();
    this.#heartbeat = undefined;
    this.#session = undefined;
    for (const each of this.attached) each.detach();
  }

  #onBlocked(blocked: boolean): void {
    this.#report(
      blocked
        ? { name: "transport.blocked", detail: "The broker blocks publishers: what is sent waits." }
        : { name: "transport.unblocked", detail: "The broker takes messages again." },
    );
    this.#changes.announce();
  }

  #beat(): void {
    const everyMs = Math.max(1, Math.floor(this.broker.settings.leaseMs / heartbeatsPerLease));
    this.#heartbeat = this.clock.setTimeout(() => {
      if (!this.#frozen) {
        if (this.#path !== "stalled") for (const each of this.attached) each.heartbeat();
        this.#missed = this.hears ? 0 : this.#missed + 1;
      }
      if (this.#missed < missedHeartbeats) this.#beat();
      else this.#session?.cut("the broker had not answered for too long");
    }, everyMs);
  }

  async #restoreAll(): Promise<void> {
    this.#restoring = true;
    let lost = this.#lost();
    for (let failure = 1; lost.length > 0; failure++) {
      try {
        await sleep(this.clock, backoffDelay(reconnectBackoff, failure, 0), this.#ended.signal);
      } catch {
        break;
      }
      const { session } = this;
      // Without a connection there is nothing to do here: all consumers come back with it.
      if (session !== undefined && this.hears) {
        this.reapply();
        for (const each of lost) each.attach(session);
      }
      for (const each of lost) {
        if (each.restored && this.attached.has(each))
          this.#report({ name: "transport.consumer-restored", detail: "A consumer receives again." });
      }
      lost = this.#lost();
    }
    this.#restoring = false;
  }

  #lost(): readonly Attached[] {
    return [...this.attached].filter((each) => !each.restored);
  }
}
