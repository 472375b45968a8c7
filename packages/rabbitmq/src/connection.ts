/**
 * One connection that is kept up. amqplib's own recovery is not used: it can end up "connected" to a dead connection.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { Backoff, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, createNotice, messageOf, PosthornError, sleep } from "@posthorn/core/transport";
import type { Channel, ChannelModel } from "amqplib";
import { connect as connectAmqp } from "amqplib";
import { fatalConnectError } from "./errors.ts";
import type { Settings } from "./options.ts";

const reconnectBackoff: Backoff = { initialMs: 100, maxMs: 3_000, jitter: 1 };
/** Time for the last frames of a closed connection to leave, before its socket is destroyed. */
const socketLingerMs = 1_000;
const keepAliveDelayMs = 30_000;

/** One connection, from its handshake to its end. */
export interface Connection {
  readonly model: ChannelModel;
  readonly closed: boolean;
  /** Resolves at its end. */
  readonly gone: Promise<void>;
}

export interface Link {
  /** The present connection; `undefined` while there is none. */
  readonly connection: Connection | undefined;
  /** Why the broker takes no messages from this connection at present. */
  readonly blocked: string | undefined;
  /**
   * Connects and keeps connected from then on.
   *
   * @throws AUTHENTICATION_FAILED, ACCESS_REFUSED, CONNECTION_FAILED, CLOSED
   */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Resolves with a connection; with one that takes messages when `unblocked` is set.
   *
   * @throws ABORTED, CLOSED
   */
  ready(signal: AbortSignal, unblocked?: boolean): Promise<Connection>;
  /** Closes for good; hard when the signal fires. */
  close(signal: AbortSignal): Promise<void>;
}

export interface LinkOptions {
  readonly settings: Settings;
  /** Stands behind the connection's name. */
  readonly purpose: string;
  readonly environment: TransportEnvironment;
  readonly onConnected: () => void;
  readonly onDisconnected: (error: unknown) => void;
  readonly onBlocked: (reason: string | undefined) => void;
  /** What goes wrong in the background. */
  readonly onFailed: (detail: string, error: unknown) => void;
}

interface MutableConnection extends Connection {
  closed: boolean;
  readonly destroy: (reason?: unknown) => void;
}

export function createLink(options: LinkOptions): Link {
  const { settings, environment } = options;
  const { clock } = environment;
  const changed = createNotice();
  const closing = new AbortController();
  let current: MutableConnection | undefined;
  let blocked: string | undefined;

  const open = async (signal: AbortSignal): Promise<void> => {
    const socket = new AbortController();
    const destroy = (reason?: unknown): void => socket.abort(reason);
    const onAbort = (): void => destroy(signal.reason);
    const timer = clock.setTimeout(
      () => destroy(new Error(`RabbitMQ did not answer within ${settings.connectTimeoutMs} ms.`)),
      settings.connectTimeoutMs,
    );
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) throw signal.reason;
      const model = await connectAmqp(
        connectOptions(settings),
        socketOptions(settings, options.purpose, socket.signal),
      );
      const connection = adopt(model, destroy);
      // When the broker closes in the packet that completes the handshake, amqplib tells nobody; a channel then fails.
      const probe = await model.createChannel();
      await probe.close();
      if (connection.closed) throw new Error("The connection was closed at once.");
      current = connection;
    } catch (error) {
      const reason: unknown = socket.signal.aborted ? socket.signal.reason : error;
      destroy(error);
      throw reason;
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
    }
    options.onConnected();
    changed.notify();
  };

  /** Listens before anything else can happen. */
  const adopt = (model: ChannelModel, destroy: (reason?: unknown) => void): MutableConnection => {
    const gone = Promise.withResolvers<void>();
    const connection: MutableConnection = { model, closed: false, gone: gone.promise, destroy };
    let lastError: unknown;
    model.on("error", (error) => {
      lastError = error;
    });
    model.on("handler-error", (error) => options.onFailed("A listener failed", error));
    model.on("blocked", (reason) => {
      if (current === connection) setBlocked(reason);
    });
    model.on("unblocked", () => {
      if (current === connection) setBlocked(undefined);
    });
    // The only event that every end has: a close forced by an operator emits no error.
    model.on("close", (error) => {
      connection.closed = true;
      gone.resolve();
      // amqplib ends the socket and no more; where the network is gone that would keep it for a quarter of an hour.
      clock.setTimeout(() => destroy(), socketLingerMs, { unref: true });
      if (current !== connection) return;
      current = undefined;
      if (closing.signal.aborted) return;
      setBlocked(undefined);
      changed.notify();
      options.onDisconnected(error ?? lastError);
      void reconnect();
    });
    return connection;
  };

  const setBlocked = (reason: string | undefined): void => {
    if (blocked === reason) return;
    blocked = reason;
    options.onBlocked(reason);
    changed.notify();
  };

  const reconnect = async (): Promise<void> => {
    let told = false;
    for (let failure = 1; !closing.signal.aborted; failure++) {
      try {
        await sleep(clock, backoffDelay(reconnectBackoff, failure, environment.random()), closing.signal);
        await open(closing.signal);
        return;
      } catch (error) {
        const fatal = fatalConnectError(error, settings.vhost);
        if (fatal === undefined || told) continue;
        told = true;
        options.onFailed("The connection cannot be restored", fatal);
      }
    }
  };

  const start = async (signal: AbortSignal): Promise<void> => {
    const either = AbortSignal.any([signal, closing.signal]);
    let last: unknown;
    for (let failure = 1; ; failure++) {
      try {
        await open(either);
        return;
      } catch (error) {
        if (closing.signal.aborted) throw closedError();
        const fatal = fatalConnectError(error, settings.vhost);
        if (fatal !== undefined) throw fatal;
        if (signal.aborted) throw notConnected(last ?? error);
        last = error;
      }
      await sleep(clock, backoffDelay(reconnectBackoff, failure, environment.random()), either).catch(() => undefined);
      if (closing.signal.aborted) throw closedError();
      if (signal.aborted) throw notConnected(last);
    }
  };

  return {
    get connection() {
      return current;
    },
    get blocked() {
      return blocked;
    },
    start,
    async ready(signal, unblocked = false) {
      for (;;) {
        if (closing.signal.aborted) throw closedError();
        if (current !== undefined && !(unblocked && blocked !== undefined)) return current;
        await abortable(changed.next, signal);
      }
    },
    async close(signal) {
      if (!closing.signal.aborted) {
        closing.abort();
        changed.notify();
      }
      const connection = current;
      if (connection === undefined) return;
      const closed = connection.model.close().catch(() => undefined);
      await abortable(Promise.race([closed, connection.gone]), signal).catch(() => undefined);
      // Lets the close handshake's last frame out first.
      if (!signal.aborted) await turn();
      connection.destroy();
    },
  };
}

