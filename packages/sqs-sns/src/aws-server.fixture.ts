/** An HTTP server on the loopback address that answers as a test tells it. It knows nothing of queues. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { buffer } from "node:stream/consumers";

export interface Asked {
  /** Such as `SendMessageBatch`. */
  readonly action: string;
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  /** Of SQS: what was asked. */
  readonly json: Record<string, unknown>;
  /** Of SNS: its parameters. */
  readonly form: URLSearchParams;
  /** The same for requests over the same connection. */
  readonly socket: Socket;
}

/** `cut`: the connection is reset. `half`: also, but within the answer. `stall`: so the answer stops. `silence`: there is none. */
export type Reply =
  | "cut"
  | "half"
  | "stall"
  | "silence"
  | { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> };

export interface AwsServer {
  readonly endpoint: string;
  /** In the order in which they came. */
  readonly asked: readonly Asked[];
  /** Open ones. */
  readonly sockets: ReadonlySet<Socket>;
  /** For the next requests. */
  answer: (asked: Asked) => Reply;
  close(): Promise<void>;
}

export async function openAwsServer(): Promise<AwsServer> {
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error: unknown) => incoming.destroy(error as Error));
  });
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = (await buffer(incoming)).toString();
    const target = incoming.headers["x-amz-target"];
    const form = new URLSearchParams(typeof target === "string" ? "" : text);
    const request: Asked = {
      action: typeof target === "string" ? (target.split(".")[1] ?? "") : (form.get("Action") ?? ""),
      headers: incoming.headers,
      path: incoming.url ?? "",
      json: typeof target === "string" ? (JSON.parse(text) as Record<string, unknown>) : {},
      form,
      socket: incoming.socket,
    };
    asked.push(request);
    const reply = state.answer(request);
    if (reply === "cut") incoming.socket.resetAndDestroy();
    else if (reply === "half" || reply === "stall") {
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0", "content-length": 1_000 });
      response.write(`{"Messages":`, () => reply === "half" && incoming.socket.resetAndDestroy());
    } else if (reply !== "silence") {
      response.writeHead(reply.status, { "content-length": Buffer.byteLength(reply.body), ...reply.headers });
      response.end(reply.body);
    }
  };
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const state: AwsServer = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    sockets,
    answer: () => "silence",
    async close() {
      server.closeAllConnections();
      await once(server.close(), "close");
    },
  };
  return state;
}

/** An answer of SQS. */
export function json(body: unknown): Reply {
  return { status: 200, body: JSON.stringify(body), headers: { "content-type": "application/x-amz-json-1.0" } };
}

/** An answer of SNS. */
export function xml(action: string, inner: string): Reply {
  const body = `<${action}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><${action}Result>${inner}</${action}Result></${action}Response>`;
  return { status: 200, body, headers: { "content-type": "text/xml" } };
}

/** An error of SQS, as AWS words it since it speaks JSON. @param queryCode what it was called before */
export function jsonError(status: number, code: string, message = "No.", queryCode?: string): Reply {
  return {
    status,
    body: JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }),
    headers: {
      "content-type": "application/x-amz-json-1.0",
      ...(queryCode === undefined ? {} : { "x-amzn-query-error": `${queryCode};Sender` }),
    },
  };
}

/** An error of SNS. */
export function xmlError(status: number, code: string, message = "No."): Reply {
  const inner = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
  const body = `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">${inner}<RequestId>1</RequestId></ErrorResponse>`;
  return { status, body, headers: { "content-type": "text/xml" } };
}

export function md5(text: string): string {
  return createHash("md5").update(text).digest("hex");
}
