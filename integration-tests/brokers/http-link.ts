import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as send,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { httpFaults, type HttpFaults } from "./http-faults.ts";
import { type AwsRequest, type HttpAnswer, readRequest } from "./sqs-wire.ts";

/** A way to SQS and SNS that can be broken: as a whole, or request by request. */
export interface HttpLink extends Pick<HttpFaults, "inject"> {
  readonly port: number;
  /** What clients are given instead of the broker's own. */
  readonly endpoint: string;
  /** `pass`: all is well. `down`: connections are reset at once. `stall`: nothing passes. `deaf`: nothing comes back. */
  mode: "pass" | "down" | "stall" | "deaf";
  /** Resets all connections. */
  cut(): void;
  /** Ends all connections in good order, pending requests with them. */
  end(): void;
  /** May be called more than once. */
  close(): Promise<void>;
}

export interface HttpLinkOptions {
  /** Where it listens, on 127.0.0.1; by default a port that is free. */
  readonly port?: number;
  /**
   * Told every request, before any fault has it. What it returns is answered in the broker's place, which never hears of the
   * request. `gone` fires when the request is over, answered or not.
   */
  readonly onRequest?: (request: AwsRequest, body: Buffer, gone: AbortSignal) => HttpAnswer | undefined;
  /** Told every answer of the broker, whether or not it reaches the client. */
  readonly onAnswer?: (request: AwsRequest, answer: HttpAnswer) => void;
}

/** @param target the endpoint of a broker, which must not check signatures: a fault may change what was signed */
export async function openHttpLink(target: string, options: HttpLinkOptions = {}): Promise<HttpLink> {
  const { hostname, port: targetPort } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const faults = httpFaults();
  const sockets = new Set<Socket>();
  let mode: HttpLink["mode"] = "pass";

  const server = createServer({ keepAliveTimeout: 75_000 }, (incoming, response) => {
    serve(incoming, response).catch(() => incoming.socket.resetAndDestroy()); // as the broker did, or instead of it
  });
  server.on("connection", (socket) => {
    if (mode === "down") {
      socket.resetAndDestroy();
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const client = new AbortController();
    response.on("close", () => client.abort());
    const body = await buffer(incoming);
    if (mode === "stall") return;
    const request = readRequest(incoming.headers, body);
    const own = options.onRequest?.(request, body, client.signal);
    const outcome =
      own ??
      (await faults.outcomeOf({ ...request, body, gone: client.signal }, async (body) => {
        const answer = await forward(incoming, body, client.signal);
        options.onAnswer?.(request, answer);
        return answer;
      }));
    if (outcome === "reset") incoming.socket.resetAndDestroy();
    else if (outcome !== "silence" && mode === "pass") {
      const isCut = "half" in outcome;
      const { status, headers, body } = isCut ? outcome.half : outcome;
      response.writeHead(status, { ...headers, "content-length": body.length });
      if (isCut) response.write(body.subarray(0, body.length / 2), () => incoming.socket.resetAndDestroy());
      else response.end(body);
    }
  }

  async function forward(
    { method, url: path, headers }: IncomingMessage,
    body: Buffer,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const outgoing = send({
      host: hostname,
      port: targetPort,
      method,
      path,
      // The host stays what the client named: the broker names queues by it.
      headers: { ...endToEnd(headers), "content-length": body.length },
      agent,
      signal,
    });
    outgoing.end(body);
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    return {
      status: response.statusCode ?? 0,
      headers: endToEnd(response.headers),
      body: await buffer(response),
    };
  }

  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  let closed: Promise<unknown> | undefined;
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    inject: faults.inject,
    get mode() {
      return mode;
    },
    set mode(next) {
      // What was stalled is never answered: its connections are good for nothing any more.
      if (next === "down" || (next === "pass" && mode !== "pass")) cut();
      mode = next;
    },
    cut,
    end() {
      for (const socket of sockets) socket.end();
    },
    async close() {
      cut();
      agent.destroy();
      closed ??= once(server.close(), "close");
      await closed;
    },
  };
}

/** Leaves out what is about one connection, and the length, which a fault may change. */
function endToEnd(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const hopByHop = ["connection", "keep-alive", "transfer-encoding", "content-length"];
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.includes(name)));
}
