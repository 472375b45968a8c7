/** The parts of kafkajs 2.2.4's wire layer that `kafkajs-connection.ts` uses. They have no types of their own; the version is pinned. */

declare module "kafkajs/src/network/connection.js" {
  import type { KafkajsLogger, KafkajsProtocol, KafkajsSasl, KafkajsSocketFactory } from "kafkajs/wire";

  export default class Connection {
    constructor(options: {
      host: string;
      port: number;
      logger: KafkajsLogger;
      socketFactory: KafkajsSocketFactory;
      requestTimeout: number;
      connectionTimeout: number;
      ssl: object | undefined;
      sasl: KafkajsSasl | undefined;
      clientId: string;
      reauthenticationThreshold?: number;
    });
    readonly connectionTimeout: number;
    readonly sasl: KafkajsSasl | undefined;
    readonly requestQueue: {
      readonly pending: readonly unknown[];
      readonly inflight: ReadonlyMap<number, unknown>;
      scheduleCheckPendingRequests(): void;
      destroy(): void;
    };
    isConnected(): boolean;
    isAuthenticated(): boolean;
    connect(): Promise<unknown>;
    setVersions(versions: unknown): void;
    setSupportAuthenticationProtocol(isSupported: boolean): void;
    send<Result>(protocol: KafkajsProtocol<Result>): Promise<Result>;
    rejectRequests(error: Error): void;
  }
}

declare module "kafkajs/src/broker/index.js" {
  import type Connection from "kafkajs/src/network/connection.js";
  import type { KafkajsLogger, KafkajsProtocol, KafkajsRequestDefinition } from "kafkajs/wire";

  export default class Broker {
    constructor(options: {
      connectionPool: {
        readonly host: string;
        readonly port: number;
        readonly connectionTimeout: number;
        readonly sasl: unknown;
        isConnected(): boolean;
        isAuthenticated(): boolean;
        getConnection(): Promise<Connection>;
        setVersions(versions: unknown): void;
        setSupportAuthenticationProtocol(isSupported: boolean): void;
        send<Result>(protocol: KafkajsProtocol<Result>): Promise<Result>;
      };
      logger: KafkajsLogger;
      allowAutoTopicCreation: boolean;
    });
    connect(): Promise<void>;
    /** The newest version of a request that both sides know. */
    readonly lookupRequest: <Result>(
      apiKey: number,
      definition: KafkajsRequestDefinition<Result>,
    ) => (fields: object) => KafkajsProtocol<Result>;
  }
}

declare module "kafkajs/src/protocol/requests/index.js" {
  import type { KafkajsRequestDefinition } from "kafkajs/wire";

  const protocol: { readonly requests: Readonly<Record<string, KafkajsRequestDefinition<never>>> };
  export default protocol;
}

declare module "kafkajs/src/protocol/requests/apiKeys.js" {
  const apiKeys: Readonly<Record<string, number>>;
  export default apiKeys;
}

declare module "kafkajs/src/protocol/encoder.js" {
  export default class Encoder {
    /** @param initialSize in bytes; it grows */
    constructor(initialSize?: number);
    writeInt16(value: number): this;
    writeInt32(value: number): this;
    writeString(value: string | null): this;
    writeBytes(value: Buffer): this;
  }
}

declare module "kafkajs/wire" {
  import type { Socket } from "node:net";
  import type Encoder from "kafkajs/src/protocol/encoder.js";

  export interface KafkajsLogger {
    readonly info: (message: string, extra?: object) => void;
    readonly error: (message: string, extra?: object) => void;
    readonly warn: (message: string, extra?: object) => void;
    readonly debug: (message: string, extra?: object) => void;
    readonly namespace: () => KafkajsLogger;
  }

  export type KafkajsSocketFactory = (options: {
    host: string;
    port: number;
    ssl: object | undefined;
    onConnect: () => void;
  }) => Socket;

  export type KafkajsSasl =
    | { mechanism: string; username: string; password: string }
    | {
        mechanism: "oauthbearer";
        authenticationProvider: (options: { readonly saslAuthenticate: KafkajsSaslAuthenticate }) => {
          authenticate(): Promise<void>;
        };
      };

  /** One step of a login: what we say, and what the broker answers. */
  export type KafkajsSaslAuthenticate = <Answer>(step: {
    readonly request: { readonly encode: () => Promise<Buffer> };
    readonly response: {
      readonly decode: (answer: Buffer) => Promise<Answer>;
      readonly parse: (decoded: Answer) => Promise<Answer>;
    };
  }) => Promise<Answer>;

  export interface KafkajsProtocol<Result> {
    readonly request: {
      readonly apiKey: number;
      readonly apiVersion: number;
      readonly apiName: string;
      readonly encode: () => Promise<Encoder>;
    };
    readonly response: {
      readonly decode: (payload: Buffer) => Promise<Result>;
      readonly parse: (decoded: Result) => Promise<Result>;
    };
    readonly requestTimeout?: number;
  }

  export interface KafkajsRequestDefinition<Result> {
    readonly versions: readonly string[];
    readonly protocol: (options: { version: number }) => (fields: object) => KafkajsProtocol<Result>;
  }
}
