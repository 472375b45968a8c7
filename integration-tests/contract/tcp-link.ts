/** A TCP proxy that can be broken: the network between one client and a broker. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";

export interface TcpLink {
  readonly port: number;
  /** Resets all connections. */
  cut(): void;
  /** `pass`: all is well. `down`: connections are reset at once. `stall`: nothing passes. `deaf`: nothing comes back. */
  mode: "pass" | "down" | "stall" | "deaf";
  close(): Promise<void>;
}

export async function openTcpLink(target: { readonly host: string; readonly port: number }): Promise<TcpLink> {
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
        if (passes() && !to.write(chunk)) {
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
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The link has no port.");

  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  return {
    port: address.port,
    cut,
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
      server.close();
      await once(server, "close");
    },
  };
}