function notConnected(cause: unknown): PosthornError {
  return new PosthornError("CONNECTION_FAILED", `RabbitMQ could not be reached in time: ${messageOf(cause)}`, {
    cause,
  });
}

export function closedError(): PosthornError {
  return new PosthornError("CLOSED", "The RabbitMQ transport is closed.");
}

function connectOptions(settings: Settings): Parameters<typeof connectAmqp>[0] {
  return {
    protocol: settings.tls === undefined ? "amqp" : "amqps",
    hostname: settings.hostname,
    port: settings.port,
    username: settings.username,
    password: settings.password,
    // amqplib percent-decodes it.
    vhost: encodeURIComponent(settings.vhost),
    heartbeat: settings.heartbeatSeconds,
    frameMax: settings.frameMaxBytes,
  };
}

function socketOptions(settings: Settings, purpose: string, signal: AbortSignal): Record<string, unknown> {
  return {
    ...settings.tls,
    // The socket itself takes the signal: the only public way to destroy it.
    signal,
    // Without it a lone small message waits 40 ms for the peer's delayed acknowledgement.
    noDelay: true,
    keepAlive: true,
    keepAliveDelay: keepAliveDelayMs,
    clientProperties: { connection_name: `${settings.connectionName} ${purpose}` },
  };
}

/** Runs `work` on a channel of its own, which an error of the broker closes without harm to others. */
export async function withChannel<T>(
  connection: Connection,
  signal: AbortSignal,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = await abortable(openChannel(connection), signal);
  try {
    return await abortable(work(channel), signal);
  } finally {
    await abortable(closeChannel(channel), signal).catch(() => undefined);
  }
}

async function openChannel(connection: Connection): Promise<Channel> {
  const channel = await connection.model.createChannel();
  quiet(channel);
  return channel;
}

/** An error that nobody listens to would end the process; the failed operation rejects with it anyway. */
export function quiet(channel: Channel): void {
  channel.on("error", () => undefined);
  channel.on("handler-error", () => undefined);
}

/** Resolves when the channel is closed, whatever the reason: amqplib's promise stays pending when the connection goes away meanwhile. */
export async function closeChannel(channel: Channel): Promise<void> {
  const gone = new Promise<void>((resolve) => {
    channel.once("close", resolve);
  });
  // Rejects when it is closed already.
  await Promise.race([channel.close(), gone]).catch(() => undefined);
}
