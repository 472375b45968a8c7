/** The connections of HTTP that requests share. */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";

export interface Agents {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
  /** Ends the connections that nothing waits for. */
  dropIdle(): void;
  destroy(): void;
}

/** @param maxSockets to one host */
export function createAgents(maxSockets: number): Agents {
  const httpAgent = new HttpAgent({ keepAlive: true, maxSockets });
  const httpsAgent = new HttpsAgent({ keepAlive: true, maxSockets });
  return {
    httpAgent,
    httpsAgent,
    dropIdle() {
      for (const { freeSockets } of [httpAgent, httpsAgent])
        for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
    },
    destroy() {
      httpAgent.destroy();
      httpsAgent.destroy();
    },
  };
}
