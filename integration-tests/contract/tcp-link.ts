/** A TCP proxy that can be broken: the network between one client and a broker. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";

export interface TcpLink {
  readonly port: number;
  /** Resets all connections. */
  cut(): void;
  /** Ends all connections in good order. */
  end(): void;
  /** `pass`: all is well. `down`: connections are reset at once. `stall`: nothing passes. `deaf`: nothing comes back. */
  mode: "pass" | "down" | "stall" | "deaf";
  /** May be called more than once. */
  close(): Promise<void>;
}

/** @param port where it listens; by default one that is free */
export async function openTcpLink(
  target: { readonly host: string; readonly port: number },
  port = 0,
): Promise<TcpLink> {
  const sockets = new Set<Socket>();
  let mode: TcpLink["mode"] = "pass";
  const hold = (socket: Socket): Socket => {
    sockets.add(socket);
    // How a connection ends is the client's business; here it only must not end the process.
    return socket.setNoDelay(true).on("error", () => undefined);
  };

  const server = createServer((client) => {
    hold(client);
    if (mode === "down") {
      client.resetAndDestroy();
      return;
    }
    const upstream = hold(connect(target));
    const relay = (from: Socket, to: Socket, passes: () => boolean): void => {
      from.on("data", (chunk: Buffer) => {
        if (passes() && to.writable && !to.write(chunk)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
      from.on("end", () => passes() && to.end());
      from.on("close", () => {
        sockets.delete(from);
        if (mode === "pass") to.destroy();
      });
    };
    relay(client, upstream, () => mode === "pass" || mode === "deaf");
    relay(upstream, client, () => mode === "pass");
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The link has no port.");

  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  let closed: Promise<unknown> | undefined;
  return {
    port: address.port,
    cut,
    end() {
      for (const socket of sockets) socket.end();
    },
    get mode() {
      return mode;
    },
    set mode(next) {
      // What was stalled has lost bytes: its connections are good for nothing any more.
      if (next === "down" || (next === "pass" && mode !== "pass")) cut();
      mode = next;
    },
    async close() {
      cut();
      closed ??= once(server.close(), "close");
      await closed;
    },
  };
}
