/** The broker itself: what a server process would be. Clients reach it through sessions only. */
import type { Clock } from "@posthorn/core/transport";
import { createCatalog } from "./catalog.ts";
import type { Catalog, Destination, Personality } from "./catalog.ts";
import { createDelays } from "./delays.ts";
import { createFaults } from "./faults.ts";
import type { FaultPlan, Faults } from "./faults.ts";
import { createLogChannel, createLogSource } from "./log-channel.ts";
import { createQueueChannel } from "./queue-channel.ts";
import { createQueue } from "./queue.ts";
import { createSession } from "./session.ts";
import type { Session, SessionEvents } from "./session.ts";
import type { Packet, Refusal, StoredRecord } from "./source.ts";

export interface BrokerSettings {
  readonly personality: "queue" | "log";
  readonly maxMessageBytes: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly leaseMs: number;
  readonly deliveryLimit: number;
  readonly longestDelayMs: number;
  readonly partitions: number;
  readonly shuffle: boolean;
  readonly faults: FaultPlan;
}

export interface Broker {
  readonly settings: BrokerSettings;
  readonly clock: Clock;
  readonly catalog: Catalog;
  readonly faults: Faults;
  readonly sessions: number;
  /** Messages whose time has not come. */
  readonly delayed: number;
  /** `undefined` while it is stopped. */
  connect(events: SessionEvents): Session | undefined;
  /** Takes the message, whatever its time. */
  store(destination: Destination, packet: Packet): Refusal | undefined;
  setBlocked(blocked: boolean): void;
  cutAll(reason: string): void;
  stop(): void;
  start(): void;
}

export function createBroker(settings: BrokerSettings, clock: Clock): Broker {
  const faults = createFaults(settings.faults);
  const catalog = createCatalog(choosePersonality(settings, clock, faults));
  const sessions = new Map<Session, SessionEvents>();
  let running = true;
  let blocked = false;
  let sequence = 0;

  const record = (packet: Packet): StoredRecord => ({
    type: packet.type,
    key: packet.key,
    bytes: packet.bytes,
    sequence: ++sequence,
    time: clock.now(),
  });
  const store = (destination: Destination, packet: Packet): Refusal | undefined =>
    catalog.store(destination, record(packet));
  const delays = createDelays({ ...settings, clock }, store);

  /** Takes the message, to be delivered when its time has come. */
  function accept(destination: Destination, packet: Packet): Refusal | undefined {
    const { notBefore } = packet;
    if (notBefore === undefined || notBefore <= clock.now()) return store(destination, packet);
    return catalog.missing(destination) ?? delays.add(destination, packet, notBefore);
  }

  const host = {
    catalog,
    faults,
    accept,
    get blocked() {
      return blocked;
    },
    onEnded: (session: Session) => sessions.delete(session),
  };
  const cutAll = (reason: string): void => {
    for (const session of sessions.keys()) session.cut(reason);
  };

  return {
    settings,
    clock,
    catalog,
    faults,
    get sessions() {
      return sessions.size;
    },
    get delayed() {
      return delays.size;
    },
    connect(events) {
      if (!running) return undefined;
      const session = createSession(host, events);
      sessions.set(session, events);
      return session;
    },
    store,
    setBlocked(value) {
      if (blocked === value) return;
      blocked = value;
      for (const events of sessions.values()) events.onBlocked(value);
    },
    cutAll,
    stop() {
      running = false;
      delays.stop();
      cutAll("the broker was stopped");
    },
    start() {
      running = true;
      delays.start();
    },
  };
}

function choosePersonality(settings: BrokerSettings, clock: Clock, faults: Faults): Personality {
  if (settings.personality === "log") {
    const log = { ...settings, clock, faults };
    return {
      createChannel: (info) => createLogChannel(info, log),
      createDeadLetters: (name) => createLogSource(name, log),
    };
  }
  const queue = { ...settings, clock, faults };
  return {
    createChannel: (info) => createQueueChannel(info, queue),
    createDeadLetters: (name) => createQueue(name, false, queue),
  };
}
