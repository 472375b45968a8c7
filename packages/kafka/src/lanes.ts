/**
 * Connections to brokers.
 *
 * A **lane** is a line of work with connections of its own, one for each broker, because a broker answers the requests of
 * one connection one after the other: a fetch that waits would hold up a heartbeat.
 */
import type { Clock } from "@posthorn/core/transport";
import { abortable } from "@posthorn/core/transport";
import type { BrokerConnection, ConnectionSettings, Endpoint, OpenConnection } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import { closedError } from "./errors.ts";

export interface LanesOptions {
  readonly settings: ConnectionSettings;
  readonly clock: Clock;
  readonly openConnection: OpenConnection;
  /** Ends everything. */
  readonly closing: AbortSignal;
  readonly onOpened: (address: string) => void;
  /** @param error ConnectionFailure, AUTHENTICATION_FAILED */
  readonly onNotOpened: (address: string, lane: string, error: unknown) => void;
  /** A connection ended that was open. @param idle as `OpenConnection` says */
  readonly onEnded: (address: string, lane: string, error: Error, idle: boolean) => void;
}

export interface Lanes {
  /**
   * A lane's connection to a broker, which is opened where there is none.
   *
   * @throws ConnectionFailure, AUTHENTICATION_FAILED; ABORTED, CLOSED
   */
  open(endpoint: Endpoint, lane: string, signal: AbortSignal): Promise<BrokerConnection>;
  /** Ends connections, also those that are being opened. Nobody is told but who waits for an answer. */
  closeWhere(which: (address: string, lane: string) => boolean): void;
}

interface Entry {
  readonly address: string;
  readonly lane: string;
  readonly opening: Promise<BrokerConnection>;
  readonly giveUp: AbortController;
}

export function createLanes(options: LanesOptions): Lanes {
  const { settings, clock, openConnection, closing } = options;
  const entries = new Map<string, Entry>();

  function openAnew(endpoint: Endpoint, lane: string, key: string): Entry {
    const address = addressOf(endpoint);
    const giveUp = new AbortController();
    /** @returns whether it was there */
    const forget = (): boolean => entries.get(key) === entry && entries.delete(key);
    const onEnd = (error: Error, idle: boolean): void => {
      if (forget()) options.onEnded(address, lane, error, idle);
    };
    const tooLong = `${address} cannot be connected to within ${settings.connectTimeoutMs} ms.`;
    const timer = clock.setTimeout(
      () => giveUp.abort(new ConnectionFailure(tooLong, false)),
      settings.connectTimeoutMs,
    );
    const opening = openConnection(endpoint, settings, onEnd, AbortSignal.any([closing, giveUp.signal]));
    const entry: Entry = { address, lane, opening, giveUp };
    opening
      .finally(() => timer.cancel())
      .then(
        () => options.onOpened(address),
        (error: unknown) => {
          if (forget()) options.onNotOpened(address, lane, error);
        },
      );
    return entry;
  }

  return {
    open(endpoint, lane, signal) {
      if (closing.aborted) return Promise.reject(closedError());
      const key = `${lane} ${addressOf(endpoint)}`;
      let entry = entries.get(key);
      if (entry === undefined) entries.set(key, (entry = openAnew(endpoint, lane, key)));
      return abortable(entry.opening, signal);
    },
    closeWhere(which) {
      for (const [key, { address, lane, opening, giveUp }] of entries) {
        if (!which(address, lane)) continue;
        entries.delete(key);
        giveUp.abort(new ConnectionFailure(`The connection to ${address} was given up.`, false));
        opening.then(
          (connection) => connection.close(),
          () => undefined,
        );
      }
    },
  };
}

export function addressOf({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}
