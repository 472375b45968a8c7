import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { messageOf } from "./run.ts";

/**
 * Below the ports that systems give to outgoing connections (Linux from 32768 on): none of these may take the port of a
 * broker that is down for a moment.
 */
const range = { from: 10_000, to: 32_768 } as const;

/** As many TCP ports as asked for, all different, that are free on the loopback address right now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  try {
    for (let attempt = 1; ports.length < count; attempt++) {
      const port = randomInt(range.from, range.to);
      const server = createServer().listen(port, "127.0.0.1");
      try {
        await once(server, "listening");
        servers.push(server);
        ports.push(port);
      } catch (error) {
        if (attempt > 100 * count) throw error;
      }
    }
    return ports;
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/**
 * Starts a server on as many free ports as asked for; up to three times, since between the choice of a port and its use
 * another process may have taken it.
 *
 * @throws what `start` throws when that is not about a port that is taken.
 */
export async function onFreePorts<T>(count: number, start: (ports: readonly number[]) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      const portTaken = /eaddrinuse|already in use|port is already allocated/i.test(messageOf(error));
      if (!portTaken || attempt === 3) throw error;
    }
  }
}
